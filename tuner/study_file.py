"""Optuna's journal of a study that one driver writes, through the files of its run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from .record import STUDY
from .spill import RunFiles


class StudyFile(BaseJournalBackend):
    """The format of Optuna's own file. What this process wrote it need not read: the file may be away by then."""

    def __init__(self, files: RunFiles) -> None:
        files.open(STUDY)
        self._files = files
        self._unread = list(JournalFileBackend(str(files.folder / STUDY)).read_logs(0))
        self._first = 0  # the number of the first that is unread

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        self._unread, self._first = self._unread[log_number_from - self._first :], log_number_from
        return iter(list(self._unread))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        # The journal must tell of no trial that a power cut took out of here, and the last that is written of one before it trains is
        # its seed. What comes later a resumed search takes from the journal.
        self._files.append(STUDY, b"".join(lines), sync=any("seed" in log.get("user_attr", ()) for log in logs))
        self._unread += logs

"""The journal: one line per epoch and one per trial that ends, appended and flushed.

`results.jsonl` is the truth that every table is made from. One line per trial and epoch, `{"trial", "epoch", "phase",
"cluster_epoch", "metrics", "time"}`, with `ended` in an epoch that none of the trial can follow; and one when a trial ends,
`{"trial", "state", "config", "score", "metrics", "epochs", "seconds", "reason", "time"}`, with a `traceback` where it raised, and
`asked_for` where a person asked for its configuration. `time` is the driver's clock in seconds since 1970. A trial that was
interrupted has an end `stopped`, and where the search was resumed its further epochs and another end after that; with `for_good` it
was stopped by itself, and does not go on.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tuner.clock import SYSTEM, Clock
from tuner.errors import UserError
from tuner.plain_json import load_json

from .events import Run, TrialEnd
from .paths import JOURNAL, STATUS
from .records import EndLine, EpochLine, Status, wrong_line, wrong_status

if TYPE_CHECKING:
    from .files import RunFiles


# --- the journal -------------------------------------------------------------------------------------------------------


class Journal:
    """Appends to `results.jsonl` and flushes every line; `status.json` says whether the search goes on, and where."""

    def __init__(self, files: RunFiles, clock: Clock = SYSTEM) -> None:
        self._files, self._clock = files, clock
        self._started, self._before, self._since = 0.0, 0.0, 0.0  # its first driver; seconds of earlier ones; this one
        self.because: str | None = None  # what the rule saw that ended the search, where one did

    def search_started(self, run: Run) -> None:
        path = self._files.folder / JOURNAL
        if path.exists():
            cut_torn_line(path)
        self._files.open(JOURNAL)
        self._since = self._clock.time()
        self._started = read_status(self._files.folder).get("started", self._since)
        self._before = 0.0 if run.past is None else run.past.seconds
        clock: Status = {"started": self._started, "since": self._since, "before": self._before}
        self._write_status({"status": "running", **clock, "host": socket.gethostname(), "pid": os.getpid()})

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        pass  # the study keeps its configuration; a trial's first line is its first epoch

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._append(line)

    def trial_ended(self, end: TrialEnd) -> None:
        self._append(end.line(self._clock.time()), sync=True)  # an epoch may be lost to a power cut, a finished trial not

    def search_ended(self, status: str) -> None:
        now = self._clock.time()
        seconds = self._before + now - self._since
        ended: Status = {"status": status, "started": self._started, "ended": now, "seconds": seconds}
        self._write_status(ended if self.because is None else {**ended, "because": self.because})

    def _append(self, line: EpochLine | EndLine, *, sync: bool = False) -> None:
        self._files.append(JOURNAL, json.dumps(line, allow_nan=False).encode() + b"\n", sync=sync)

    def _write_status(self, status: Status) -> None:
        self._files.write(STATUS, json.dumps(status) + "\n")


def read_lines(path: Path) -> Iterator[EpochLine | EndLine]:
    """A journal's lines. A torn last one is left out.

    Raises:
        UserError: a line is damaged that is not the last one.
    """
    for line, _ in lines_with_ends(path):
        yield line


def lines_with_ends(path: Path) -> Iterator[tuple[EpochLine | EndLine, int]]:
    """Every whole line, and the position in the file where it ends."""
    end = 0
    with _opened(path) as file:
        following = file.readline()
        number = 0
        while following:
            raw, following = following, file.readline()
            number, end = number + 1, end + len(raw)
            try:
                line = load_json(raw)
            except ValueError:
                if not following:
                    return  # torn: the power went while it was written
                line = None
            wrong = wrong_line(line)
            if wrong is not None:
                raise UserError(
                    f"{path}:{number}: the journal is damaged here: {wrong}. Nothing was changed. Bring the file back from "
                    "a copy; what it holds elsewhere is sound as far as it could be read."
                )
            yield line, end


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def cut_torn_line(path: Path) -> None:
    """Makes the file end with a whole line, so that one may be appended."""
    end = 0
    for _, position in lines_with_ends(path):
        end = position
    with path.open("r+b") as file:
        file.truncate(end)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")


def read_status(folder: Path) -> Status:
    path = folder / STATUS
    return cast("Status", json_object(path, wrong_status)) if path.exists() else {}


def json_object(path: Path, wrong_with: Callable[[dict[str, Any]], str | None]) -> dict[str, Any]:
    try:
        content = load_json(path.read_bytes())
        wrong = wrong_with(content) if isinstance(content, dict) else "it should hold one JSON object"
    except (OSError, ValueError) as error:
        content, wrong = {}, getattr(error, "strerror", None) or str(error)
    if wrong:
        raise UserError(f"{path} cannot be read: {wrong}. Nothing was changed. Bring the file back from a copy.")
    return dict(content)

"""A log for each trial: `logs/NNN.jsonl` in the run's folder, with all that is known of the trial numbered NNN.

A line is `{"time", "trial", "level", "message"}`, with `node` and `pid` where a process said it that trains the trial (said.py), and
without them where the driver did. `time` is the clock of whoever said it. The driver alone writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UserError, readable
from tuner.plain_json import load_json

from .paths import LOGS
from .states import STATES

if TYPE_CHECKING:
    from tuner.capture import Line

    from .events import Run, TrialEnd
    from .files import RunFiles
    from .records import EpochLine


def log_name(trial: int) -> str:
    return f"{LOGS}/{trial:03d}.jsonl"


class TrialLogs:
    """Writes them. A listener, which hears of beginnings and ends; what happens between is `add`ed."""

    def __init__(self, run: Run, files: RunFiles) -> None:
        self._run, self._files = run, files

    def add(self, trial: int, lines: Iterable[Line]) -> None:
        """
        Raises:
            UserError: neither the run's folder nor its fallback folder can be written.
        """
        text = "".join(json.dumps({"time": line["time"], "trial": trial} | line) + "\n" for line in lines)
        if text:
            self._files.append_seldom(log_name(trial), text.encode())

    def note(self, trial: int, level: str, message: str) -> None:
        """What the driver has to say of a trial."""
        self.add(trial, [{"time": round(time.time(), 3), "level": level, "message": message}])

    def search_started(self, run: Run) -> None:
        pass

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        past = self._run.past
        if past is not None and trial in past.open:
            self.note(trial, "INFO", f"goes on with its search, after epoch {len(past.open[trial].metrics)}")
        elif past is None or all(end.trial != trial for end in past.pruned):  # those only end, once more
            self.note(trial, "INFO", "begins with " + ", ".join(f"{name} {value}" for name, value in config.items()))

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        pass

    def trial_ended(self, end: TrialEnd) -> None:
        score = "" if end.score is None else f", {self._run.spec.metric.name} {end.score:.6g}"
        reason = "" if end.reason is None else f": {end.reason}"
        after = f"{end.state} after {end.epochs} epoch{'s' * (end.epochs != 1)}{score}{reason}"
        self.note(end.trial, STATES[end.state].level, after if end.traceback is None else f"{after}\n{end.traceback}")

    def search_ended(self, status: str) -> None:
        pass


def read_log(folder: Path, trial: int) -> list[Line]:
    """A trial's log, as far as it can be read: the journal is the truth, and a power cut may have torn a line of this.

    Raises:
        UserError: there is none.
    """
    path = folder / log_name(trial)
    if not path.is_file():
        raise UserError(f"{folder.name} has no log of a trial {trial}. `tuner show {folder.name}` has its trials.")
    found = []
    for raw in path.read_bytes().splitlines():
        try:
            line = load_json(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and {"time", "level", "message"} <= line.keys():
            found.append(line)
    return found


def in_words(lines: Iterable[Line]) -> Iterator[str]:
    """`2026-11-21 22:29:03  WARNING  what was said`; which process says it, where that is another than the last."""
    last = None
    for line in lines:
        process = (line["node"], line["pid"]) if "pid" in line else None
        if process is not None and process != last:
            last = process
            yield f"process {process[1]} on {process[0]}:"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line["time"]))
        yield f"{when}  {line['level']:<7}  " + readable(str(line["message"])).replace("\n", f"\n{'':30}")

"""Notes of what Weights & Biases has received for certain, so that the next driver sends the rest again.

W&B's process buffers what it is sent: of a run that a killed driver left open there may be nothing on disk and a part in the cloud. So
a note is kept of each run that was closed, and everything else is sent again from the journal. The cloud drops steps that it has.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from tuner.runs.events import Run
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL
from tuner.runs.records import EndLine, EpochLine

NOTES = "told.jsonl"  # in the run's `wandb`; runs of earlier versions have it under this name


class Notes:
    """`epochs`: how many epochs of each trial W&B has; `over`: the trials whose end it has; `step`: the last step of the search's own
    run, `ends`: how many trials had ended by then, and `closed`: whether it was closed since a driver opened it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "wandb"
        self.epochs: dict[int, int] = {}
        self.over: set[int] = set()
        self.step, self.ends, self.closed = 0, 0, True
        self._pieces: set[str] = set()
        path = self._folder / NOTES
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):  # torn, when the power went: what it noted is sent again
                self._take(json.loads(line))

    def _take(self, note: dict[str, Any]) -> None:
        if "opened" in note:
            self.closed = False
            return
        self._pieces.add(note["piece"])
        if "trial" not in note:
            self.step, self.ends, self.closed = note["step"], note["ends"], True
            return
        self.epochs[note["trial"]] = note["epochs"]
        if note["state"] != "stopped":
            self.over.add(note["trial"])

    def note_trial(self, trial: int, epochs: int, state: str, run: Any) -> None:
        """A trial's run was closed."""
        self._note({"trial": trial, "epochs": epochs, "state": state}, run)

    def note_search(self, step: int, ends: int, run: Any) -> None:
        """The search's own run was closed."""
        self._note({"step": step, "ends": ends}, run)

    def note_opened(self) -> None:
        """A driver opens the search's own run."""
        self._write({"opened": True})

    def _note(self, what: dict[str, Any], run: Any) -> None:
        self._write({**what, "piece": Path(run.dir).parent.name})

    def _write(self, note: dict[str, Any]) -> None:
        with (self._folder / NOTES).open("a") as file:
            file.write(json.dumps(note) + "\n")
        self._take(note)

    def missing(self, run: Run) -> list[EpochLine | EndLine]:
        """The journal's lines that W&B may not have, so far. Not the end of a trial that was stopped with its search: it continues."""
        path = run.folder / JOURNAL
        if run.past is None or not path.exists():
            return []
        return [
            line
            for line in read_lines(path)
            if line["trial"] not in self.over
            and (line["state"] != "stopped" if "state" in line else line["epoch"] > self.epochs.get(line["trial"], 0))
        ]

    def remove_open_pieces(self) -> None:
        """Removes what was recorded offline of runs that nobody closed: they are recorded again, and must not be sent twice."""
        for piece in self._folder.glob("offline-run-*"):
            if piece.name not in self._pieces:
                shutil.rmtree(piece, ignore_errors=True)

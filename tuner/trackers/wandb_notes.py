"""What Weights & Biases has of a run for certain, and what the next driver has to tell it again.

W&B's process holds back what it was sent: of a run that a killed driver left open nothing is on disk, or some of it in the cloud. So
a run that was closed is noted, with how far it went, and all else is told again from the journal. The cloud drops the steps it has.
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

NOTES = "told.jsonl"  # in the run's `wandb`


class Told:
    """`epochs`: up to where W&B has a trial; `over`: the trials whose end it has, too; `step`: the last one of the search's own run,
    and `ends`: how many trials had ended there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "wandb"
        self.epochs: dict[int, int] = {}
        self.over: set[int] = set()
        self.step, self.ends = 0, 0
        self._pieces: set[str] = set()
        path = self._folder / NOTES
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):  # torn, when the power went: what it noted is told again
                self._take(json.loads(line))

    def _take(self, note: dict[str, Any]) -> None:
        self._pieces.add(note["piece"])
        if "trial" not in note:
            self.step, self.ends = note["step"], note["ends"]
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

    def _note(self, what: dict[str, Any], run: Any) -> None:
        note = {**what, "piece": Path(run.dir).parent.name}
        with (self._folder / NOTES).open("a") as file:
            file.write(json.dumps(note) + "\n")
        self._take(note)

    def missing(self, run: Run) -> list[EpochLine | EndLine]:
        """The journal's lines that W&B may not have, so far. What a trial that goes on was stopped for is none of them."""
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
        """Removes what was recorded offline of runs that nobody closed: they are recorded anew, and nobody shall send both."""
        for piece in self._folder.glob("offline-run-*"):
            if piece.name not in self._pieces:
                shutil.rmtree(piece, ignore_errors=True)

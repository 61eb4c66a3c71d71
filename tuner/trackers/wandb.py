"""Weights & Biases: one run per trial and one for the whole search, all opened in the driver.

W&B works on a mirror's thread: it may wait for a network, and the search must not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import first_line
from tuner.runs.states import STATES

from . import wandb_opening
from .mirror import Mirror
from .progress import configurations, progress
from .wandb_login import ask_the_cloud
from .wandb_notes import Notes
from .wandb_opening import Opening
from .wandb_recorded import SWEEP, run_id

if TYPE_CHECKING:
    from tuner.runs.events import Run, TrialEnd
    from tuner.runs.records import EndLine, EpochLine

MODES = ("online", "offline", "disabled")


class WandbRuns(Mirror):
    """Mirrors a search to W&B.

    `mode`: `online` falls back to `offline` where there is no login or no network, and prints the command that sends the runs
    later. `disabled` does nothing and does not even import wandb. `say` prints one line for the user.
    """

    title = "W&B"
    late = "What does not arrive stays in the run's folder; `wandb sync` sends it."

    def __init__(self, mode: str = "online", *, say: Callable[[str], None] = print) -> None:
        assert mode in MODES, mode
        super().__init__(say)
        self.mode = mode

    def prepared(self, run: Run) -> Callable[[], _Runs] | None:
        if self.mode == "disabled":
            return None
        notes = Notes(run.folder)
        missing = notes.missing(run)
        return lambda: _Runs(run, notes, missing, self.mode, self._say)


class _Runs:
    """The open runs. Everything happens on the thread that owns it."""

    def __init__(self, run: Run, notes: Notes, missing: Sequence[EpochLine | EndLine], mode: str, say: Callable[[str], None]) -> None:
        self._run, self._notes, self._missing, self._say, self._mode = run, notes, missing, say, mode
        self._sent = self._went = False  # whether some run is online; whether the mode changed after that
        self._open: dict[int, Any] = {}  # trial -> its W&B run, while the trial runs
        self._ends: list[TrialEnd] = []
        self._step = notes.step  # of the search's own run: W&B drops what comes at a step it has passed
        os.environ.pop("WANDB_SWEEP_ID", None)  # it would make wandb.init ignore our project and ids
        notes.remove_open_pieces()
        self._sweep_id = self._register()
        notes.note_opened()
        import wandb

        self._wandb = wandb
        logging.getLogger("wandb").addHandler(logging.NullHandler())  # else its errors go to the terminal; it has a file for them
        wandb.setup(settings=wandb.Settings(silent=True))
        self._search = self._init("search", run.name, job_type="search", config={**run.spec.resolved(), **run.info})

    def catch_up(self) -> None:
        """Sends what an earlier driver could not send before it died: lines of the journal."""
        past = self._run.past
        if past is None:
            return
        ends = {end.trial: end for end in past.ends}
        configs = configurations(past)
        for number, end in enumerate(past.ends, 1):
            self._ends.append(end)
            if number > self._notes.ends:
                self._log_progress()
        for line in self._missing:
            self.trial_started(line["trial"], configs[line["trial"]])
            if "state" in line:
                self._close(ends[line["trial"]])
            else:
                self.epoch_ended(line["trial"], line)

    # --- the events of a search ---

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        if trial not in self._open:  # a second attempt goes on in the first one's run
            self._open[trial] = self._init(str(trial), f"{self._run.name} #{trial}", job_type="trial", config=dict(config))

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        counted = {} if line["cluster_epoch"] is None else {"cluster_epoch": line["cluster_epoch"]}
        if trial in self._open:
            self._open[trial].log({**line["metrics"], **counted, "phase": line["phase"]}, step=line["epoch"])

    def trial_ended(self, end: TrialEnd) -> None:
        self._ends.append(end)
        self._log_progress()
        self._close(end)

    def _log_progress(self) -> None:
        self._step += 1
        self._search.log(progress(self._ends, self._run.spec), step=self._step)

    def _close(self, end: TrialEnd) -> None:
        run = self._open.pop(end.trial, None)
        if run is not None:
            known = {"state": end.state, "score": end.score, "epochs": end.epochs, "seconds": end.seconds, "reason": end.reason}
            known |= {"traceback": end.traceback, "configuration": end.configuration}
            run.summary.update({key: value for key, value in known.items() if value is not None})
            self._finish(run, STATES[end.state].exit_code)
            self._notes.note_trial(end.trial, end.epochs, end.state, run)

    def search_ended(self, status: str) -> None:
        for trial, run in self._open.items():  # of an earlier driver; this one did not come to them
            run.summary.update({"state": "stopped"})
            self._finish(run, STATES["stopped"].exit_code)
            self._notes.note_trial(trial, len(self._run.past.open[trial].metrics) if self._run.past else 0, "stopped", run)
        self._open.clear()
        if self._went:  # what follows asks the cloud, unless it is of an offline run
            self._finish(self._search, 0)
            self._search = self._init("search", self._run.name, job_type="search", config={})
        if self._ends:
            columns, rows = _table(self._ends)
            table = self._wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
            self._search.log({"trials": table}, step=self._step + 1)
        self._search.summary.update({"status": status})
        self._search.finish(exit_code={"done": 0, "stopped": 255, "failed": 1}[status])
        self._notes.note_search(self._step + 1, sum(end.state != "stopped" for end in self._ends), self._search)

    # --- W&B ---

    def _finish(self, run: Any, exit_code: int) -> None:
        """Ends a run. One whose last lines do not arrive stays in its file; and as nobody answers, the next ones are not sent at all."""
        began = time.monotonic()
        run.finish(exit_code=exit_code)
        if self._mode == "online" and time.monotonic() - began >= wandb_opening.FINISH_S:
            self._go_offline("the cloud does not answer any more")

    def _init(self, part: str, name: str, *, job_type: str, config: Mapping[str, Any]) -> Any:
        """A new run of this search, or the one it had before an interruption: ids follow from the search and `part`."""
        spec, trial = self._run.spec, job_type == "trial"
        opening = Opening(
            folder=self._run.folder,
            search=self._run.name,
            id=run_id(self._run.name, self._sweep_id, part),
            name=name,
            job_type=job_type,
            tags=[spec.model, str(spec.dataset.name)[-64:]],
            config=dict(config),
        )
        # stop_fn: W&B's stop button sends SIGINT to the process, which here is the whole search and not one trial.
        asked_to_stop = f"W&B: asked to stop {name}. A single trial cannot be stopped from there; it goes on."
        settings = {"sweep_id": self._sweep_id if trial else None, "x_disable_meta": trial, "stop_fn": lambda: self._say(asked_to_stop)}
        try:
            run = opening.open(self._mode, **settings)
            self._sent = self._sent or self._mode == "online"
            return run
        except self._wandb.Error as error:
            if self._mode == "offline":
                raise
            self._go_offline(first_line(error))
            other = replace(opening, id=f"{opening.id}-offline")  # W&B's own process still holds the other id
            return other.open("offline", **settings)

    def _register(self) -> str:
        """The id of this search's sweep: W&B's own where it answers, else one made up, of the same kind and always the same."""
        kept = self._run.folder / "wandb" / SWEEP
        if kept.is_file():
            if self._mode == "offline":
                self._go_offline(None)
            return str(json.loads(kept.read_text())["id"])
        answer: dict[str, Any] = {}
        if self._mode == "online":
            answer = ask_the_cloud(self._run.spec.sweep())
            if "id" in answer:
                self._say(f"W&B: {answer['url']}" if answer.get("url") else f"W&B: sweep {answer['id']}")
            else:
                self._go_offline(answer["why"])
        else:
            self._go_offline(None)
        known = {"id": answer.get("id") or made_up_id(self._run), "registered": "id" in answer}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(known) + "\n")
        return str(known["id"])

    def _go_offline(self, why: str | None) -> None:
        self._mode, self._went = "offline", self._sent
        folder = self._run.folder
        near = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder  # as one would type it
        reason = f" ({why})" if why else ""
        runs = "*run-*" if self._sent else "offline-run-*"  # of those that are open, only a part may have arrived
        self._say(f"W&B: recorded offline{reason}. To send it later:\n  wandb sync {shlex.quote(str(near / 'wandb'))}/{runs}")


def made_up_id(run: Run) -> str:
    """Eight letters and digits, as W&B's sweep ids are, that follow from the search's name and the time it began."""
    number = int.from_bytes(hashlib.sha256(f"{run.name}\n{run.info.get('started')}\n{run.spec.text}".encode()).digest())
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(letters[number // 36**place % 36] for place in range(8))


def _table(ends: list[TrialEnd]) -> tuple[list[str | int], list[Iterable[Any]]]:
    """One row per trial: how it ended, its metrics, its configuration."""
    metrics = sorted({name for end in ends for name in end.metrics})
    names = sorted({name for end in ends for name in end.config})
    rows: list[Iterable[Any]] = [
        [end.trial, end.state, end.score, end.epochs, end.seconds, end.reason]
        + [end.metrics.get(name) for name in metrics]
        + [end.config.get(name) for name in names]
        for end in sorted(ends, key=lambda end: end.trial)
    ]
    return ["trial", "state", "score", "epochs", "seconds", "reason", *metrics, *names], rows

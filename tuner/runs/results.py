"""A run read back from its folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UserError, did_you_mean

from .journal import json_object, read_lines, read_status
from .paths import JOURNAL, SPEC
from .validation import STATES, wrong_about

if TYPE_CHECKING:
    pass


# --- reading a run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial as the journal knows it. `state`: one of STATES; `running` or `unfinished` where no end was written."""

    trial: int
    state: str
    config: Mapping[str, Any]
    score: float | None
    metrics: Mapping[str, float]
    epochs: int
    seconds: float = 0.0
    reason: str | None = None
    traceback: str | None = None
    asked_for: bool = False
    for_good: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it stays as it is when the search goes on."""
        return self.state in STATES and (self.state != "stopped" or self.for_good)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run read back. `metric`, `goal` (maximize | minimize) and `score` (last | max | mean_last_5) say what was searched for."""

    name: str
    folder: Path
    spec_json: dict[str, Any]
    status: str  # running | done | stopped | failed
    metric: str
    goal: str
    score: str
    trials: tuple[TrialRecord, ...]  # by number
    epochs: int  # of all trials together
    seconds: float

    def ranked(self) -> list[TrialRecord]:
        """The complete trials, best first."""
        complete = [t for t in self.trials if t.state == "complete" and t.score is not None]
        sign = -1.0 if self.goal == "maximize" else 1.0
        return sorted(complete, key=lambda t: (sign * float(t.score or 0.0), t.trial))

    def best(self) -> TrialRecord | None:
        """The best of the complete trials; of equal ones the first."""
        return next(iter(self.ranked()), None)

    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        return {state: sum(t.state == state for t in self.trials) for state in STATES}

    def summary(self) -> dict[str, Any]:
        """What `tuner show --json` prints."""
        best = self.best()
        return {
            "name": self.name,
            "status": self.status,
            "metric": self.metric,
            "best": None if best is None else {"trial": best.trial, "metrics": dict(best.metrics), "config": dict(best.config)},
            "trials": self.counts(),
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
        }


def read_run(folder: Path) -> Results:
    """The run in `folder`.

    Raises:
        UserError: there is no run, or what is there is damaged.
    """
    if not os.path.isfile(folder / SPEC):  # noqa: PTH113 - Path.is_file raises where a name is too long to be one
        raise no_such_run(folder)
    spec = json_object(folder / SPEC, wrong_about)
    status = read_status(folder)
    now = _status_now(status)
    ends: dict[int, dict[str, Any]] = {}
    last: dict[int, dict[str, Any]] = {}
    epochs: dict[int, int] = {}
    times: list[float] = []
    if (folder / JOURNAL).exists():
        for line in read_lines(folder / JOURNAL):
            number = line["trial"]
            times[1:] = [float(line.get("time", 0.0))]
            if "state" in line:
                ends[number] = line
            else:
                ends.pop(number, None)  # it was interrupted, and goes on
                last[number] = line
                epochs[number] = epochs.get(number, 0) + 1
    trials = [
        _ended(ends[number], epochs.get(number, 0))
        if number in ends
        else TrialRecord(
            trial=number,
            state="running" if now == "running" else "unfinished",
            config={},
            score=None,
            metrics=last[number]["metrics"],
            epochs=epochs[number],
        )
        for number in sorted(ends.keys() | last.keys())
    ]
    since = float(status.get("since", status.get("started", times[0] if times else 0.0)))
    until = float(status.get("ended", time.time() if now == "running" else times[-1] if times else since))
    seconds = float(status.get("seconds", status.get("before", 0.0) + max(0.0, until - since)))
    return Results(
        name=str(spec.get("name", folder.name)),
        folder=folder,
        spec_json=spec,
        status=now,
        metric=str(spec["metric"]["name"]),
        goal=str(spec["metric"]["goal"]),
        score=str(spec.get("score", "last")),
        trials=tuple(trials),
        epochs=sum(epochs.values()),
        seconds=seconds,
    )


def no_such_run(folder: Path) -> UserError:
    siblings = [path.name for path in _run_folders(folder.parent)]
    return UserError(f"There is no run '{folder}'.{did_you_mean(folder.name, siblings)} `tuner ls` lists them.")


def _ended(line: Mapping[str, Any], epochs: int) -> TrialRecord:
    score = line.get("score")
    return TrialRecord(
        trial=line["trial"],
        state=line["state"],
        config=line["config"],
        score=None if score is None else float(score),
        metrics=line["metrics"],
        epochs=epochs,
        seconds=float(line.get("seconds", 0.0)),
        reason=line.get("reason"),
        traceback=line.get("traceback"),
        asked_for=bool(line.get("asked_for")),
        for_good=bool(line.get("for_good")),
    )


def _status_now(status: Mapping[str, Any]) -> str:
    """What the file says, unless it says `running` of a process on this machine that is gone."""
    said = str(status.get("status", "failed"))
    if said != "running" or status.get("host") != socket.gethostname():
        return said
    try:
        os.kill(int(status["pid"]), 0)
    except ProcessLookupError:
        return "failed"
    except PermissionError:  # alive, and somebody else's
        return said
    return said


def list_runs(out: Path) -> tuple[list[Results], list[UserError]]:
    """All runs under `out`, oldest first; and of each that is damaged, what is wrong with it."""
    found: list[tuple[float, Results]] = []
    damaged = []
    for folder in _run_folders(out):
        try:
            found.append((float(read_status(folder).get("started", 0.0)), read_run(folder)))
        except UserError as error:
            damaged.append(error)
    return [run for _, run in sorted(found, key=lambda one: (one[0], one[1].name))], damaged


def _run_folders(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob(f"*/{SPEC}")) if os.path.isdir(out) else []  # noqa: PTH112

"""What becomes of a trial that failed, and why it did: one line for people, and the traceback without Ray's own frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

from tuner.capture import Line, attached

from . import memory
from .patches import Verdict
from .quarantine import Quarantine

_RAISED = re.compile(r"[A-Za-z_.]*(Error|Exception): ")


class Failures:
    """Decides whether a trial that failed is tried again: where its process is gone it is, where it raised or had no room it is not, for
    it would again. If it was the node's fault the trial is tried again on another node, and this does not count as a retry."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine
        self._deaths: dict[str, str] = {}  # by trial: the actor whose death was dealt with last

    @property
    def outside(self) -> Sequence[str]:
        return self._quarantine.outside

    def verdict(self, trial: str, actor: str | None, error: BaseException) -> Verdict:
        """Tune reports a death once for every task that was under way. The second time the trial waits to be tried again already, and Tune
        would end it: `ignore`."""
        if actor and isinstance(error, RayActorError):
            if self._deaths.get(trial) == actor:
                return "ignore"
            self._deaths[trial] = actor
        if self._quarantine.failed(actor, error, reason_of(error)):
            return "retry elsewhere"
        return "fail" if isinstance(error, RayTaskError) or memory.reason_of(error) else "retry"


def failure_of(trial: TuneTrial) -> tuple[str, str | None, list[Line]]:
    """The reason, the traceback and what was said before, from the files beside this process in which Tune keeps a failure: the error
    itself, or where it has none only its text."""
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        error = ray.cloudpickle.loads(Path(pickled).read_bytes())
        return reason_of(error), traceback_of(error), attached(error)
    lines = Path(text).read_text().splitlines()[1:] if text and Path(text).exists() else []
    return next((line.strip() for line in lines if line.strip()), reason_of(None)), None, []


def traceback_of(error: BaseException | None) -> str | None:
    """Where a trial raised, without Ray's own frames; None where its process is gone."""
    if not isinstance(error, RayTaskError):
        return None
    kept, theirs = ["Traceback (most recent call last):"], True
    for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines():
        if line.startswith("  File "):
            theirs = re.search(r"[/\\]site-packages[/\\]ray[/\\]", line) is None
        elif not line.startswith("    "):
            theirs = not line.startswith("ray::")
        if theirs:
            kept.append(line)
    return "\n".join(kept)


def reason_of(error: BaseException | None) -> str:
    """Why a trial failed, in one line: what it raised, or what Ray says of a process that is gone."""
    out_of_memory = memory.reason_of(error)
    if out_of_memory is not None:
        return out_of_memory
    cause = getattr(error, "cause", None) or error
    if cause is None:
        return "it failed, and Ray does not say why"
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()] or [""]
    if not isinstance(cause, ray.exceptions.RayError):
        return f"{type(cause).__name__}: {lines[0]}" if lines[0] else type(cause).__name__
    raised = [line for line in lines if _RAISED.match(line)]
    detail = [line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0] for line in lines]
    return f"the trial's process is gone: {next(iter([*raised[-1:], *filter(None, detail), lines[0]]))}"

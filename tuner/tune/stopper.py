"""Ends single trials, or the whole search, when a person orders it or nothing is to be hoped for."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from tuner.search.stopping import StopRules

from .patches import kill_process
from .quarantine import Quarantine
from .result import TuneResult


class StopRequests(Stopper):
    """What is to stop. Tune asks after every result, and before every step for the whole search, which then does not wait for the epochs
    that are being trained."""

    def __init__(self) -> None:
        self.search = threading.Event()
        self.trials: set[int] = set()  # each ends with the epoch that it is in
        self.hopeless: str | None = None  # why the search was given up
        self._known: Sequence[TuneTrial] = ()

    def give_up(self, reason: str) -> None:
        """Ends the search, which failed."""
        self.hopeless = reason
        self.search.set()

    def watch(self, trials: Sequence[TuneTrial]) -> None:
        """Notes the trials whose processes end with the search."""
        self._known = trials

    def state(self, trial: int, ended: str | None) -> str | None:
        """How a trial ended that ended by itself as `ended` says, or not at all: `stopped` is what a person has ordered."""
        return "stopped" if ended is None and trial in self.trials else ended

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        found = TuneResult.read(result)
        return found.ended is None and found.trial in self.trials

    def stop_all(self) -> bool:
        if self.search.is_set():
            for trial in self._known:
                kill_process(trial)  # checkpoints are written whole or not at all
        return self.search.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class SearchControl:
    """What decides, beside the scheduler, which trials begin, which go on and where trials may run. `rules`: that end the search."""

    requests: StopRequests
    quarantine: Quarantine
    rules: StopRules | None = None

    @property
    def until(self) -> float:
        """When the search ends whatever trains, by its clock; infinity: never."""
        return math.inf if self.rules is None else self.rules.until

    @property
    def over(self) -> bool:
        """Whether no configuration is to begin any more, though `trials` is not reached."""
        return self.rules is not None and self.rules.because is not None

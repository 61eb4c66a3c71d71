"""Tune's scheduler: it asks the rungs of ASHA which trial stops early.

Tune keeps no scheduler's state. A resumed search enters the journalled scores again: with empty rungs, late trials would be compared with
no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.search.rungs import Rungs, SeedRungs
from tuner.space.spec import Spec


class Halving(FIFOScheduler):
    """Stops trials by their scores at clustering epochs. Rungs know a trial by its number, which it keeps when the search is resumed."""

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rungs = rungs

    def belongs(self, trial: int, configuration: int) -> None:
        """Notes whose seed a trial is, where configurations have several."""
        if isinstance(self._rungs, SeedRungs):
            self._rungs.belongs(trial, configuration)

    def replay(self, trial: int, cluster_epoch: int, score: float) -> bool:
        """Enters a score that an earlier driver journalled; scores come in the journal's order. True: the trial was to stop there."""
        return self._rungs.add(trial, cluster_epoch, score)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]) -> str:
        return TrialScheduler.STOP if self._stops(trial, result) else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]) -> None:
        self._stops(trial, result)  # the last score of a trial that ended by itself counts for the others

    def _stops(self, trial: TuneTrial, result: Mapping[str, Any]) -> bool:
        if "score" not in result:  # it was stopped in its pre-training
            return False
        self.belongs(trial.config["trial"], trial.config.get("configuration", trial.config["trial"]))
        return self._rungs.add(trial.config["trial"], result["cluster_epoch"], result["score"])


def scheduler(spec: Spec) -> FIFOScheduler:
    """A `Halving`, or one that lets every trial run to its end."""
    asha = spec.early_terminate
    if asha is None or spec.epochs <= asha.grace:
        return FIFOScheduler()
    kind = Rungs if spec.seeds.single else SeedRungs
    return Halving(kind(grace=asha.grace, reduction=asha.reduction, larger_is_better=spec.metric.goal == "maximize"))

"""Tune's scheduler: it asks the rungs of ASHA which trial stops early.

Tune keeps no scheduler's state. A resumed search enters the journalled scores again: with empty rungs, late trials would be compared with
no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.search.rungs import FrontRungs, Rungs, SeedRungs
from tuner.search.scores import values_of
from tuner.space.spec import Spec
from tuner.space.warm import WARM

from .result import TuneResult


class Halving(FIFOScheduler):
    """Stops trials by their scores at clustering epochs. Rungs know a trial by its number, which it keeps when the search is resumed."""

    def __init__(self, rungs: Rungs | FrontRungs, spec: Spec | None = None) -> None:
        """`spec`: of a search by several metrics."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._spec, self._rungs = spec, rungs

    def belongs(self, trial: int, configuration: int) -> None:
        """Notes whose seed a trial is, where configurations have several."""
        if isinstance(self._rungs, SeedRungs):
            self._rungs.belongs(trial, configuration)

    def replay(self, trial: int, cluster_epoch: int, score: float, values: Sequence[float] = ()) -> bool:
        """Enters a score that an earlier driver journalled, and with several metrics their values; they come in the journal's order. True:
        the trial was to stop there."""
        return self._add(trial, cluster_epoch, score, values)

    def _add(self, trial: int, cluster_epoch: int, score: float, values: Sequence[float]) -> bool:
        if isinstance(self._rungs, FrontRungs):
            return self._rungs.add(trial, cluster_epoch, values)
        return self._rungs.add(trial, cluster_epoch, score)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]) -> str:
        return TrialScheduler.STOP if self._stops(trial, result) else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]) -> None:
        self._stops(trial, result)  # the last score of a trial that ended by itself counts for the others

    def _stops(self, trial: TuneTrial, result: Mapping[str, Any]) -> bool:
        if "score" not in result or WARM in trial.config.get("config", ()):  # it was stopped in its pre-training, or is compared with none
            return False
        self.belongs(trial.config["trial"], trial.config.get("configuration", trial.config["trial"]))
        values: Sequence[float] = ()
        if self._spec is not None:
            found = TuneResult.read(result)
            assert found.line is not None, "it has a score"
            values = values_of(self._spec, found.line["metrics"], found.ended)
        return self._add(trial.config["trial"], result["cluster_epoch"], result["score"], values)


def scheduler(spec: Spec) -> FIFOScheduler:
    """A `Halving`, or one that lets every trial run to its end."""
    asha = spec.early_terminate
    if asha is None or spec.epochs <= asha.grace:
        return FIFOScheduler()
    if spec.metrics is not None:
        return Halving(FrontRungs(grace=asha.grace, reduction=asha.reduction, metrics=spec.metrics), spec)
    kind = Rungs if spec.seeds.single else SeedRungs
    return Halving(kind(grace=asha.grace, reduction=asha.reduction, larger_is_better=spec.metric.goal == "maximize"))

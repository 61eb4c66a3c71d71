"""Which trial stops early: ASHA, whose rungs can be filled in again from what was journalled.

Tune keeps no scheduler's state. One that began anew would compare late trials with nobody, and stop good ones.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

if TYPE_CHECKING:
    from tuner.space.metric import Metric
    from tuner.space.spec import Asha, Spec


_NEVER = 10**9  # a trial ends by itself: several clustering phases may be longer than `epochs`


class Halving(ASHAScheduler):
    """Tune's ASHA over the scores at clustering epochs. Before its trials are known to Tune, they are known by their numbers."""

    def __init__(self, asha: Asha, metric: Metric) -> None:
        super().__init__(
            time_attr="cluster_epoch",
            metric="score",
            mode=metric.mode,
            max_t=_NEVER,
            grace_period=asha.grace,
            reduction_factor=asha.reduction,
        )

    def replay(self, trial: int, cluster_epoch: int, score: float) -> bool:
        """Takes in a score of an earlier driver's, in the order in which it came. True: the trial was to stop there."""
        assert self._metric_op is not None
        told: Any = SimpleNamespace(trial_id=str(trial))
        return bool(self._brackets[0].on_result(told, cluster_epoch, self._metric_op * score) == TrialScheduler.STOP)

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A trial that goes on has been at some rungs; there it now stands under Tune's name for it."""
        super().on_trial_add(tune_controller, trial)
        known = str(trial.config["trial"])
        for _, recorded in self._brackets[0]._rungs:
            if known in recorded:
                recorded[trial.trial_id] = recorded.pop(known)


def scheduler(spec: Spec) -> FIFOScheduler:
    """A `Halving`, or one that lets every trial run to its end."""
    asha = spec.early_terminate
    return FIFOScheduler() if asha is None or spec.epochs <= asha.grace else Halving(asha, spec.metric)

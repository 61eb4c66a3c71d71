"""What Ray Tune does otherwise than a search needs, mended for as long as the search lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import ray
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

from . import memory
from .failures import reason_of
from .quarantine import Quarantine


@contextlib.contextmanager
def only_the_trial_is_lost(quarantine: Quarantine) -> Iterator[None]:
    """While it lasts, a worker that Ray kills because its node runs out of memory costs its trial, not the search; and only a trial
    whose process is gone is tried again: one that raises would raise again, and one that had no room would have none. Where it was the
    node's fault it is tried again in any case: on another.

    Ray reports the former as an OutOfMemoryError, which Tune 2.60 takes for no actor's death: it raises, and everything is over. It
    hears of a death once for every task that was under way; the second time the trial waits to be tried again, and Tune ends it.
    """
    mourned: dict[str, str] = {}  # by trial: the actor whose death was dealt with last
    known, process_failure = RayActorManager._actor_task_failed, TuneController._process_trial_failure

    def failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, RayTaskError | RayActorError):
            exception = RayActorError(error_msg=str(exception))
        known(self, tracked_actor_task, exception)

    def process(self: TuneController, trial: TuneTrial, exception: Any) -> None:
        there: Any = trial.temporary_state.ray_actor
        actor = str(exception.actor_id) if getattr(exception, "actor_id", None) else there and there._actor_id.hex()
        if actor and isinstance(exception, RayActorError):
            if mourned.get(trial.trial_id) == actor:
                return
            mourned[trial.trial_id] = actor
        if quarantine.failed(actor, exception, reason_of(exception)):
            trial.max_failures = trial.run_metadata.num_failures + 1
        elif isinstance(exception, RayTaskError) or memory.told(exception):
            trial.max_failures = 0
        if trial.config["outside"] != quarantine.outside:
            # Now, while Tune does not count it among those that wait for this share or that; `update_resources` would be too late.
            trial.config["outside"] = list(quarantine.outside)
            trial.placement_group_factory = trial.get_trainable_cls().default_resource_request(trial.config)
        process_failure(self, trial, exception)

    with (
        mock.patch.object(RayActorManager, "_actor_task_failed", failed),
        mock.patch.object(TuneController, "_process_trial_failure", process),
    ):
        yield

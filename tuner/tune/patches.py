"""What a search replaces in Ray Tune while it lasts, and what it asks Ray about processes by private names."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

from tuner.machines.ray_names import ACTOR_ID, ACTORS, CALLBACKS_COUNTED, TASK_FAILED, TRIAL_FAILED, TRIALS_RESET, as_read, replaced

Verdict = Literal["ignore", "retry", "retry elsewhere", "fail"]


class FailureRule(Protocol):
    """Decides what becomes of a trial that failed."""

    @property
    def outside(self) -> Sequence[str]:
        """The ids of the nodes that get no further trial."""

    def verdict(self, trial: str, actor: str | None, error: BaseException) -> Verdict:
        """`trial`: Tune's id. `actor`: the id of the process that trained it, where that is known. `retry` counts against the
        retries of the space, `retry elsewhere` does not."""


# --- failures ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_the_trial_is_lost(rule: FailureRule) -> Iterator[None]:
    """While it lasts, `rule` decides about every failure, and a worker that Ray kills because its node runs out of memory costs its
    trial, not the search.

    Ray reports such a worker as an OutOfMemoryError. Tune 2.60 does not count that as an actor's death: it raises, and everything is over.
    """
    with contextlib.ExitStack() as patches:
        if as_read(TASK_FAILED):
            patches.enter_context(replaced(TASK_FAILED, _task_failed))
        if as_read(TRIAL_FAILED):
            patches.enter_context(replaced(TRIAL_FAILED, functools.partial(_trial_failed, rule)))
        yield


@contextlib.contextmanager
def callbacks_uncounted() -> Iterator[None]:
    """While it lasts, Tune does not count callbacks by their classes for Ray's usage statistics, which are off: for that it would import
    MLflow, W&B and what else of the kind is installed, which takes up to three seconds, behind which the first trial waits."""
    with replaced(CALLBACKS_COUNTED, lambda known, callbacks: None):
        yield


def _task_failed(known: Callable[..., None], manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
    if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, RayTaskError | RayActorError):
        exception = RayActorError(error_msg=str(exception))
    known(manager, tracked_actor_task, exception)


def _trial_failed(rule: FailureRule, known: Callable[..., None], controller: Any, trial: TuneTrial, exception: Any) -> None:
    verdict = rule.verdict(trial.trial_id, getattr(exception, "actor_id", None) or _actor_id_of(trial), exception)
    if verdict == "ignore":
        return
    if verdict == "retry elsewhere":
        trial.max_failures = trial.run_metadata.num_failures + 1
    elif verdict == "fail":
        trial.max_failures = 0
    if trial.config["outside"] != rule.outside:
        # Now, while Tune does not count it among the trials that wait for this share or that; `update_resources` would be too late.
        trial.config["outside"] = list(rule.outside)
        trial.placement_group_factory = trial.get_trainable_cls().default_resource_request(trial.config)
    # Tune 2.60 forgets this where the process dies meanwhile, and then takes the trial for one that is about to begin, for ever.
    getattr(controller, TRIALS_RESET, set()).discard(trial)
    known(controller, trial, exception)


# --- processes -----------------------------------------------------------------------------------------------------------


def kill_process(trial: TuneTrial) -> None:
    """Ends the process of a trial, where it has one."""
    actor = trial.temporary_state.ray_actor
    if actor is not None:
        ray.kill(actor)


def node_of(actor: str) -> str | None:
    """The id of the node that an actor is or was on. `ray.util.state.get_actor`, which is public, needs a dashboard; and an actor that
    dies before its first epoch has reported nothing."""
    if not as_read(ACTORS):
        return None
    known: Mapping[str, Any] = ray._private.state.actors(actor)
    node: str | None = known.get("Address", {}).get("NodeID")
    return node


def _actor_id_of(trial: TuneTrial) -> str | None:
    actor: Any = trial.temporary_state.ray_actor
    return actor._actor_id.hex() if actor is not None and as_read(ACTOR_ID) else None

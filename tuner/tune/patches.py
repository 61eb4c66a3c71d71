"""Every private name of Ray that tuner uses, and the two methods of Ray Tune that a search replaces while it lasts.

`PRIVATE` holds what was read in Ray 2.60. Where an installed Ray differs, tuner warns once and goes on without what it needs them for:
`tests/tune/test_private_names.py` names the difference.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

logger = logging.getLogger("tuner")

TASK_FAILED = "ray.air.execution._internal.RayActorManager._actor_task_failed"
TRIAL_FAILED = "ray.tune.execution.tune_controller.TuneController._process_trial_failure"
ACTORS = "ray._private.state.actors"
ACTOR_ID = "ray.actor.ActorHandle._actor_id"
CALLBACKS_COUNTED = "ray.air._internal.usage.tag_callbacks"
PRIVATE: Mapping[str, str] = {  # by dotted name: the parameters, or what else it is
    TASK_FAILED: "(self, tracked_actor_task, exception)",
    TRIAL_FAILED: "(self, trial, exception)",
    ACTORS: "(actor_id=None, job_id=None, actor_state_name=None)",
    ACTOR_ID: "property",
    CALLBACKS_COUNTED: "(callbacks)",
}

Verdict = Literal["ignore", "retry", "retry elsewhere", "fail"]


class FailureRule(Protocol):
    """Decides what becomes of a trial that failed."""

    @property
    def outside(self) -> Sequence[str]:
        """The ids of the nodes that get no further trial."""

    def verdict(self, trial: str, actor: str | None, error: BaseException) -> Verdict:
        """`trial`: Tune's id. `actor`: the id of the process that trained it, where that is known. `retry` counts against the
        retries of the space, `retry elsewhere` does not."""


def difference(name: str) -> str | None:
    """How a name of `PRIVATE` differs in the installed Ray from what was read; None where it does not."""
    try:
        found = _found(name)
    except (ImportError, AttributeError) as error:
        return f"{name} does not exist in Ray {ray.__version__}: {error}"
    kind = "property" if isinstance(found, property) else _parameters(found)
    return None if kind == PRIVATE[name] else f"{name} is {kind} in Ray {ray.__version__}, and was {PRIVATE[name]}"


def _found(name: str) -> Any:
    """What a dotted name leads to: in a module, or in a class of one."""
    place, _, last = name.rpartition(".")
    try:
        return getattr(import_module(place), last)
    except ModuleNotFoundError:
        module, _, owner = place.rpartition(".")
        return getattr(getattr(import_module(module), owner), last)


def _parameters(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


@functools.cache
def _as_read(name: str) -> bool:
    found = difference(name)
    if found is not None:
        logger.warning("This version of Ray is not one that tuner knows: %s. Trials that are lost may be handled less well.", found)
    return found is None


# --- failures ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def only_the_trial_is_lost(rule: FailureRule) -> Iterator[None]:
    """While it lasts, `rule` decides about every failure, and a worker that Ray kills because its node runs out of memory costs its
    trial, not the search.

    Ray reports such a worker as an OutOfMemoryError. Tune 2.60 does not count that as an actor's death: it raises, and everything is over.
    """
    with contextlib.ExitStack() as patches:
        if _as_read(TASK_FAILED):
            patches.enter_context(_replaced(TASK_FAILED, _task_failed))
        if _as_read(TRIAL_FAILED):
            patches.enter_context(_replaced(TRIAL_FAILED, functools.partial(_trial_failed, rule)))
        yield


@contextlib.contextmanager
def callbacks_uncounted() -> Iterator[None]:
    """While it lasts, Tune does not count callbacks by their classes for Ray's usage statistics, which are off: for that it would import
    MLflow, W&B and what else of the kind is installed, which takes up to three seconds, behind which the first trial waits."""
    with contextlib.ExitStack() as patches:
        if difference(CALLBACKS_COUNTED) is None:
            patches.enter_context(_replaced(CALLBACKS_COUNTED, lambda known, callbacks: None))
        yield


@contextlib.contextmanager
def _replaced(name: str, replacement: Callable[..., None]) -> Iterator[None]:
    """`replacement` is called with the method that it replaces before the method's own arguments."""
    place, _, method = name.rpartition(".")
    owner, known = _found(place), _found(name)

    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        replacement(known, self, *args, **kwargs)

    setattr(owner, method, call)
    try:
        yield
    finally:
        setattr(owner, method, known)


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
    if not _as_read(ACTORS):
        return None
    known: Mapping[str, Any] = ray._private.state.actors(actor)
    node: str | None = known.get("Address", {}).get("NodeID")
    return node


def _actor_id_of(trial: TuneTrial) -> str | None:
    actor: Any = trial.temporary_state.ray_actor
    return actor._actor_id.hex() if actor is not None and _as_read(ACTOR_ID) else None

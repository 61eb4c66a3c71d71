"""Every private name of Ray that tuner uses, and how one is replaced for a while.

`PRIVATE` holds what was read in Ray 2.60. Where an installed Ray differs, tuner warns once and goes on without what it needs them for:
`tests/tune/test_private_names.py` names the difference.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import ray

logger = logging.getLogger("tuner")

TASK_FAILED = "ray.air.execution._internal.RayActorManager._actor_task_failed"
TRIAL_FAILED = "ray.tune.execution.tune_controller.TuneController._process_trial_failure"
ACTORS = "ray._private.state.actors"
ACTOR_ID = "ray.actor.ActorHandle._actor_id"
DASHBOARD_STARTED = "ray._private.node.Node.start_api_server"
CALLBACKS_COUNTED = "ray.air._internal.usage.tag_callbacks"
TRIALS_RESET = "_resetting_trials"  # of TuneController: the trials whose process is being handed over to them from another one
PRIVATE: Mapping[str, str] = {  # by dotted name: the parameters, or what else it is
    TASK_FAILED: "(self, tracked_actor_task, exception)",
    TRIAL_FAILED: "(self, trial, exception)",
    ACTORS: "(actor_id=None, job_id=None, actor_state_name=None)",
    ACTOR_ID: "property",
    CALLBACKS_COUNTED: "(callbacks)",
    DASHBOARD_STARTED: "(self, *, include_dashboard, raise_on_failure)",
}


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
def as_read(name: str) -> bool:
    found = difference(name)
    if found is not None:
        logger.warning("This version of Ray is not one that tuner knows: %s. Trials that are lost may be handled less well.", found)
    return found is None


@contextlib.contextmanager
def replaced(name: str, replacement: Callable[..., None]) -> Iterator[None]:
    """`replacement` is called with the method that it replaces before the method's own arguments. Where this Ray is not as it was read,
    nothing is replaced."""
    if difference(name) is not None:
        yield
        return
    place, _, method = name.rpartition(".")
    owner, known = _found(place), _found(name)

    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        replacement(known, self, *args, **kwargs)

    setattr(owner, method, call)
    try:
        yield
    finally:
        setattr(owner, method, known)

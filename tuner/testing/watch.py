"""Finds the line of a model that draws from a global generator: torch's, numpy's or Python's."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch

from .places import Place, is_models, of_frame

_BUILDS = {"networks", "tensors"}  # what they draw follows from the trial's seed: the engine seeds the global generator around them


def _generators() -> tuple[Any, ...]:
    """The state of each generator, to be compared: after every line of the model, so this is what the check takes its time for."""
    keys: Any  # numpy says that it may be a name, which it is where the state is asked for as a dict
    _, keys, *at = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), keys.tobytes(), at, random.getstate()


@contextmanager
def draws() -> Iterator[list[Place]]:
    """Within it every line of a model that draws is added to the list, in the order in which they drew."""
    found: list[Place] = []
    last: list[tuple[Any, ...]] = [()]
    ran: dict[FrameType, int] = {}  # the line that runs in each frame

    def compare(frame: FrameType) -> None:
        now = _generators()
        if now != last[0]:
            place = of_frame(frame, ran[frame])
            if place not in found:
                found.append(place)
            last[0] = now

    def enters(frame: FrameType, event: str, argument: Any) -> Any:
        if not is_models(frame.f_globals.get("__name__", "")) or _building(frame):
            return None
        caller = frame.f_back
        while caller is not None and caller not in ran:
            caller = caller.f_back
        if caller is not None:
            compare(caller)
        else:
            last[0] = _generators()  # what drew before was no line of the model
        ran[frame] = frame.f_lineno
        return moves

    def moves(frame: FrameType, event: str, argument: Any) -> Any:
        compare(frame)
        ran[frame] = frame.f_lineno
        if event == "return":
            ran.pop(frame, None)
        return moves

    before = sys.gettrace()
    sys.settrace(enters)
    try:
        yield found
    finally:
        sys.settrace(before)


def _building(frame: FrameType) -> bool:
    """Whether a function is called, however deep, by one that makes the networks."""
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_name in _BUILDS and is_models(at.f_globals.get("__name__", "")):
            return True
        at = at.f_back
    return False

"""Waiting for what another process or thread does: by asking, never by a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

ENDS_S = 600  # for a process that is to end by itself: what a machine with much else to do may take; nobody waits longer than needed


def until(condition: Callable[[], object], within_s: float = ENDS_S) -> None:
    """Returns once `condition()` holds.

    Raises:
        AssertionError: it does not within `within_s` seconds.
    """
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"not within {within_s:g} s"
        time.sleep(0.02)

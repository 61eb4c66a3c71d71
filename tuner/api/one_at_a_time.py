"""One search at a time in a process: Ray Tune has one driver in it, and whoever has started Ray here ends it for all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tuner.errors import UserError

_running = threading.Lock()


@contextlib.contextmanager
def one_search() -> Iterator[None]:
    """While it lasts, no other search runs in this process.

    Raises:
        UserError: one runs already, on another thread or around this one.
    """
    if not _running.acquire(blocking=False):
        raise UserError(
            "A search runs in this process already, and Ray Tune runs one at a time. Wait for it, stop it with Run.stop(), or start this "
            "one in another process."
        )
    try:
        yield
    finally:
        _running.release()

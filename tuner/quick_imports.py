"""Importing torch makes half a million objects, all of which stay: looking for garbage among them takes a fifth of the time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports(module: str) -> Iterator[None]:
    """Python looks for no garbage meanwhile, nor later among what is there then. Where `module` was imported before, all stays as it is."""
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

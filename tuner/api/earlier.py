"""The argument `from_`: runs that a search is warm-started from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tuner.stores.lookup import run_folder

from .arguments import Place
from .run import Run

Earlier = Place | Run | Sequence[Place | Run]


def earlier(given: Earlier) -> list[Path]:
    """The folders of the runs that `from_` means: one, or several."""
    several = [given] if isinstance(given, str | os.PathLike | Run) else given
    return [one.folder if isinstance(one, Run) else run_folder(os.fspath(one), None) for one in several]

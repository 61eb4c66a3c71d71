"""What a run, a space or a cluster job may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # of a run: it becomes a folder
NAME_RULE = "it becomes a folder, so up to 100 letters, digits, '.', '_' and '-' only, the first a letter or digit"


def check_name(name: str) -> None:
    """Raises UserError where the command line gives a run a name that cannot be."""
    if not NAME.fullmatch(name):
        raise UserError(f"--name cannot be '{name}': {NAME_RULE}.")


HELD_OUT = "_holdout"  # at the end of a metric's name: measured on the part of the data that no trial sees


def held_out(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those of them that were measured there: of a trial as its score is, though in the line of its last epoch."""
    return {name: value for name, value in metrics.items() if name.endswith(HELD_OUT)}

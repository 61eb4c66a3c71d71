"""What a run, a space or a cluster job may be called."""

from __future__ import annotations

import re

from .errors import UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # of a run: it becomes a folder
NAME_RULE = "it becomes a folder, so up to 100 letters, digits, '.', '_' and '-' only, the first a letter or digit"


def check_name(name: str) -> None:
    """Raises UserError where the command line gives a run a name that cannot be."""
    if not NAME.fullmatch(name):
        raise UserError(f"--name cannot be '{name}': {NAME_RULE}.")

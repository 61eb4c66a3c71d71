"""Whether W&B records, and where: its own words for it."""

from __future__ import annotations

import os

from tuner.errors import UserError

MODES = ("online", "offline", "disabled")
_VARIABLE = {"offline": "offline", "dryrun": "offline", "disabled": "disabled"}  # what WANDB_MODE may hold beside online


def wandb_mode(given: str | None) -> str:
    """online | offline | disabled: what was given, else what WANDB_MODE says.

    Raises:
        UserError: what was given is none of them.
    """
    if given is not None and given not in MODES:
        raise UserError(f"'wandb' must be one of {' | '.join(MODES)}, but is {given!r}.")
    return given or _VARIABLE.get(os.environ.get("WANDB_MODE", "").lower(), "online")

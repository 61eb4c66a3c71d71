"""Whether W&B records, and where: its own words for it."""

from __future__ import annotations

import os

from tuner.environment import switched_on
from tuner.errors import UserError, did_you_mean

MODES = ("online", "offline", "disabled")
# What WANDB_MODE may hold, as W&B itself has it: `run` is an older word for online, `shared` is for several writers.
_VARIABLE = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
_LONGEST = 128
_FORBIDDEN = "/\\#?%:"  # in a project's name


def wandb_mode(given: str | None) -> str:
    """online | offline | disabled: what was given, else what WANDB_DISABLED or WANDB_MODE says.

    Raises:
        UserError: what was given, or a variable, is none of them; or W&B would take no project of the name in WANDB_PROJECT.
    """
    if given is not None and given not in MODES:
        raise UserError(f"'wandb' must be one of {' | '.join(MODES)}, but is {given!r}.")
    if given is None and switched_on("WANDB_DISABLED"):
        given = "disabled"
    if given == "disabled":
        return given
    said = os.environ.get("WANDB_MODE", "").strip().lower()
    if said and said not in _VARIABLE:
        raise UserError(f"WANDB_MODE must be one of {' | '.join(MODES)}, but is '{said}'.{did_you_mean(said, MODES)}")
    mode = given or _VARIABLE.get(said, "online")
    if mode != "disabled":
        _check_project(os.environ.get("WANDB_PROJECT", ""))
    return mode


def _check_project(name: str) -> None:
    """W&B itself says so once the search runs, and nothing is recorded."""
    wrong = [sign for sign in _FORBIDDEN if sign in name]
    if wrong:
        team, _, project = name.partition("/")
        way_out = f" Say WANDB_ENTITY={team} WANDB_PROJECT={project}." if wrong == ["/"] and team and project and "/" not in project else ""
        raise UserError(f"WANDB_PROJECT is '{name}', but a project's name holds none of {' '.join(_FORBIDDEN)}.{way_out}")
    if len(name) > _LONGEST:
        raise UserError(f"WANDB_PROJECT is a name of {len(name)} characters, but a project's name has {_LONGEST} at most.")

"""What the environment says."""

from __future__ import annotations

import os


def switched_on(variable: str) -> bool:
    """Whether a switch in the environment is on, as W&B and the command line read it."""
    return os.environ.get(variable, "").strip().lower() in ("true", "1", "yes", "on", "t", "y")

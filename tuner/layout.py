"""Where the shipped folders lie, beside `tuner/` in a checkout, inside it in an installed wheel; and where this user's caches lie."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parent  # what has to be on the path for `import tuner`: a checkout, or site-packages


def folder(name: str) -> Path:
    """The shipped folder `name` (`models`, `search_spaces` or `clusters`)."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def cache() -> Path:
    """Where data sets, the runs of stores and what found no place on a full disk are kept: `tuner` in XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "tuner"

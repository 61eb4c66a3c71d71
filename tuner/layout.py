"""Where the shipped folders lie: beside `tuner/` in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE.parent  # what has to be on the path for `import tuner`: a checkout, or site-packages


def folder(name: str) -> Path:
    """The shipped folder `name` (`models`, `search_spaces` or `clusters`)."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name

"""The models and the search spaces that come with tuner, by name, each with what its file says of it. No file of them is imported."""

import ast
import re
from pathlib import Path

from . import layout


def files(folder: str, suffix: str) -> dict[str, Path]:
    """The files of a shipped folder by name."""
    return {path.stem: path for path in sorted(layout.folder(folder).glob(f"*{suffix}")) if not path.stem.startswith("_")}


def models() -> dict[str, str]:
    """The models by name, each with its title, authors, year and address."""
    return {name: title(path.read_text(encoding="utf-8")) for name, path in files("models", ".py").items()}


def spaces() -> dict[str, str]:
    """The search spaces that come with tuner by name, each with the comments at its top: command, cost, result."""
    return {name: _header(path) for name, path in files("search_spaces", ".yaml").items()}


def title(text: str) -> str:
    """A model's name, authors, year and address, from the first lines of its file."""
    try:
        doc = ast.get_docstring(ast.parse(text)) or ""
    except (SyntaxError, ValueError):
        return "cannot be read as Python"
    return " ".join(doc.split("\n\n")[0].split())


def _header(path: Path) -> str:
    """The comments at the top of a space."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(re.sub(r"^#\s?", "", line) for line in lines[:end])

"""The recipes that come with tuner, by name. Quick to import: a list of them waits for no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tuner.space.located import Problems
from tuner.space.yaml_lines import parse, read_text

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def titles() -> Mapping[str, tuple[str, str]]:
    """The title and the source of each recipe."""
    found = {}
    for name in recipe_names():
        path = RECIPES / f"{name}.yaml"
        nodes = parse(read_text(path, name), Problems(title=path.name, file=path.name, what="a recipe"))
        found[name] = (nodes["title"].text, nodes["source"].text)
    return found

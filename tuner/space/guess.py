"""The entry `prior` of a parameter: `{value: 1e-3, spread: 2}`, the guess of whoever writes the space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuner.errors import did_you_mean

from .located import Located, Problems
from .ranges import Prior, Range, in_words

_KEYS = ("value", "spread")


def read_prior(said: Mapping[str, Located], found: Range, value: Any, problems: Problems) -> Prior | None:
    """None where there is none, or it is wrong. `value`: the guess as the parameter's kind has it; None where it is no single value."""
    if "prior" not in said:
        return None
    node, name = said["prior"], found.name
    before = len(problems.found)
    if not found.searched:
        problems.at(node, f"'{name}' has one value, which needs no guess. Leave `prior` out.")
    elif not isinstance(node.value, dict) or "value" not in node.value:
        problems.at(node, f"'{name}': `prior` must be a mapping such as {_example(found)}, but got {node.shown}.")
    else:
        for key, child in node.value.items():
            if key not in _KEYS:
                problems.at(child, f"'{name}': `prior` has no key '{key}'.{did_you_mean(key, _KEYS)} Known are {', '.join(_KEYS)}.")
        guess, spread = node.value["value"], node.value.get("spread")
        known = None if value is None else found.known(value)
        if known is None:
            problems.at(guess, f"'{name}': `prior` guesses {guess.shown}, but searched is {in_words(found)}.")
        width = _spread(found, node, spread, problems)
        return Prior(value=known, spread=width) if len(problems.found) == before else None
    return None


def _spread(found: Range, node: Located, spread: Located | None, problems: Problems) -> float | None:
    name = found.name
    if found.kind == "values":
        if spread is not None:
            problems.at(spread, f"'{name}': one of `values` has no `spread`. Leave it out.")
        return None
    rule = "a factor above 1 (2: half to twice the guess)" if found.log else "a number above 0, by how much the guess may be off"
    low = 1 if found.log else 0
    if spread is None:
        problems.at(node, f"'{name}': `prior` must say its `spread`, too: {rule}. Write {_example(found)}.")
    elif isinstance(spread.value, bool) or not isinstance(spread.value, int | float) or not low < spread.value < math.inf:
        problems.at(spread, f"'{name}': `spread` must be {rule}, but got {spread.shown}.")
    else:
        return float(spread.value)
    return None


def _example(found: Range) -> str:
    """With the middle of the range."""
    if found.min is None or found.max is None:
        return f"{{value: {found.first}}}"
    middle = math.sqrt(found.min * found.max) if found.log else (found.min + found.max) / 2
    spread = 2 if found.log else (found.max - found.min) / 8
    return f"{{value: {round(middle) if found.options is not None else f'{middle:.2g}'}, spread: {spread:.2g}}}"

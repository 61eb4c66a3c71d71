"""The key `confirm`: how a search's best configurations are trained again when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from .reading import Reading

EXAMPLE = "{top: 3, seeds: 5}"


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """How many of the best configurations are trained again, and on how many fresh seeds each."""

    top: int
    seeds: int


def read_confirm(reading: Reading, key: str) -> Confirm | None:
    """None: the search ends with its last trial."""
    node = reading.nodes.get(key)
    if node is None or node.word == "none":
        return None
    if not isinstance(node.value, dict):
        reading.problems.at(node, f"'confirm' must be none or a mapping such as {EXAMPLE}, but got {node.shown}.")
        return None
    reading.only("'confirm'", node.value, ("top", "seeds"))
    top, seeds = reading.whole_in(node.value, "confirm.top", 1, 3), reading.whole_in(node.value, "confirm.seeds", 2, 5)
    return Confirm(top=top, seeds=seeds)

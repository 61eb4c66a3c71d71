"""Which of several figures are better where more than one metric decides: neither, as a rule.

Values are as `Metric.rank` gives them: the lower, the better.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better. Values as `Metric.rank` gives them: lower is better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def fronts(ranks: Mapping[Key, Sequence[float]]) -> dict[Key, int]:
    """The non-dominated rank of each: 0 for those that none dominates, 1 for those that only such dominate, and so on."""
    found: dict[Key, int] = {}
    for one in sorted(ranks, key=lambda one: tuple(ranks[one])):  # whatever dominates it comes before it
        found[one] = 1 + max((front for other, front in found.items() if dominates(ranks[other], ranks[one])), default=-1)
    return found

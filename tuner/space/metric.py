"""What decides between trials: a metric, and which of two of its values is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    name: str
    goal: Literal["maximize", "minimize"]

    def rank(self, value: float) -> float:
        """A key to sort by: the better the value, the lower."""
        return -value if self.goal == "maximize" else value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`."""
        return self.rank(a) < self.rank(b)

    def best(self, values: Iterable[float]) -> float:
        """The best of at least one value."""
        return min(values, key=self.rank)

    @property
    def mode(self) -> Literal["max", "min"]:
        """The goal in Ray Tune's words."""
        return "max" if self.goal == "maximize" else "min"

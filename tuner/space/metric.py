"""What decides between trials: a metric, and which of two of its values is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

WORST_LOSS = 1e9


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
    def worst(self) -> float:
        """What a trial that collapsed or diverged counts as. A loss has no worst value; samplers rank, and infinity breaks plots."""
        from tuner.metrics import METRICS  # not above: it imports numpy, which who only ranks does not need

        if self.name in METRICS:
            return METRICS[self.name].worst
        return WORST_LOSS if self.goal == "minimize" else -WORST_LOSS

    @property
    def mode(self) -> Literal["max", "min"]:
        """The goal in Ray Tune's words."""
        return "max" if self.goal == "maximize" else "min"

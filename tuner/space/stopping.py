"""The key `stop`: what ends a search before all its `trials` are tried."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tuner.text import counted

from .located import Located
from .metric import Metric
from .reading import Reading

EXAMPLE = "{target: 0.9, plateau: 30, hours: 2}"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """`target`: the score that is enough. `plateau`: so many trials end without a better best one. `hours`: what the search may take.
    None: no such rule. With several metrics the first one counts."""

    target: float | None = None
    plateau: int | None = None
    hours: float | None = None

    @property
    def ever(self) -> bool:
        """Whether there is a rule."""
        return self != Stop()

    def plain(self) -> dict[str, Any] | str:
        """For spec.json."""
        return {name: value for name, value in asdict(self).items() if value is not None} if self.ever else "none"

    def words(self, metric: Metric) -> str:
        """What it says, for `tuner check`."""
        target = [] if self.target is None else [f"when {metric.name} reaches {self.target:g}"]
        plateau = [] if self.plateau is None else [f"after {counted(self.plateau, 'trial')} without a better one"]
        return ", ".join([*target, *plateau, *([] if self.hours is None else [f"after {hours_in_words(self.hours)}"])])


def hours_in_words(hours: float) -> str:
    """`2 hours`, `0.5 hours`, `1 hour`"""
    return "1 hour" if hours == 1 else f"{hours:g} hours"


def read_stop(reading: Reading, key: str) -> Stop:
    node = reading.nodes.get(key)
    if node is None or node.word == "none":
        return Stop()
    if not isinstance(node.value, dict) or not node.value:
        reading.problems.at(node, f"'stop' must be none or a mapping such as {EXAMPLE}, but got {node.shown}.")
        return Stop()
    reading.only("'stop'", node.value, ("target", "plateau", "hours"))
    plateau, target = node.value.get("plateau"), node.value.get("target")
    return Stop(
        target=None if target is None else _number(reading, target, "target", "a number, the score that is enough"),
        plateau=None if plateau is None else reading.whole_in(node.value, "stop.plateau", 1, 1),
        hours=_hours(reading, node.value.get("hours")),
    )


def _hours(reading: Reading, node: Located | None) -> float | None:
    if node is None:
        return None
    hours = _number(reading, node, "hours", "a number above 0, the hours that the search may take")
    if hours is not None and hours <= 0:
        reading.problems.at(node, f"'hours' must be a number above 0, the hours that the search may take, but got {node.shown}.")
        return None
    return hours


def _number(reading: Reading, node: Located, name: str, what: str) -> float | None:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    reading.problems.at(node, f"'{name}' must be {what}, but got {node.shown}.")
    return None

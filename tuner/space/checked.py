"""A search whose every line is right by itself, as the checks of the whole see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.model import Model

from .located import Located, Problems
from .spec import Spec


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The least and the most that a number can be, and how to say the latter."""

    low: Any
    high: Any
    said_high: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """`keys`, `entries`: where each key and each parameter is given. `problems`: what the checks find goes there."""

    spec: Spec
    model: Model
    keys: Mapping[str, Located]
    entries: Mapping[str, Located]
    problems: Problems

    @property
    def deciding(self) -> Mapping[str, Located]:
        """The metrics that decide, and where each is named; empty where they could not be read."""
        several, one = self.keys.get("metrics"), self.keys.get("metric")
        named = [one] if one is not None else several.value if several is not None and isinstance(several.value, list) else []
        at = {name.word: name for name in map(_name_of, named) if name is not None}
        return {name: at[name] for name in self.spec.objectives if name in at}

    def reach(self, name: str) -> Reach:
        """0 where the model has no such parameter."""
        p, found = self.spec.known.get(name), self.spec.ranges.get(name)
        if found is None:
            default = p.default if p is not None else 0
            return Reach(low=default, high=default, said_high=f"is {default} by default")
        said_high = f"goes up to {found.highest}" if found.searched else f"is {found.highest}"
        return Reach(low=found.lowest, high=found.highest, said_high=said_high)


def _name_of(node: Located) -> Located | None:
    """Where a metric is named: `acc`, or `{name: acc, …}`."""
    if node.is_scalar:
        return node
    return node.value.get("name") if isinstance(node.value, dict) else None

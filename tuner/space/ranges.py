"""What one parameter of a space may be: one value, several, or a range of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTINUOUS = ("uniform", "log_uniform_values")
QUANTISED = ("q_uniform", "q_log_uniform_values")
RANGES = (*CONTINUOUS, "int_uniform", *QUANTISED)


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A person's guess. `spread`: how far it may be off, as a standard deviation: a factor on a log scale, a difference on any other;
    None for one of `values`."""

    value: Any
    spread: float | None = None

    def plain(self) -> dict[str, Any]:
        return {"value": self.value} | ({} if self.spread is None else {"spread": self.spread})


@dataclass(frozen=True, kw_only=True)
class Range:
    """What one parameter may be. `kind`: `value`, `values`, or one of `RANGES`, for which `min`, `max` and `q` are set.

    `when`: for each parameter that decides whether this one is searched, the values with which it is. `otherwise`: the value where it
    is not; None: 0 for a weight, the default for anything else.
    `prior`: where a person would look first.
    `line`: 0 where the command line said so.
    """

    name: str
    kind: str
    value: Any = None
    values: tuple[Any, ...] = ()
    min: int | float | None = None
    max: int | float | None = None
    q: int | float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    otherwise: Any = None
    prior: Prior | None = None
    line: int = 0

    @property
    def searched(self) -> bool:
        """Whether there is more than one value."""
        return self.kind != "value"

    @property
    def log(self) -> bool:
        """Whether it is a range on a log scale."""
        return self.kind in ("log_uniform_values", "q_log_uniform_values")

    @property
    def options(self) -> Sequence[Any] | None:
        """All values in order where they are finite in number and exact; None for fractional ranges."""
        if self.kind in ("value", "values"):
            return (self.value,) if self.kind == "value" else self.values
        low, high, step = self.min, self.max, self.q or 1
        if self.kind in CONTINUOUS or not (isinstance(low, int) and isinstance(high, int) and isinstance(step, int)):
            return None
        return range(low, high + 1, step)

    @property
    def count(self) -> int | None:
        """How many values there are; None: infinitely many."""
        if self.kind == "q_uniform":
            assert self.min is not None and self.max is not None and self.q is not None
            return round((self.max - self.min) / self.q) + 1
        return None if self.options is None else len(self.options)

    @property
    def first(self) -> Any:
        """Some value, always the same."""
        return self.options[0] if self.options is not None else self.min

    @property
    def highest(self) -> Any:
        """The largest value of a number."""
        return self.max if self.max is not None else max(self.options or ())

    @property
    def lowest(self) -> Any:
        """The smallest value of a number."""
        return self.min if self.min is not None else min(self.options or ())

    def known(self, value: Any) -> Any:
        """The value as the search has it; None where it is not in the range."""
        if self.options is not None:
            return next((one for one in self.options if one == value and isinstance(one, bool) == isinstance(value, bool)), None)
        assert self.min is not None and self.max is not None
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.min <= value <= self.max:
            return None
        steps = 0.0 if self.q is None else (value - self.min) / self.q
        return float(value) if abs(steps - round(steps)) < 1e-6 else None

    def nonzero(self) -> int:
        """How many values other than 0 there are, where 2 stands for many."""
        return 2 if self.max is not None else len([value for value in self.options or () if value != 0][:2])

    def may_be_zero(self) -> bool:
        return self.min == 0 if self.min is not None else 0 in (self.options or ())

    def entry(self) -> dict[str, Any]:
        """In the dialect of W&B sweeps, `when` included."""
        if self.kind == "value":
            said: dict[str, Any] = {"value": self.value}
        elif self.kind == "values":
            said = {"values": list(self.values)}
        else:
            said = {"distribution": self.kind, "min": self.min, "max": self.max} | ({"q": self.q} if self.q is not None else {})
        if self.when:
            said["when"] = {name: list(values) for name, values in self.when.items()}
        said |= {"otherwise": self.otherwise} if self.otherwise is not None else {}
        return said | ({"prior": self.prior.plain()} if self.prior is not None else {})


def show(value: object) -> str:
    """A value as one writes it in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def in_words(found: Range) -> str:
    """What is searched: `a | b`, or `[0, 1] in steps of 0.1`."""
    if found.kind == "values":
        return " | ".join(show(value) for value in found.values)
    step = "" if found.q in (None, 1) else f" in steps of {show(found.q)}"
    return f"[{show(found.min)}, {show(found.max)}]{step}"

"""Hyper-parameters: how a model declares them, and what may be set, within which range. Models import these names from `model`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints


def hp(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    log: bool = False,
    static: bool = False,
    choices: tuple[Any, ...] | None = None,
    doc: str = "",
) -> Any:
    """A field of a model's `Hyper`: its default and its legal range, or its legal choices.

    `static`: a shape, a word, a bool, the batch size, or whatever else Python branches on inside an update. Static values are
    equal for all trials that train in one pack. `log`: the scale on which one would search it.
    """
    if isinstance(default, bool | str):
        choices, static = choices or (True, False), True
    return field(default=default, metadata={"low": low, "high": high, "log": log, "static": static, "choices": choices, "doc": doc})


_WEIGHTS = "weights."


def weight_name(term: str) -> str:
    """The dotted name of a term's weight."""
    return _WEIGHTS + term


def weighed_term(name: str) -> str | None:
    """The term whose weight has this dotted name; None where it is no weight's."""
    return name.removeprefix(_WEIGHTS) if name.startswith(_WEIGHTS) else None


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """A trial's hyper-parameters as plain numbers, with the weight of every term that has one."""

    weights: Mapping[str, float] = field(default_factory=dict)

    def static(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("static")}

    def dynamic(self) -> dict[str, float]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata and not f.metadata["static"]}

    def flat(self) -> dict[str, Any]:
        """Every value under its dotted name, as spaces, Optuna, W&B and the journal know it."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        return plain | {weight_name(term): weight for term, weight in self.weights.items()}


@dataclass(frozen=True, kw_only=True)
class Clusters(Hyper):
    """How many clusters a model looks for: what `Hyper` starts from where a model shares nothing else with others."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K")


@dataclass(frozen=True, kw_only=True)
class PartlyLabelled(Hyper):
    """For the models with `labels = "partial"`: which samples are labelled, and how many of those a step sees."""

    n_labels: int = hp(100, 2, 1_000_000, log=True, doc="labelled samples, equally many of each class, none of the test split")
    labelled_batch: int = hp(100, 2, 65536, static=True, doc="L: labelled samples in a step, equally many of each class")
    label_seed: int = hp(0, 0, 1_000_000, doc="which samples are labelled: the same ones in all trials, so that trials compare")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One name that a user may set: a hyper-parameter, or the weight of a loss term. `term`: the term; None for a hyper-parameter."""

    name: str
    kind: type  # int, float, bool or str
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    log: bool = False
    static: bool = False
    term: str | None = None
    doc: str = ""

    @property
    def range(self) -> str:
        """`[2, 256]`, or `joint | separate`."""
        if self.choices is not None:
            return " | ".join(str(c).lower() if isinstance(c, bool) else str(c) for c in self.choices)
        return f"[{self.low:g}, {self.high:g}]" if self.high != math.inf else f"{self.low:g} or more"

    def wrong(self, value: object) -> str | None:
        """The rule that `value` breaks, or None. A whole number is a legal float; a bool is no number."""
        if self.choices is not None:
            same = any(value == c and isinstance(value, bool) == isinstance(c, bool) for c in self.choices)
            return None if same else f"'{self.name}' must be one of {self.range}, but got {value!r}."
        number = isinstance(value, int) if self.kind is int else isinstance(value, int | float)
        if isinstance(value, bool) or not number:
            word = "a whole number" if self.kind is int else "a number"
            return f"'{self.name}' must be {word}, but got {value!r}."
        assert self.low is not None and self.high is not None, self.name
        if not self.low <= value <= self.high or value == math.inf:  # type: ignore[operator]
            rule = "be" if self.high == math.inf else "stay within"
            return f"'{self.name}' must {rule} {self.range}, but got {value!r}."
        return None


def declared(kind: type[Hyper]) -> dict[str, Parameter]:
    """What a model's `Hyper` declares by `hp`, in its order."""
    hints, found = get_type_hints(kind), [f for f in fields(kind) if f.metadata]
    return {f.name: Parameter(name=f.name, kind=hints[f.name], default=f.default, **f.metadata) for f in found}


def weight_of(term: str, default: float, doc: str) -> Parameter:
    """The parameter `weights.<term>`."""
    return Parameter(name=weight_name(term), kind=float, default=default, low=0.0, high=math.inf, log=True, term=term, doc=doc)

"""An entry of a space's `parameters`: what one parameter may be. The dialect is that of W&B sweeps, and `when` beside it.

    n_clusters: {values: [7, 10, 14]}
    lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
    weights.cyclic: {min: 0.0, max: 1.0, when: {use_cyclic: true}}
    weights.recon: {values: [3, 5], when: {varied: recon}, otherwise: 1}

Supported are the distributions of W&B that Optuna has exactly: uniform, log_uniform_values, int_uniform, q_uniform,
q_log_uniform_values with q = 1 (whole numbers on a log scale), categorical and constant. Without `distribution`, two whole
bounds mean int_uniform and two fractional ones uniform, as in W&B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.errors import did_you_mean
from tuner.model import Parameter

from .located import Located, Problems

CONTINUOUS = ("uniform", "log_uniform_values")
QUANTISED = ("q_uniform", "q_log_uniform_values")
RANGES = (*CONTINUOUS, "int_uniform", *QUANTISED)
_KEYS = ("value", "values", "min", "max", "q", "distribution", "when", "otherwise")
_SUPPORTED = (*RANGES, "categorical", "constant")
_NOT_SUPPORTED = {
    "log_uniform": "W&B's 'log_uniform' takes exponents: use log_uniform_values, with the values themselves.",
    "q_log_uniform": "W&B's 'q_log_uniform' takes exponents: use q_log_uniform_values, with the values themselves.",
    "categorical_w_probabilities": "Optuna has no 'categorical_w_probabilities': use values, which are equally likely at first.",
} | {
    name: f"Optuna has no '{name}': use one of {', '.join(RANGES)}, or values."
    for name in ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta", "inv_log_uniform", "inv_log_uniform_values")
}
_EXAMPLES = "Write {value: ...}, {values: [...]} or {min: ..., max: ...}."


@dataclass(frozen=True, kw_only=True)
class Range:
    """What one parameter may be. `kind`: `value`, `values`, or one of `RANGES`, for which `min`, `max` and `q` are set.

    `when`: for each parameter that decides whether this one is searched, the values with which it is. `otherwise`: the value where it
    is not; None: 0 for a weight, the default for anything else.
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
    line: int = 0

    @property
    def searched(self) -> bool:
        """Whether there is more than one value."""
        return self.kind != "value"

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
        return said | ({"otherwise": self.otherwise} if self.otherwise is not None else {})


def show(value: object) -> str:
    """A value as one writes it in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_range(name: str, entry: Located, p: Parameter | None, problems: Problems) -> Range | None:
    """One entry without its condition, or None if it is wrong. `p`: None for a switch of the search."""
    before = len(problems.found)
    said = entry.value
    if not isinstance(said, dict) or not said:
        example = f"Write {{value: {entry.text}}}." if entry.is_scalar and entry.value is not None else _EXAMPLES
        if isinstance(said, list):
            example = f"Write {{values: [{', '.join(show(item.plain()) for item in said)}]}}."
        problems.at(entry, f"'{name}' must be a mapping, but got {entry.shown}. {example}")
        return None
    distribution = said["distribution"].word if "distribution" in said else None
    if "distribution" in said and distribution not in _SUPPORTED:
        word = said["distribution"]
        reason = f"There is no distribution {word.shown}.{did_you_mean(word.word, _SUPPORTED)}"
        problems.at(word, f"'{name}': {_NOT_SUPPORTED.get(distribution or '', reason)}")
        return None
    for key, child in said.items():
        if key == "parameters":
            inner = next(iter(child.value), "...") if isinstance(child.value, dict) else "..."
            problems.at(child, f"'{name}': nested parameters are written with a dot, '{name}.{inner}'.")
        elif key not in _KEYS:
            problems.at(child, f"'{name}' has no key '{key}'.{did_you_mean(key, _KEYS)} Known are {', '.join(_KEYS)}.")
    forms = [form for form, keys in (("value", {"value"}), ("values", {"values"}), ("range", {"min", "max"})) if keys & said.keys()]
    if len(forms) > 1:
        names = [f"`{key}`" for key in ("value", "values", "min", "max") if key in said]
        problems.at(entry, f"'{name}' has {', '.join(names[:-1])} and {names[-1]}. {_EXAMPLES}")
        return None
    if not forms:
        if len(problems.found) == before:
            problems.at(entry, f"'{name}' gives no values. {_EXAMPLES}")
        return None
    right = {"categorical": "values", "constant": "value", None: forms[0]}.get(distribution, "range")
    if right != forms[0]:
        needs = {"values": "`values`", "value": "`value`", "range": "`min` and `max`"}[right]
        problems.at(said["distribution"], f"'{name}': {distribution} takes {needs}.")
        return None
    if forms[0] == "range":
        found = _bounds(name, entry, p, distribution, problems)
    else:
        if "q" in said:
            problems.at(said["q"], f"'{name}': `q` belongs to {' and '.join(QUANTISED)}.")
        found = _listed(name, said[forms[0]], p, problems) if forms[0] == "values" else read_fixed(name, said["value"], p, problems)
    otherwise = _otherwise(name, said, p, problems)
    return replace(found, line=entry.line, otherwise=otherwise) if found is not None and len(problems.found) == before else None


def _otherwise(name: str, said: Mapping[str, Located], p: Parameter | None, problems: Problems) -> Any:
    """The value where the entry's condition does not hold, or None."""
    if "otherwise" not in said:
        return None
    node = said["otherwise"]
    if p is None or "when" not in said:
        why = "a switch has no value where its condition fails" if p is None else "without `when` there is no otherwise"
        problems.at(node, f"'{name}': {why}. Leave `otherwise` out.")
        return None
    fixed = read_fixed(name, node, p, problems)
    return None if fixed is None else fixed.value


def read_fixed(name: str, node: Located, p: Parameter | None, problems: Problems) -> Range | None:
    value = read_value(node, p) if p is not None else read_switch(node, True)
    wrong = _wrong(name, node, value, p, "value")
    if wrong:
        problems.at(node, wrong)
    return None if wrong else Range(name=name, kind="value", value=value)


def _listed(name: str, node: Located, p: Parameter | None, problems: Problems) -> Range | None:
    if not isinstance(node.value, list) or not node.value:
        hint = f" Write [{node.text}]." if node.is_scalar and node.value is not None else ""
        problems.at(node, f"'{name}': `values` must be a list with something in it, but got {node.shown}.{hint}")
        return None
    bools = all(isinstance(item.value, bool) for item in node.value)
    values: list[Any] = []
    for item in node.value:
        value = read_value(item, p) if p is not None else read_switch(item, bools)
        wrong = _wrong(name, item, value, p, "values")
        if not wrong and value in values:  # true == 1: the sampler could not tell them apart, either
            wrong = f"'{name}': `values` has {show(value)} twice."
        if wrong:
            problems.at(item, wrong)
        else:
            values.append(value)
    if len(values) == 1:
        return Range(name=name, kind="value", value=values[0])
    return Range(name=name, kind="values", values=tuple(values))


def _wrong(name: str, node: Located, value: Any, p: Parameter | None, key: str) -> str | None:
    if value is None or not node.is_scalar:
        return f"'{name}': `{key}` must hold {'single values' if key == 'values' else 'a single value'}, but got {node.shown}."
    return p.wrong(value) if p is not None else None


def _bounds(name: str, entry: Located, p: Parameter | None, distribution: str | None, problems: Problems) -> Range | None:
    said = entry.value
    if p is None:
        problems.at(entry, f"'{name}' is a switch of the search, and takes `values`, not a range.")
        return None
    if p.choices is not None:
        problems.at(entry, f"'{name}' must be one of {p.range}: give `values`, not a range.")
        return None
    for one, other in (("min", "max"), ("max", "min")):
        if one not in said:
            problems.at(entry, f"'{name}' has `{other}` but no `{one}`.")
            return None
    numbers = {key: said[key].value for key in ("min", "max", "q") if key in said}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            problems.at(said[key], f"'{name}': `{key}` must be a number, but got {said[key].shown}.")
            return None
    low, high, q = numbers["min"], numbers["max"], numbers.get("q")
    whole = isinstance(low, int), isinstance(high, int)
    if distribution is None and whole[0] != whole[1]:
        rule = "write both with a point for a continuous range, or both without for whole numbers (W&B refuses such bounds, too)"
        problems.at(entry, f"'{name}' has one whole and one fractional bound, min {show(low)} and max {show(high)}: {rule}.")
        return None
    kind = distribution or ("int_uniform" if all(whole) else "uniform")
    if kind in QUANTISED and q is None:
        q = 1
    wrong = _wrong_kind(name, kind, (low, high, q), p) or _wrong_bounds(name, kind, (low, high, q), p)
    if wrong:
        problems.at(entry, wrong)
        return None
    return Range(name=name, kind=kind, min=low, max=high, q=q)


def _wrong_kind(name: str, kind: str, bounds: tuple[float, float, float | None], p: Parameter) -> str | None:
    """The rule that the distribution breaks for this parameter."""
    low, _, q = bounds
    if kind in CONTINUOUS and p.kind is int:
        use = "int_uniform or q_uniform" if kind == "uniform" else "q_log_uniform_values"
        return f"'{name}' must be a whole number, but {kind} draws fractions: use {use}."
    if q is not None and kind not in QUANTISED:
        return f"'{name}': `q` belongs to {' and '.join(QUANTISED)}, but this range is {kind}."
    if kind == "q_log_uniform_values" and (q != 1 or low < 1):
        return f"'{name}': Optuna has log ranges with steps for whole numbers from 1 on only, q: 1. Use log_uniform_values or q_uniform."
    if kind in ("int_uniform", "q_log_uniform_values") or p.kind is int:
        odd = next((number for number in bounds if number is not None and not isinstance(number, int)), None)
        return None if odd is None else f"'{name}': {kind} draws whole numbers here, but the file has {show(odd)}."
    return None


def _wrong_bounds(name: str, kind: str, bounds: tuple[float, float, float | None], p: Parameter) -> str | None:
    low, high, q = bounds
    if low >= high:
        return f"'{name}': `min` must lie below `max`, but the file has min {show(low)} and max {show(high)}."
    if kind == "log_uniform_values" and low <= 0:
        off = " A weight that may be off takes a switch and `when`." if name.startswith("weights.") else ""
        return f"'{name}': a log range must start above 0, but `min` is {show(low)}.{off}"
    if p.wrong(low) or p.wrong(high):
        within = f"stay within {p.range}" if p.high != math.inf else f"be {p.range}"
        return f"'{name}' must {within}, but the file searches [{show(low)}, {show(high)}]."
    if q is not None and q <= 0:
        return f"'{name}': `q` is the step and must be above 0, but is {show(q)}."
    if kind == "q_uniform" and q is not None:
        steps = (high - low) / q
        if abs(steps - round(steps)) > 1e-6 or round(steps) < 1:
            took = f"({show(high)} - {show(low)}) / {show(q)} is {steps:g}"
            return f"'{name}': `max` must lie a whole number of steps above `min`, but {took}."
    return None


# --- single values -----------------------------------------------------------------------------------------------------


def read_value(node: Located, p: Parameter) -> Any:
    """A value as its parameter's kind has it: `off` is a word where words are expected, `1e3` whole where whole numbers are."""
    if not node.is_scalar or node.value is None:
        return None
    if p.kind is str:
        return node.text
    if p.kind is int and isinstance(node.value, float) and node.value.is_integer() and "." not in node.text and "e" in node.text.lower():
        return int(node.value)
    return node.value


def read_switch(node: Located, bools: bool) -> Any:
    """A switch may hold anything; yes and off are bools only among bools."""
    if isinstance(node.value, bool) and not bools:
        return node.text
    return node.value if node.is_scalar else None

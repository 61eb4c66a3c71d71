"""An entry of a space's `parameters`: what one parameter may be. The dialect is that of W&B sweeps, and `when` beside it.

    n_clusters: {values: [7, 10, 14]}
    lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
    weights.cyclic: {min: 0.0, max: 1.0, when: {use_cyclic: true}}
    weights.recon: {values: [3, 5], when: {varied: recon}, otherwise: 1}
    lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1, prior: {value: 1e-3, spread: 2}}

Supported are the distributions of W&B that Optuna has exactly: uniform, log_uniform_values, int_uniform, q_uniform,
q_log_uniform_values with q = 1 (whole numbers on a log scale), categorical and constant. Without `distribution`, two whole
bounds mean int_uniform and two fractional ones uniform, as in W&B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuner.errors import did_you_mean
from tuner.model import Parameter

from .guess import read_prior
from .located import Located, Problems
from .ranges import CONTINUOUS, QUANTISED, RANGES, Range, show

_KEYS = ("value", "values", "min", "max", "q", "distribution", "when", "otherwise", "prior")
_SUPPORTED = (*RANGES, "categorical", "constant")
_NOT_SUPPORTED = {
    "log_uniform": "W&B's 'log_uniform' takes exponents: use log_uniform_values, with the values themselves.",
    "q_log_uniform": "W&B's 'q_log_uniform' takes exponents: use q_log_uniform_values, with the values themselves.",
    "categorical_w_probabilities": "Optuna has no 'categorical_w_probabilities': use values, which are equally likely at first.",
} | {
    name: f"Optuna has no '{name}': use one of {', '.join(RANGES)}, or values."
    for name in ("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta", "inv_log_uniform", "inv_log_uniform_values")
}
_FORMS = {"value": ("value",), "values": ("values",), "range": ("min", "max")}  # the keys of which an entry has some
_EXAMPLES = "Write {value: ...}, {values: [...]} or {min: ..., max: ...}."


def read_range(name: str, entry: Located, p: Parameter | None, problems: Problems) -> Range | None:
    """One entry without its condition, or None if it is wrong. `p`: None for a switch of the search."""
    before = len(problems.found)
    if not _is_mapping(name, entry, problems) or not _has_known_distribution(name, entry.value, problems):
        return None
    _refuse_unknown_keys(name, entry.value, problems)
    form = _form(name, entry, problems)
    if form is None:
        return None
    found = _read_form(form, name, entry, p, problems)
    otherwise = _otherwise(name, entry.value, p, problems)
    prior = None if found is None else read_prior(entry.value, found, _guess(entry.value, found, p), problems)
    sound = found is not None and len(problems.found) == before
    return replace(found, line=entry.line, otherwise=otherwise, prior=prior) if found is not None and sound else None


def _is_mapping(name: str, entry: Located, problems: Problems) -> bool:
    said = entry.value
    if isinstance(said, dict) and said:
        return True
    example = f"Write {{value: {entry.text}}}." if entry.is_scalar and entry.value is not None else _EXAMPLES
    if isinstance(said, list):
        example = f"Write {{values: [{', '.join(show(item.plain()) for item in said)}]}}."
    problems.at(entry, f"'{name}' must be a mapping, but got {entry.shown}. {example}")
    return False


def _distribution(said: Mapping[str, Located]) -> str | None:
    return said["distribution"].word if "distribution" in said else None


def _has_known_distribution(name: str, said: Mapping[str, Located], problems: Problems) -> bool:
    """Also where none is given."""
    if "distribution" not in said or _distribution(said) in _SUPPORTED:
        return True
    word = said["distribution"]
    reason = f"There is no distribution {word.shown}.{did_you_mean(word.word, _SUPPORTED)}"
    problems.at(word, f"'{name}': {_NOT_SUPPORTED.get(word.word or '', reason)}")
    return False


def _refuse_unknown_keys(name: str, said: Mapping[str, Located], problems: Problems) -> None:
    for key, child in said.items():
        if key == "parameters":
            inner = next(iter(child.value), "...") if isinstance(child.value, dict) else "..."
            problems.at(child, f"'{name}': nested parameters are written with a dot, '{name}.{inner}'.")
        elif key not in _KEYS:
            problems.at(child, f"'{name}' has no key '{key}'.{did_you_mean(key, _KEYS)} Known are {', '.join(_KEYS)}.")


def _form(name: str, entry: Located, problems: Problems) -> str | None:
    """Which of `_FORMS` the entry has, or None where that is not one, or not the one that its distribution takes."""
    said = entry.value
    forms = [form for form, keys in _FORMS.items() if any(key in said for key in keys)]
    if len(forms) > 1:
        names = [f"`{key}`" for keys in _FORMS.values() for key in keys if key in said]
        problems.at(entry, f"'{name}' has {', '.join(names[:-1])} and {names[-1]}. {_EXAMPLES}")
        return None
    if not forms:
        if said.keys() <= set(_KEYS):  # else an unknown key is probably the one meant, and has been refused
            problems.at(entry, f"'{name}' gives no values. {_EXAMPLES}")
        return None
    distribution = _distribution(said)
    right = {"categorical": "values", "constant": "value", None: forms[0]}.get(distribution, "range")
    if right != forms[0]:
        needs = " and ".join(f"`{key}`" for key in _FORMS[right])
        problems.at(said["distribution"], f"'{name}': {distribution} takes {needs}.")
        return None
    return forms[0]


def _read_form(form: str, name: str, entry: Located, p: Parameter | None, problems: Problems) -> Range | None:
    said = entry.value
    if form == "range":
        return _between(name, entry, p, problems)
    if "q" in said:
        problems.at(said["q"], f"'{name}': `q` belongs to {' and '.join(QUANTISED)}.")
    return _listed(name, said["values"], p, problems) if form == "values" else read_fixed(name, said["value"], p, problems)


def _guess(said: Mapping[str, Located], found: Range, p: Parameter | None) -> Any:
    """The value of the entry's `prior` as its parameter has it; None where there is no single one."""
    prior = said.get("prior")
    node = prior.value.get("value") if prior is not None and isinstance(prior.value, dict) else None
    if node is None:
        return None
    return read_value(node, p) if p is not None else read_switch(node, all(isinstance(one, bool) for one in found.values))


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


# --- ranges of numbers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """A range of numbers as an entry gives it. `kind`: one of `RANGES`. `q`: the step, or None."""

    kind: str
    low: int | float
    high: int | float
    q: int | float | None


def _between(name: str, entry: Located, p: Parameter | None, problems: Problems) -> Range | None:
    if p is None:
        problems.at(entry, f"'{name}' is a switch of the search, and takes `values`, not a range.")
        return None
    if p.choices is not None:
        problems.at(entry, f"'{name}' must be one of {p.range}: give `values`, not a range.")
        return None
    bounds = _bounds(name, entry, problems)
    if bounds is None:
        return None
    wrong = _wrong_kind(name, bounds, p) or _wrong_bounds(name, bounds, p)
    if wrong:
        problems.at(entry, wrong)
        return None
    return Range(name=name, kind=bounds.kind, min=bounds.low, max=bounds.high, q=bounds.q)


def _bounds(name: str, entry: Located, problems: Problems) -> Bounds | None:
    """Two finite numbers and what is drawn between them; None where the entry does not give that."""
    said = entry.value
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
    kind = _distribution(said)
    if kind is None and isinstance(low, int) != isinstance(high, int):
        rule = "write both with a point for a continuous range, or both without for whole numbers (W&B refuses such bounds, too)"
        problems.at(entry, f"'{name}' has one whole and one fractional bound, min {show(low)} and max {show(high)}: {rule}.")
        return None
    kind = kind or ("int_uniform" if isinstance(low, int) else "uniform")
    return Bounds(kind=kind, low=low, high=high, q=1 if kind in QUANTISED and q is None else q)


def _wrong_kind(name: str, bounds: Bounds, p: Parameter) -> str | None:
    """The rule that the distribution breaks for this parameter."""
    kind, low, q = bounds.kind, bounds.low, bounds.q
    if kind in CONTINUOUS and p.kind is int:
        use = "int_uniform or q_uniform" if kind == "uniform" else "q_log_uniform_values"
        return f"'{name}' must be a whole number, but {kind} draws fractions: use {use}."
    if q is not None and kind not in QUANTISED:
        return f"'{name}': `q` belongs to {' and '.join(QUANTISED)}, but this range is {kind}."
    if kind == "q_log_uniform_values" and (q != 1 or low < 1):
        use = "q_uniform, or q: 1 and a min from 1 on" if p.kind is int else "log_uniform_values or q_uniform"
        return f"'{name}': Optuna has log ranges with steps for whole numbers from 1 on only, q: 1. Use {use}."
    if kind in ("int_uniform", "q_log_uniform_values") or p.kind is int:
        odd = next((number for number in (low, bounds.high, q) if number is not None and not isinstance(number, int)), None)
        return None if odd is None else f"'{name}': {kind} draws whole numbers here, but the file has {show(odd)}."
    return None


def _wrong_bounds(name: str, bounds: Bounds, p: Parameter) -> str | None:
    kind, low, high, q = bounds.kind, bounds.low, bounds.high, bounds.q
    if low >= high:
        return f"'{name}': `min` must lie below `max`, but the file has min {show(low)} and max {show(high)}."
    if kind == "log_uniform_values" and low <= 0:
        off = " A weight that may be off takes a switch and `when`." if p.term is not None else ""
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

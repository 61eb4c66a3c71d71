"""A space's `parameters` as a whole: which names there are, on what each is conditional, and what `--set` pins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from tuner.errors import UserError, did_you_mean
from tuner.hyper import weighed_term
from tuner.model import Model, Parameter

from .entries import read_fixed, read_range, read_switch, read_value
from .located import Located, Problems, given, scalar
from .ranges import Range, show

_SWITCH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_parameters(section: Located, model: Model, problems: Problems) -> tuple[Range, ...]:
    """The section's ranges in its order, but what a condition asks for before what depends on it. Wrong ones are left out."""
    if not isinstance(section.value, dict) or not section.value:
        problems.at(section, f"'parameters' must be a mapping of names, but got {section.shown}.")
        return ()
    entries, known = section.value, model.parameters()
    asked = {name for entry in entries.values() for name in _asked(entry)}
    meant = {near for name in asked - entries.keys() - known.keys() for near in get_close_matches(name, entries, n=1)}
    ranges: dict[str, Range] = {}
    for name, entry in entries.items():
        if name in known:
            found = read_range(name, entry, known[name], problems)
        elif name in asked and _SWITCH.fullmatch(name):
            found = read_range(name, entry, None, problems)
        elif nested := _nested(name, entry):
            problems.at(entry, nested)
            continue
        else:
            if name not in meant:  # else a condition misspells it, which is said there
                problems.at(entry, _unknown(name, entry, model))
            continue
        if found is not None:
            ranges[name] = found
    ranges = {name: replace(found, when=read_when(name, entries, ranges, known, problems)) for name, found in ranges.items()}
    circle = _circle(ranges)
    if circle:
        problems.at(entries[circle[0]], f"conditions go round in a circle: {' asks for '.join([*circle, circle[0]])}.")
        return tuple(replace(found, when={}) for found in ranges.values())
    return parents_first(ranges.values())


def _nested(name: str, entry: Located) -> str | None:
    """W&B nests parameters, `weights: {parameters: {cyclic: ...}}`."""
    inner = entry.value.get("parameters") if isinstance(entry.value, dict) else None
    if inner is None or not isinstance(inner.value, dict) or not inner.value:
        return None
    return f"'{name}': nested parameters are written with a dot, '{name}.{next(iter(inner.value))}'."


def _unknown(name: str, entry: Located, model: Model) -> str:
    said = entry.value.get("values") if isinstance(entry.value, dict) else None
    bools = said is not None and isinstance(said.value, list) and all(isinstance(item.value, bool) for item in said.value)
    nearest = did_you_mean(name, model.parameters())
    if weighed_term(name) is not None or (nearest and not bools):
        return model.unknown(name)
    return f"{model.name} has no '{name}'. If it is a switch of the search, some parameter's `when` must ask for it."


def _asked(entry: Located) -> Iterable[str]:
    when = entry.value.get("when") if isinstance(entry.value, dict) else None
    return when.value if when is not None and isinstance(when.value, dict) else ()


def parents_first(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same, each behind all that its condition asks for. There are no circles."""
    by_name = {found.name: found for found in ranges}
    done: dict[str, Range] = {}

    def add(found: Range) -> None:
        for parent in found.when:
            if parent in by_name and parent not in done:
                add(by_name[parent])
        done[found.name] = found

    for found in by_name.values():
        if found.name not in done:
            add(found)
    return tuple(done.values())


def _circle(ranges: Mapping[str, Range]) -> list[str] | None:
    """The names of a circle of conditions in the order in which they ask, if there is one."""
    fine: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str] | None:
        if name in path:
            return path[path.index(name) :]
        if name in fine or name not in ranges:
            return None
        circle = next(filter(None, (walk(parent, [*path, name]) for parent in ranges[name].when)), None)
        fine.add(name)
        return circle

    return next(filter(None, (walk(name, []) for name in ranges)), None)


# --- conditions --------------------------------------------------------------------------------------------------------


def read_when(
    name: str, entries: Mapping[str, Located], ranges: Mapping[str, Range], known: Mapping[str, Parameter], problems: Problems
) -> dict[str, tuple[Any, ...]]:
    """The condition of one entry, its values read as those of the parameters that it asks for."""
    when = entries[name].value.get("when")
    if when is None:
        return {}
    if not isinstance(when.value, dict) or not when.value:
        problems.at(when, f"'{name}': `when` must name parameters and their values, such as {{use_cyclic: true}}, but got {when.shown}.")
        return {}
    found = {}
    for parent, asked in when.value.items():
        if parent not in known and parent not in entries:
            names = [*entries, *known]
            problems.at(asked, f"'{name}' asks for '{parent}', which is no name of this file or model.{did_you_mean(parent, names)}")
        elif parent in ranges or parent in known:  # else its own entry is wrong, which has been said
            values = _conditions(name, parent, asked, ranges.get(parent), known.get(parent), problems)
            if values:
                found[parent] = values
    return found


def _conditions(name: str, parent: str, asked: Located, found: Range | None, p: Parameter | None, problems: Problems) -> tuple[Any, ...]:
    options = (p.default,) if found is None and p is not None else found.options if found is not None else None
    if options is None:
        problems.at(asked, f"'{name}' asks for '{parent}', which is a range of fractions: a condition needs `values` or whole numbers.")
        return ()
    values = []
    for item in asked.value if isinstance(asked.value, list) else [asked]:
        value = read_value(item, p) if p is not None else read_switch(item, all(isinstance(option, bool) for option in options))
        if any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in options):
            values.append(value)
        else:
            can = " | ".join(show(option) for option in options) if len(options) <= 10 else f"[{show(options[0])}, {show(options[-1])}]"
            where = "the file gives it" if found is not None else "the file does not name it, and its default is"
            problems.at(item, f"'{name}' asks for {parent}: {item.word or item.shown}, but {where} {can}.")
    if not values and isinstance(asked.value, list) and not asked.value:
        problems.at(asked, f"'{name}' asks for no value of '{parent}': the list is empty.")
    return tuple(values)


# --- --set key=value ---------------------------------------------------------------------------------------------------


def settings(texts: Iterable[str], problems: Problems) -> dict[str, Located]:
    """`["hidden=500"]` as values that know which option gave them."""
    found: dict[str, Located] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        here = replace(given("--set", text), text=value, value=scalar(value))
        if not name or not equals or here.value is None:
            problems.at(here, "write --set key=value.")
        elif name in found:
            problems.at(here, f"'{name}' is set twice, also to {found[name].text}.")
        else:
            found[name] = here
    return found


def set_values(model: Model, texts: Iterable[str]) -> dict[str, Any]:
    """What `--set key=value` gives for a model's hyper-parameters outside a search.

    Raises:
        UserError: for all texts that are no setting, names that the model does not have and illegal values.
    """
    problems = Problems(title=f"--set for {model.name}", file="")
    known, values = model.parameters(), {}
    for name, node in settings(texts, problems).items():
        if name not in known:
            problems.at(node, model.unknown(name))
            continue
        found = read_fixed(name, node, known[name], problems)
        values[name] = found.value if found else None
    if problems.found:
        raise UserError("\n".join(message for _, message in problems.found))
    return values


def pin(ranges: tuple[Range, ...], pins: Mapping[str, Located], model: Model, problems: Problems) -> tuple[Range, ...]:
    """The ranges with the pinned parameters at one value each, whatever their conditions said. Wrong pins are left out."""
    known, by_name = model.parameters(), {found.name: found for found in ranges}
    for name, node in pins.items():
        if name not in known and name not in by_name:
            switches = [other for other in by_name if other not in known]
            nearest = did_you_mean(name, [*known, *switches])
            problems.at(node, f"neither {model.name} nor the file has '{name}'.{nearest}")
            continue
        found: Range | None
        if name in known:
            found = read_fixed(name, node, known[name], problems)
        else:
            found = _pinned_switch(by_name[name], node, problems)
        if found is not None:
            by_name[name] = found
    return parents_first(by_name.values())


def _pinned_switch(switch: Range, node: Located, problems: Problems) -> Range | None:
    options = switch.options or ()
    value = read_switch(node, all(isinstance(option, bool) for option in options))
    if value in options:
        return Range(name=switch.name, kind="value", value=value)
    problems.at(node, f"the file gives '{switch.name}' only {' | '.join(show(option) for option in options)}.")
    return None

"""The arguments of a call, read as the flags of their names are read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict

from tuner.data.raw import Columns
from tuner.environment import switched_on
from tuner.errors import UserError, did_you_mean
from tuner.own_given import Models, brought, name_of, with_itself
from tuner.own_models import Source
from tuner.space.ranges import show
from tuner.space.reader import Options, read_content, read_space
from tuner.space.spec import Spec

Place = str | os.PathLike[str]
Named = Place | type | Source  # a model's name, or a model of one's own itself
Space = Place | Mapping[str, Any]
Settings = Mapping[str, Any] | Sequence[str]
_LEFT_OUT = ("confirm", "report")  # what a space may ask for at its end, and `no_confirm` and `no_report` leave out


class OfFile(TypedDict, total=False):
    """What a file of data holds, as the keys of `dataset` in a space: its columns of labels and of names, those to leave out, and so on."""

    label: str
    drop: str | Sequence[str]
    id: str
    header: bool
    samples: str
    size: int | Sequence[int]
    colours: str


def settings(given: Settings | None) -> list[str]:
    """`set` as the command line has it: `{"hidden": 500}` is `hidden=500`.

    Raises:
        UserError: it is neither a mapping nor a list of texts.
    """
    if isinstance(given, Mapping):
        return [f"{name}={show(plain(value))}" for name, value in given.items()]
    if isinstance(given, str) or not all(isinstance(text, str) for text in given or ()):
        raise UserError(f"'set' must be a dict such as {{'hidden': 500}}, or a list of texts such as ['hidden=500'], but is {given!r}.")
    return list(given or ())


def options(**given: Any) -> Options:
    """What overrides a space. None is what was not given.

    Raises:
        UserError: no such option.
    """
    known = [f"no_{one.name}" if one.name in _LEFT_OUT else one.name for one in fields(Options)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError(f"There is no option '{unknown[0]}'.{did_you_mean(unknown[0], known)} Known are {', '.join(known)}.")
    found = {name: plain(value) for name, value in given.items() if value is not None and name != "models"}
    found.setdefault("no_report", switched_on("TUNER_NO_REPORT"))
    found |= {name: False if found.pop(f"no_{name}", False) else None for name in _LEFT_OUT}
    found["models"] = brought(given.get("models") or ())
    if isinstance(found.get("drop"), str):
        found["drop"] = [found["drop"]]
    if "set" in found:
        found["set"] = settings(given["set"])
    if "data_root" in found:
        found["data_root"] = path_or_none(given["data_root"])
    return Options(**found)


def columns_of(given: Options, before: Columns) -> Columns:
    """`before`, with what was said of a file's content. Raises UserError where that cannot be."""
    said = {field.name: getattr(given, field.name) for field in fields(Columns)}
    return Columns.of(before.written() | {key: value for key, value in said.items() if value is not None})


def read_spec(space: Space, given: Options) -> Spec:
    """The search that a space means: a path, the name of a space that comes with tuner (every model has one of its name), or its content.

    Raises:
        UserError: everything that is wrong with it.
    """
    if isinstance(space, Mapping):
        return read_content(plain(space), options=given)
    return read_space(os.fspath(space), options=given)


def path_or_none(place: Place | None) -> Path | None:
    return None if place is None else Path(place)


def plain(value: Any) -> Any:
    """As YAML holds it: numbers of numpy's as Python's, tuples as lists, paths as texts, a model of one's own as its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type | Source):
        return name_of(value)
    return value.item() if hasattr(value, "item") else value


def of_space(space: Space, models: Models) -> list[str | Path | type | Source]:
    """What was brought, and the model that a space of plain values holds itself."""
    return with_itself(space.get("model") if isinstance(space, Mapping) else None, models)


def at_least(low: int, given: int | None, name: str) -> int | None:
    """The number that was given.

    Raises:
        UserError: it is too small.
    """
    if given is not None and given < low:
        raise UserError(f"'{name}' must be at least {low}, but is {given}.")
    return given

"""Search spaces: YAML and the command line, read and checked against the model and the data before anything starts.

spec = read_space("aae_unsup", options=Options(trials=4, set=["hidden=500"]))
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from tuner import layout
from tuner.data.raw import Columns
from tuner.errors import UserError, did_you_mean
from tuner.model import Model
from tuner.own_models import Source, read_own

from .checks import check
from .keys import KEYS, METHODS, read_key, unknown_keys
from .located import Located, Problems, given
from .metric import Metric
from .parameters import parents_first, pin, read_parameters, set_values, settings
from .ranges import Range
from .reading import Asha, Reading, Resources
from .scores import SCORES
from .selection import put_metric
from .spec import Spec
from .yaml_lines import parse, read_text

__all__ = [
    "METHODS", "SCORES", "Asha", "Metric", "Options", "Range", "Resources", "Spec", "read_space", "set_values", "space_names", "space_path",
]  # fmt: skip

_OF_DATA = ("scale", "limit", *(field.name for field in fields(Columns)))  # what is said of the data set


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says in place of the file. `label` to `colours`: see `Columns`. `set`: texts such as `hidden=500`.
    `data_root`: where data files live. `models`: of your own: files, folders, or in Python a subclass of `Model`. `confirm`: False
    leaves that of the file out; `report`: likewise. `mlflow`: record in MLflow, too."""

    dataset: str | None = None
    scale: str | None = None
    limit: int | None = None
    label: str | None = None
    drop: Sequence[str] | None = None
    id: str | None = None
    header: bool | None = None
    samples: str | None = None
    size: int | Sequence[int] | None = None
    colours: str | None = None
    trials: int | None = None
    epochs: int | None = None
    name: str | None = None
    seed: int | None = None
    hours: float | None = None
    set: Sequence[str] = ()
    confirm: bool | None = None
    report: bool | None = None
    mlflow: bool | None = None
    data_root: Path | None = None
    models: Sequence[str | Path | type | Source] = ()


def space_names() -> list[str]:
    """The search spaces that come with tuner."""
    return sorted(path.stem for path in layout.folder("search_spaces").glob("*.yaml"))


def space_path(source: str) -> Path:
    """The file that `--space` means: a path, or a shipped space's name; either may leave `.yaml` out.

    Raises:
        UserError: there is none.
    """
    for path in (Path(source), Path(f"{source}.yaml")):
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long to be one
            return path
    stem = source.removesuffix(".yaml")
    if stem in space_names():
        return layout.folder("search_spaces") / f"{stem}.yaml"
    if os.path.isdir(source):  # noqa: PTH112
        raise UserError(f"'{source}' is a folder, not a search space. `tuner spaces` lists those that come with tuner.")
    nearest = did_you_mean(Path(stem).name, space_names())
    raise UserError(f"There is no file '{source}', and no search space of that name.{nearest} `tuner spaces` lists them.")


def read_space(source: str, *, options: Options | None = None) -> Spec:
    """The search that a file and the command line describe. `source`: a path or a shipped space's name.

    Raises:
        UserError: everything that is wrong with them, each with its place.
    """
    path = space_path(source)
    text = read_text(path, source)
    title = os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
    return _Reader(path, text, options or Options(), Problems(title=title, file=path.name)).read()


def read_content(content: Mapping[str, Any], *, options: Options | None = None) -> Spec:
    """As `read_space`, of the content of a file that there is not: plain values under a space's keys. Lines in messages are those of
    `Spec.text`, which a run keeps as its space.

    Raises:
        UserError: everything that is wrong with it.
    """
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    name = next((str(content[key]) for key in ("name", "model") if content.get(key)), "space")
    return _Reader(Path(f"{name}.yaml"), text, options or Options(), Problems(title="The space", file="space")).read()


class _Reader:
    """One reading of one file, under what the command line says."""

    def __init__(self, path: Path, text: str, options: Options, problems: Problems) -> None:
        self.path, self.text, self.options, self.problems = path, text, options, problems
        self.file = parse(text, problems)
        self.keys = Reading(nodes=dict(self.file), problems=problems, stem=path.stem, own=read_own(options.models))
        unknown_keys(self.keys)
        self._put_options()
        put_metric(self.keys)
        for key in KEYS.values():
            if key.missing and key.name not in self.keys.nodes and not (key.name == "metric" and "metrics" in self.keys.nodes):
                problems.at(None, f"'{key.name}' is missing: {key.missing}")
        self.pins = settings(options.set, problems)

    def read(self) -> Spec:
        keys, values = self.keys, self.keys.values
        read_key(keys, "model")
        model = keys.model
        parameters, switches = self._parameters(model) if model else ((), frozenset[str]())
        values |= {"parameters": parameters, "epochs": self._epochs(model, parameters), "trials": 1}
        for name, key in KEYS.items():
            if key.read is not None and name != "model":
                read_key(keys, name)
        own = {name: value for name, value in values.items() if name in Spec.__dataclass_fields__}
        more = {name: value for name, value in values.items() if name not in own}
        spec = Spec(**own, switches=switches, text=self.text, path=self.path, more=more, source=keys.own.get(values["model"]))
        spec = replace(spec, trials=self._trials(spec, spec.combinations() if model else None))
        if model:
            for name, p in spec.known.items():
                if name not in spec.ranges and name != "epochs":
                    keys.default(f"parameters.{name}", p.default)
            keys.notes += check(spec, keys.nodes, self.pins, self.problems, self.options.data_root)
        self.problems.raise_if_any()
        said = {f.name: getattr(self.options, f.name) for f in fields(Options) if f.name not in ("data_root", "models")}
        options = {name: list(value) if isinstance(value, list | tuple) else value for name, value in said.items() if value is not None}
        return replace(spec, filled=keys.filled, notes=tuple(keys.notes), options=options)

    def _put_options(self) -> None:
        said, options = self.keys.nodes, self.options
        for key in ("trials", "epochs", "seed", "name"):
            if (value := getattr(options, key)) is not None:
                before, node = said.get(key), given(f"--{key}", value)
                beside = key == "seed" and before is not None and isinstance(before.value, dict)  # it says how many, too
                said[key] = replace(before, value={**before.value, "value": node}) if before is not None and beside else node
        if options.hours is not None:
            said["stop"] = _with_hours(said.get("stop"), options.hours)
        if options.confirm is False:
            said["confirm"] = given("--no-confirm", "none")
        if options.report is False:
            said["report"] = given("--no-report", False)
        if options.mlflow and not (said.get("mlflow") and isinstance(said["mlflow"].value, dict)):  # that says where, too
            said["mlflow"] = given("--mlflow", True)
        if options.dataset is not None:
            before = said.get("dataset")
            if before is not None and isinstance(before.value, dict) and len(before.value) > 1:
                all_of_it = ", ".join(f"{key}: {node.plain() if not node.is_scalar else node.text}" for key, node in before.value.items())
                self.keys.notes.append(f"--dataset {options.dataset} stands in place of all of the file's {{{all_of_it}}}.")
            said["dataset"] = given("--dataset", options.dataset)
        changes = {key: given(f"--{key}", value) for key in _OF_DATA if (value := getattr(options, key)) is not None}
        for key, parts in (("drop", options.drop), ("size", options.size)):
            if parts is not None:
                changes[key] = replace(
                    changes[key], value=[given(f"--{key}", part) for part in (parts if isinstance(parts, list | tuple) else [parts])]
                )
        if changes and "dataset" in said:
            data = said["dataset"]
            said["dataset"] = replace(data, value=(data.value if isinstance(data.value, dict) else {"name": data}) | changes)

    def _parameters(self, model: Model) -> tuple[tuple[Range, ...], frozenset[str]]:
        """The ranges with what `--set` pins, and the names of the switches among them."""
        section = self.keys.nodes.get("parameters")
        ranges = read_parameters(section, model, self.problems) if section is not None else ()
        pins = {name: node for name, node in self.pins.items() if not self._is_key(name, node)}
        pinned = pin(self._one_epochs(ranges), pins, model, self.problems)
        asked = {parent for found in pinned for parent in found.when}
        switches = {found.name for found in pinned} - model.parameters().keys()
        for name in sorted(switches - asked):
            self.keys.notes.append(f"'{name}' decides nothing once --set pins what it decided about: it is left out.")
        kept = parents_first(found for found in pinned if found.name not in switches - asked)
        return kept, frozenset(switches & asked)

    def _is_key(self, name: str, node: Located) -> bool:
        if name not in KEYS or name == "epochs":
            return False
        use = f"use --{name} {node.text}" if name in ("trials", "seed", "name", "dataset") else "change the file"
        self.problems.at(node, f"'{name}' is a key of the search, not a parameter: {use}.")
        return True

    def _one_epochs(self, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
        """`epochs` is a key and a parameter: it may be said in one way only, and the command line's way wins."""
        found = next((one for one in ranges if one.name == "epochs"), None)
        if found is not None and "epochs" in self.file:
            message = f"'epochs' is given twice, here and under parameters in line {found.line}: keep one."
            self.problems.at(self.file["epochs"], message)
        if "epochs" in self.pins and self.options.epochs is not None:
            self.problems.at(self.pins["epochs"], f"'epochs' is set twice, also by --epochs {self.options.epochs}.")
        elif "epochs" in self.pins:
            self.keys.nodes.pop("epochs", None)
        return ranges if self.options.epochs is None else tuple(one for one in ranges if one is not found)

    def _epochs(self, model: Model | None, ranges: Sequence[Range]) -> int:
        """The most clustering epochs of a trial; 0 where that is not known."""
        found = next((one for one in ranges if one.name == "epochs"), None)
        p = model.parameters()["epochs"] if model else None
        if found is not None and p is not None:
            return int(max(found.highest, p.default) if found.when else found.highest)
        if p is None:
            return self.keys.whole("epochs", 1, None, 0) if "epochs" in self.keys.nodes else 0
        assert p.low is not None and p.high is not None
        return self.keys.whole("epochs", int(p.low), int(p.high), p.default)

    def _trials(self, spec: Spec, count: int | None) -> int:
        """`count`: how many configurations there are, if they can be counted."""
        if spec.method == "grid" and "trials" not in self.keys.nodes and count is not None:
            return int(self.keys.default("trials", count))
        trials = self.keys.whole("trials", 1, None, 24)
        if count is not None and count < trials:
            configurations = "1 configuration" if count == 1 else f"{count} configurations"
            self.keys.notes.append(f"The space has {configurations}, and none is tried twice: it ends before {trials} trials.")
        elif count is not None and spec.method == "grid" and count > trials:
            self.keys.notes.append(f"The grid has {count} configurations, of which {trials} are tried.")
        return trials


def _with_hours(stop: Located | None, hours: float) -> Located:
    """The file's key `stop` with the hours of `--hours`; what is no mapping stays, and is refused."""
    node = given("--hours", hours)
    if stop is None or stop.word == "none":
        return replace(node, value={"hours": node})
    return replace(stop, value={**stop.value, "hours": node}) if isinstance(stop.value, dict) else stop

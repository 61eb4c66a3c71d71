"""Reads the keys of a file one by one, each with its rule. `tuner/space/keys.py` says which keys there are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tuner.errors import UserError, did_you_mean
from tuner.metrics import METRICS
from tuner.model import Model, load_model
from tuner.names import NAME, NAME_RULE
from tuner.own_models import NONE, OwnModels

from .located import Located, Problems
from .metric import Metric

MOST_LANES = 1024
_MOST = 10**18 - 1  # fits 64 bits
_NO_METRIC = Metric(name="", goal="maximize")
_DIRECTIONS: tuple[Literal["maximize"], Literal["minimize"]] = ("maximize", "minimize")


@dataclass(frozen=True, kw_only=True)
class Asha:
    """Stop what is not among the best 1 / `reduction` after `grace`, `grace * reduction`, ... clustering epochs."""

    grace: int
    reduction: int


@dataclass(frozen=True, kw_only=True)
class Resources:
    """A trial's share, or a pack's. `gpu`: `auto` is one GPU where the cluster has any. `pack`: how many trials train as one; 1 is
    each by itself, `auto` whatever is measured to be fastest."""

    cpu: float
    gpu: float | Literal["auto"]
    pack: int | Literal["auto"] = "auto"


@dataclass(kw_only=True)
class Reading:
    """One reading of the keys of a file. A wrong value is noted and replaced by a harmless one, so that the rest can be checked, too.

    `nodes`: what the file has under each key. `stem`: the file's name without its ending. `values`: the keys that have been read.
    `filled`: the defaults that were taken, by `key` or `key.part`. `notes`: what is legal, but may surprise.
    `own`: the models that are known beside tuner's.
    """

    nodes: dict[str, Located]
    problems: Problems
    stem: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    filled: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    own: OwnModels = NONE

    @property
    def model(self) -> Model | None:
        """The model; None before it is read, or where there is no such model."""
        name = self.values.get("model")
        return load_model(name, self.own) if name else None

    def default(self, key: str, value: Any) -> Any:
        """`value`, since the file says nothing."""
        self.filled[key] = value
        return value

    def only(self, what: str, nodes: Mapping[str, Located], known: Collection[str]) -> None:
        """Notes every key of a mapping that is not known."""
        for key, node in nodes.items():
            if key not in known:
                self.problems.at(node, f"{what} has no key '{key}'.{did_you_mean(key, known)} Known are {', '.join(known)}.")

    def whole(self, key: str, low: int, high: int | None, default: int) -> int:
        """A whole number under a key of the file."""
        node = self.nodes.get(key)
        return int(self.default(key, default)) if node is None else self._whole(node, key, range(low, (high or _MOST) + 1), default)

    def _whole(self, node: Located, key: str, allowed: range, default: int) -> int:
        value, open_ended = node.value, allowed.stop == _MOST + 1
        if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
            return value
        within = f"of {allowed.start} or more" if open_ended else f"from {allowed.start} to {allowed.stop - 1}"
        if open_ended and re.fullmatch(r"[0-9]{19,}", node.text):
            within = "of at most 18 digits"
        self.problems.at(node, f"'{key}' must be a whole number {within}, but got {node.shown}.")
        return default

    def whole_in(self, nodes: Mapping[str, Located], name: str, low: int, default: int) -> int:
        """A whole number from `low` on in a key's mapping. `name`: `early_terminate.grace`."""
        node = nodes.get(name.rpartition(".")[2])
        if node is None:
            return int(self.default(name, default))
        return self._whole(node, name.rpartition(".")[2], range(low, _MOST + 1), default)

    def whole_from(self, nodes: Mapping[str, Located], name: str, low: int, high: int) -> int:
        """A whole number in a key's mapping that has it. `name`: `seed.repeat`."""
        key = name.rpartition(".")[2]
        return self._whole(nodes[key], key, range(low, high + 1), low)


Read = Callable[[Reading, str], Any]


# --- readers that serve several keys -----------------------------------------------------------------------------------


def whole(low: int, high: int | None, default: int) -> Read:
    """A whole number; `high`: None for any of at most 18 digits."""
    return lambda reading, key: reading.whole(key, low, high, default)


def word(known: Collection[str], default: str, others: Mapping[str, str] = MappingProxyType({})) -> Read:
    """One of some words. `others`: words of other programs, with what to write instead."""

    def read(reading: Reading, key: str) -> str:
        node = reading.nodes.get(key)
        if node is None:
            return str(reading.default(key, default))
        if node.word in known:
            return str(node.word)
        if node.word is not None and node.word in others:
            reading.problems.at(node, others[node.word])
            return default
        reading.problems.at(node, f"'{key}' must be one of {' | '.join(known)}, but got {node.shown}.{did_you_mean(node.word, known)}")
        return default

    return read


def truth(default: bool) -> Read:
    """true or false, of what changes no result: its default is not among those that are told."""

    def read(reading: Reading, key: str) -> bool:
        node = reading.nodes.get(key)
        if node is None:
            return default
        if not isinstance(node.value, bool):
            reading.problems.at(node, f"'{key}' must be true or false, but got {node.shown}.")
        return node.value if isinstance(node.value, bool) else default

    return read


# --- readers of one key each -------------------------------------------------------------------------------------------


def read_name(reading: Reading, key: str) -> str:
    node = reading.nodes.get(key)
    if node is None:
        return str(reading.default(key, re.sub(r"[^A-Za-z0-9_.-]+", "-", reading.stem).lstrip("-._")[:100] or "search"))
    if node.word is None or not NAME.fullmatch(node.word):
        reading.problems.at(node, f"'name' cannot be {node.shown}: {NAME_RULE}.")
    return node.word or "search"


def read_model(reading: Reading, key: str) -> str:
    """The model's name; empty where there is none."""
    node = reading.nodes.get(key)
    if node is None:
        return ""
    if node.word is None:
        reading.problems.at(node, f"'model' must be a name, but got {node.shown}. `tuner models` lists them.")
        return ""
    try:
        return load_model(node.word, reading.own).name
    except UserError as error:
        reading.problems.at(node, str(error))
        return ""


def read_metric(reading: Reading, key: str) -> Metric:
    node = reading.nodes.get(key)
    return _NO_METRIC if node is None else read_one_metric(reading, node, key)


def read_one_metric(reading: Reading, node: Located, key: str) -> Metric:
    name = node.value.get("name") if isinstance(node.value, dict) else None
    if name is None or name.word is None:
        example = f"{{name: {node.word or 'acc'}, goal: maximize}}"
        got = "no name" if isinstance(node.value, dict) and name is None else (name or node).shown
        reading.problems.at(name or node, f"'{key}' must name a metric and its goal, such as {example}, but got {got}.")
        return _NO_METRIC
    reading.only(f"'{key}'", node.value, ("name", "goal"))
    best, goal = _goal_of(name, reading), node.value.get("goal")
    if best is None:
        return _NO_METRIC
    if goal is None:
        return Metric(name=name.text, goal=reading.default(f"{key}.goal", best))
    if goal.word not in _DIRECTIONS:
        nearest = did_you_mean(goal.word, _DIRECTIONS)
        reading.problems.at(goal, f"'goal' must be maximize or minimize, but got {goal.shown}.{nearest}")
    elif goal.word != best:
        direction = "higher" if best == "maximize" else "lower"
        reading.problems.at(goal, f"'{name.text}' is better the {direction}: its goal is {best}.")
    return Metric(name=name.text, goal=best)


def _goal_of(name: Located, reading: Reading) -> Literal["maximize", "minimize"] | None:
    """What a metric's goal must be; None where there is no such metric."""
    if name.text in METRICS:
        return METRICS[name.text].goal
    model = reading.model
    losses = [] if model is None else [f"loss/{term}" for term in model.terms]
    if name.text in losses or (model is None and name.text.startswith("loss/")):
        return "minimize"
    if name.text == "samples_per_s":
        rule = "'samples_per_s' tells how fast a trial runs, not how well it clusters: a search cannot choose by it."
        reading.problems.at(name, rule)
    else:
        partial = model is not None and model.labels == "partial"
        known = [*(known for known, measure in METRICS.items() if partial or measure.needs != "some labels"), *losses]
        reading.problems.at(name, f"there is no metric {name.shown}.{did_you_mean(name.text, known)} Known are {', '.join(known)}.")
    return None


def read_early_terminate(reading: Reading, key: str) -> Asha | None:
    """Needs `epochs`, the most clustering epochs that a trial has; 0 where that is not known."""
    node = reading.nodes.get(key)
    if node is not None and node.word == "none":
        return None
    parts: Mapping[str, Located] = {}
    if node is not None:
        kind = node.value.get("type") if isinstance(node.value, dict) else None
        if not isinstance(node.value, dict) or kind is None or kind.word != "asha":
            got = f"type {kind.shown}" if kind is not None else node.shown
            rule = "must be none or {type: asha, grace: 5, reduction: 3}"
            reading.problems.at(node, f"'early_terminate' {rule}, but got {got}.")
            return None
        parts = node.value
    reading.only("'early_terminate'", parts, ("type", "grace", "reduction"))
    asha = Asha(
        grace=reading.whole_in(parts, "early_terminate.grace", 1, 5), reduction=reading.whole_in(parts, "early_terminate.reduction", 2, 3)
    )
    epochs = reading.values["epochs"]
    if 0 < epochs <= asha.grace:
        reading.notes.append(f"Nothing is stopped early: {epochs} epochs are no longer than early_terminate's grace, {asha.grace}.")
        return None
    return asha


def read_resources(reading: Reading, key: str) -> Resources:
    node = reading.nodes.get(key)
    parts: Mapping[str, Located] = {}
    if node is not None and not isinstance(node.value, dict):
        reading.problems.at(node, f"'resources' must be a mapping such as {{cpu: 1, gpu: auto}}, but got {node.shown}.")
    elif node is not None:
        parts = node.value
    reading.only("'resources'", parts, ("cpu", "gpu", "pack"))
    cpu = parts["cpu"].value if "cpu" in parts else reading.default("resources.cpu", 1)
    gpu = parts["gpu"].value if "gpu" in parts else reading.default("resources.gpu", "auto")
    if not _is_number(cpu) or not 0 < cpu < math.inf:
        reading.problems.at(parts["cpu"], f"'cpu' must be a number above 0, the cores of one trial, but got {parts['cpu'].shown}.")
        cpu = 1
    # Ray hands out shares of one GPU, or whole ones.
    if gpu != "auto" and (not _is_number(gpu) or not 0 <= gpu < math.inf or (gpu > 1 and gpu != int(gpu))):
        rule = "auto, 0, a share below 1 or a whole number of GPUs"
        reading.problems.at(parts["gpu"], f"'gpu' must be {rule}, but got {parts['gpu'].shown}.")
        gpu = "auto"
    return Resources(cpu=cpu, gpu=gpu, pack=_pack(reading, parts.get("pack")))


def _pack(reading: Reading, node: Located | None) -> int | Literal["auto"]:
    if node is None or node.word in ("auto", "off"):
        text = reading.default("resources.pack", "auto") if node is None else node.word
        return "auto" if text == "auto" else 1
    width = node.value
    if isinstance(width, int) and not isinstance(width, bool) and 1 <= width <= MOST_LANES:
        return width
    reading.problems.at(node, f"'pack' must be auto, off or a whole number from 1 to {MOST_LANES}, but got {node.shown}.")
    return 1


def read_checkpoint_gb(reading: Reading, key: str) -> float | None:
    """None: as much as the checkpoints take."""
    node = reading.nodes.get(key)
    if node is None:
        return None
    if not _is_number(node.value) or not 0 < node.value < math.inf:
        rule = "must be a number above 0, the gigabytes of all checkpoints"
        reading.problems.at(node, f"'checkpoint_gb' {rule}, but got {node.shown}.")
        return None
    return float(node.value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

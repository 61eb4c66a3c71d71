"""What can be wrong with a search whose every line is right by itself: metric, data, method and model do not fit together."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from tuner.data.datasets import describe
from tuner.errors import UserError
from tuner.metrics import METRICS, uses_labels
from tuner.model import DataSpec, Descend, Hyper, Model, Parameter, load_model
from tuner.training.dryrun import dead_weights, owned_terms, redundant_weights
from tuner.training.engine import terms_on

from .located import Located, Problems
from .ranges import Range, show
from .spec import Spec

_MOST_WORLDS, _MOST_DRIED = 2048, 8  # a dry run takes a tenth of a second


def check(spec: Spec, keys: Mapping[str, Located], pins: Mapping[str, Located], problems: Problems, root: Path | None) -> list[str]:
    """Adds what is wrong to `problems` and returns notes on what is legal but may surprise. `root`: where data files live."""
    section = keys.get("parameters")
    entries = section.value if section is not None and isinstance(section.value, dict) else {}
    about = _About(spec=spec, model=load_model(spec.model), keys=keys, entries={**entries, **pins}, problems=problems)
    data = about.data(root)
    about.metric(data)
    return [*about.choice(), *about.method(), *about.structure()]


@dataclass(frozen=True, kw_only=True, eq=False)
class _World:
    """One structure that a trial can have: the choices made, and everything else at some value."""

    chosen: Mapping[str, Any]
    h: Hyper
    static: frozenset[tuple[str, Any]]
    on: frozenset[str]  # the terms that may be other than 0


@dataclass(frozen=True, kw_only=True)
class _About:
    spec: Spec
    model: Model
    keys: Mapping[str, Located]
    entries: Mapping[str, Located]  # where each parameter is given
    problems: Problems

    # --- data, metric, method ---

    def data(self, root: Path | None) -> DataSpec | None:
        node = self.keys.get("dataset")
        if node is None or not self.spec.dataset.name:
            return None
        said = node.value if isinstance(node.value, dict) else {"name": node}
        try:
            data = describe(self.spec.dataset, root)
        except UserError as error:
            key = next((key for key in ("limit", "scale") if key in said and str(error).startswith(f"'{key}'")), "name")
            self.problems.at(said[key], str(error))
            return None
        if self.model.rebuilds_pixels and not data.unit_range:
            why = f"values of {self.spec.dataset.name} lie outside [0, 1], and {self.model.name} rebuilds pixels"
            if self.spec.dataset.scale == "standard":
                why = f"'scale: standard' puts values outside [0, 1], and {self.model.name} rebuilds pixels"
            self.problems.at(said.get("scale", said["name"]), f"{why}: say 'scale: minmax'.")
        partial, n_samples = self.model.labels == "partial", data.n_samples
        samples = f"{n_samples} samples"
        if partial:  # the test split is kept for the error on it
            n_samples -= data.n_test
            samples = f"{n_samples} samples before its test split" if data.n_test else samples
        for name, what in (("batch_size", "a batch"), ("n_clusters", "the clusters")):
            _, most, said_most = self._reach(name)
            if most > n_samples:
                rule = f"{what} cannot be more than the data's {samples}."
                self.problems.at(self.entries.get(name, node), f"'{name}' {said_most}, but {rule}")
        if partial:
            self._labels(data, said["name"], samples)
        return data

    def _labels(self, data: DataSpec, name: Located, samples: str) -> None:
        """What a model that learns from some labels asks of the data."""
        if data.n_classes is None:
            self.problems.at(name, f"{self.model.name} learns from some labels, and {self.spec.dataset.name} has none.")
            return
        low, high, said_high = self._reach("n_clusters")
        if not low == high == data.n_classes:
            rule = f"cluster k is class k: give it one value, {data.n_classes}, the classes of {self.spec.dataset.name}."
            self.problems.at(self.entries.get("n_clusters", name), f"'n_clusters' {said_high}, but {rule}")
        low, high, said_high = self._reach("n_labels")
        if low < data.n_classes:
            rule = f"every one of the {data.n_classes} classes of {self.spec.dataset.name} needs a label."
            self.problems.at(self.entries.get("n_labels", name), f"'n_labels' may be {low}, but {rule}")
        elif high >= data.n_samples - data.n_test:
            rule = f"fewer must be labelled than the data's {samples}."
            self.problems.at(self.entries.get("n_labels", name), f"'n_labels' {said_high}, but {rule}")

    def _reach(self, name: str) -> tuple[Any, Any, str]:
        """The least and the most that a number can be, and how to say the latter; 0 where the model has no such parameter."""
        p, found = self.spec.known.get(name), self.spec.ranges.get(name)
        if found is None:
            default = p.default if p is not None else 0
            return default, default, f"is {default} by default"
        return found.lowest, found.highest, f"goes up to {found.highest}" if found.searched else f"is {found.highest}"

    def metric(self, data: DataSpec | None) -> None:
        node = self.keys.get("metric")
        name = self.spec.metric.name
        if node is None or not name:
            return
        at = node.value["name"]
        measure = METRICS.get(name)
        if measure is not None and measure.needs == "labels" and data is not None and data.n_classes is None:
            free = [other for other, found in METRICS.items() if not found.uses_labels]
            others = ", ".join([*free, *(f"loss/{term}" for term in self.model.terms)])
            self.problems.at(at, f"'{name}' needs labels, and {self.spec.dataset.name} has none. Without labels there are {others}.")
        if measure is not None and measure.needs == "some labels" and self.model.labels != "partial":
            self.problems.at(at, f"'{name}' needs a model that is given some labels, and {self.model.name} is given none. Use acc.")
        elif name == "error_test" and data is not None and not data.n_test:
            why = f"the published test split, and {self.spec.dataset.name} has none"
            self.problems.at(at, f"'error_test' is of {why}. Use error, which is of the samples whose labels the model is not given.")
        n_clusters = self.spec.ranges.get("n_clusters")
        if measure is not None and measure.with_k and n_clusters is not None and n_clusters.searched:
            instead = "Give it one value." if data is not None and data.n_classes is None else "Use acc, nmi or ari."
            self.problems.at(at, f"'n_clusters' cannot be searched by '{name}': {measure.with_k}. {instead}")

    def choice(self) -> Iterator[str]:
        """Notes on what the lines of the file mean."""
        if self.spec.metric.name == "error_test":
            yield "'error_test' chooses on the test split, and looks better than it is. Choose by error, and report error_test."
        if self.spec.metric.name == "silhouette":
            yield "'silhouette' is of the codes, which training shapes: drawn to their centres they score high, rightly or wrongly."
        if self.spec.score == "max" and uses_labels(self.spec.metric.name):
            yield f"With score: max the labels choose each trial's best epoch, too: '{self.spec.metric.name}' looks better than it is."
        for found in self.spec.searched():
            p = self.spec.known.get(found.name)
            if p is not None and p.kind is float and found.kind == "int_uniform" and "distribution" not in self.entries[found.name].value:
                rule = f"since {found.min} and {found.max} have no point (W&B's rule)"
                yield f"'{found.name}' takes whole numbers only, {rule}. Write {found.min}.0 and {found.max}.0 for a continuous range."

    def method(self) -> list[str]:
        """Refuses what a method cannot do with this space; notes on what it does badly."""
        spec, node = self.spec, self.keys.get("method")
        if spec.method == "grid":
            for found in spec.searched():
                if found.options is None:
                    said = f"'{found.name}' is {found.kind} over fractions: a grid needs `values` or whole numbers."
                    self.problems.at(self.entries[found.name], said)
        if spec.method == "cmaes" and node is not None and importlib.util.find_spec("cmaes") is None:
            self.problems.at(node, "method 'cmaes' needs the package cmaes: pip install cmaes.")
        alone = {
            "cmaes": [found.name for found in spec.searched() if found.kind == "values" or found.when],
            "qmc": [found.name for found in spec.searched() if found.kind == "values" or found.when],
            "gp": [found.name for found in spec.searched() if found.when],
        }.get(spec.method)
        return [f"Method {spec.method} leaves {', '.join(alone)} to chance: it is for numbers without conditions."] if alone else []

    # --- what the model would do with it ---

    def structure(self) -> list[str]:
        """Refuses what would change nothing in any trial; notes on what would change nothing in some."""
        worlds = list(islice(self._worlds(), _MOST_WORLDS + 1))
        complete = len(worlds) <= _MOST_WORLDS
        notes = [*self._rates(worlds, complete), *self._weights(worlds, complete)]
        if complete:
            self._loss(worlds)
        return list(dict.fromkeys(notes))

    def _worlds(self) -> Iterator[_World]:
        """Choices and conditions are made in every way, numbers only where a condition asks."""
        static = {found.name for found in self.spec.searched() if _is_choice(self.spec.known.get(found.name))}
        parents = {parent for found in self.spec.parameters for parent in found.when}
        seen: dict[Any, frozenset[str]] = {}  # `terms_on` walks through all epochs of a schedule
        for chosen in self.spec.worlds(static | parents):
            config = self.spec.config(self.spec.completed(chosen))
            weights = {name: float(self._may_weigh(name, chosen)) for name in config if name.startswith("weights.")}
            h = self.spec.hyper(config | weights)
            key = (frozenset(h.static().items()), frozenset(weights.items()))
            if key not in seen:
                seen[key] = terms_on(self.model, h)
            yield _World(chosen=chosen, h=h, static=key[0], on=seen[key])

    def _may_weigh(self, name: str, chosen: Mapping[str, Any]) -> bool:
        """Whether a term's weight can be other than 0 in this world."""
        found = self.spec.ranges.get(name)
        if found is None:
            wrong = name in self.entries  # its own line has a problem, which shall not cause others
            return wrong or self.spec.known[name].default != 0
        return found.nonzero() > 0 if self.spec.active(found, chosen) else bool(found.otherwise)

    def _rates(self, worlds: list[_World], complete: bool) -> Iterator[str]:
        """Rates that no step uses."""
        used = {world.static: _rates(self.model, world.h) for world in worlds}
        elsewhere = _rates_by_choice(self.model)
        for found in self.spec.searched():
            if found.name in elsewhere:
                active = [world for world in worlds if self.spec.active(found, world.chosen)]
                dead = [world for world in active if found.name not in used[world.static]]
                only = f", only one that '{elsewhere[found.name]}' brings" if elsewhere[found.name] else ""
                refuse = complete and len(dead) == len(active)
                yield from self._verdict(found, [(world, f"no step uses it{only}") for world in dead], refuse)

    def _weights(self, worlds: list[_World], complete: bool) -> Iterator[str]:
        """Weights that change nothing. With more terms on a weight can only come alive: one that is dead in the largest sets of
        terms is dead in all, and the smaller sets are looked at for notes."""
        weights = [found for found in self.spec.searched() if found.name.startswith("weights.")]
        if not weights:
            return
        worlds = list({(world.static, world.on): world for world in worlds}.values())
        largest = [world for world in worlds if not any(world.static == other.static and world.on < other.on for other in worlds)]
        dead: dict[str, list[tuple[_World, str]]] = {found.name: [] for found in weights}
        alive: set[str] = set()
        smaller = [world for world in worlds if world not in largest][: max(0, _MOST_DRIED - len(largest))]
        for world in [*largest, *smaller]:
            reasons = _dead(self.model, world.static, world.on)
            computed = {term for terms in _computed(self.model, world.static).values() for term in terms}
            active = [found for found in weights if self.spec.active(found, world.chosen)]
            for found in active:
                # One value beside 0 still switches the term on and off.
                if found.name in reasons and (found.nonzero() > 1 or found.name.removeprefix("weights.") not in computed):
                    dead[found.name].append((world, reasons[found.name].rstrip(".")))
                elif world in largest:
                    alive.add(found.name)
            if world in largest:
                searched = frozenset(found.name for found in active) - reasons.keys()
                yield from redundant_weights(self.model, world.h, world.on, searched)
        for found in weights:
            yield from self._verdict(found, dead[found.name], complete and found.name not in alive)

    def _verdict(self, found: Range, dead: list[tuple[_World, str]], refuse: bool) -> Iterator[str]:
        """Dead wherever it is searched: a problem. Dead in some structures: a note."""
        if dead and refuse:
            self.problems.at(self.entries[found.name], f"'{found.name}' would change nothing: {dead[0][1]}.")
        elif dead:
            yield f"'{found.name}' changes nothing{_where(found, [world for world, _ in dead])}: {dead[0][1]}."

    def _loss(self, worlds: list[_World]) -> None:
        """A loss that decides must be there in every clustering epoch of every trial."""
        term = self.spec.metric.name.removeprefix("loss/")
        if term not in self.model.terms or term == self.spec.metric.name:
            return
        at = self.keys["metric"].value["name"]
        weight = self.spec.ranges.get(f"weights.{term}")
        for world in worlds:
            owned = _computed(self.model, world.static)
            clustering = [update for phase in self.model.phases(world.h) if phase.clusters for update in phase.updates]
            if not any(term in owned.get(update.name, ()) for update in clustering):
                where = f" where {_said(world.chosen)}" if world.chosen else ""
                self.problems.at(at, f"'loss/{term}' cannot decide: no clustering epoch computes it{where}.")
                return
            zero = weight is not None and self.spec.active(weight, world.chosen) and weight.may_be_zero()
            if zero or term not in world.on:
                self.problems.at(at, f"'loss/{term}' cannot decide: it is not computed in trials in which 'weights.{term}' is 0.")
                return


def _where(found: Range, worlds: list[_World]) -> str:
    """` where updates is separate`: the choices that all these worlds share."""
    first = worlds[0].chosen
    shared = {
        name: value
        for name, value in first.items()
        if name not in found.when and all(name in world.chosen and world.chosen[name] == value for world in worlds)
    }
    return f" where {_said(shared)}" if shared else " in some trials"


def _said(chosen: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} is {show(value)}" for name, value in chosen.items())


_DATA = DataSpec(n_samples=64, shape=(8, 8), n_classes=4)  # any data will do: which terms there are does not depend on them


# Only static values can change what these find. A space is checked more than once in a process, and worlds share them.


@lru_cache(maxsize=256)
def _computed(model: Model, static: frozenset[tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The terms of each step."""
    return owned_terms(model, model.hyper(dict(static)), _DATA)


@lru_cache(maxsize=256)
def _dead(model: Model, static: frozenset[tuple[str, Any]], on: frozenset[str]) -> dict[str, str]:
    """The dead weights with their reasons."""
    return dead_weights(model, model.hyper(dict(static)), on)


def _is_choice(p: Parameter | None) -> bool:
    return p is not None and p.choices is not None


def _rates(model: Model, h: Hyper) -> set[str]:
    """The hyper-parameters that are rates, momenta or clips of the steps that are taken."""
    used: set[str] = set()
    for phase in model.phases(h):
        for update in phase.updates:
            if isinstance(update, Descend):
                used |= {*update.rates().values(), *(str(name) for name in vars(update.optimizer).values() if isinstance(name, str))}
                used |= {update.clip} if update.clip else set()
    return used


def _rates_by_choice(model: Model) -> dict[str, str]:
    """Every rate of the model, with the one choice beside the defaults that makes a step use it, or nothing for the defaults."""
    found = dict.fromkeys(_rates(model, model.hyper()), "")
    for p in model.parameters().values():
        for choice in p.choices or ():
            for name in _rates(model, model.hyper({p.name: choice})):
                found.setdefault(name, f"{p.name}: {show(choice)}")
    return found

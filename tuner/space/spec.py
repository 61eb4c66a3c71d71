"""A search as data: what is varied, how, on which data, and what decides. `tuner/space/reader.py` reads it from YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tuner.data.datasets import DatasetSpec
from tuner.model import Hyper, Model, Parameter, load_model, load_source
from tuner.own_models import Source

from .confirming import Confirm
from .earlier import Earlier
from .keys import KEYS
from .metric import Metric
from .ranges import Range
from .reading import Asha, Resources
from .scores import SCORES
from .seeding import Seeds
from .stopping import Stop

__all__ = ["Asha", "Metric", "Resources", "Spec"]

_MANY = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A search, complete and checked.

    `epochs`: the most clustering epochs that a trial can have. `early_terminate`: None where nothing is stopped early.
    `parameters`: the file's, a condition's names before what depends on them. `switches`: those that only conditions use.
    `retries`: how often a trial is tried again whose process is gone. `checkpoint_gb`: what all checkpoints may take; None: what they
    do take. `confirm`: what is trained again when the search is over; None: nothing.
    `options`: what the command line said, as plain values.
    `text`: the file as given. `filled`: the defaults that nobody said, `parameters.<name>` for the model's own.
    `source`: of a model of the user's own; it goes wherever the search goes. `notes`: what is legal, but may surprise.
    `more`: the values of those keys that have no field here. `seeds`: how many seeds each configuration
    is tried on; `trials` counts configurations. `metrics`: where several decide, all of them; `metric` is the first. `stop`: what ends
    the search before all `trials` are tried. `earlier`: what the sampler is told of earlier runs.
    """

    name: str
    model: str
    dataset: DatasetSpec
    metric: Metric
    score: str
    method: str
    trials: int
    epochs: int
    seed: int
    pretrain_seed: int
    precision: str
    early_terminate: Asha | None
    resources: Resources
    retries: int
    parameters: tuple[Range, ...]
    switches: frozenset[str]
    text: str
    path: Path
    filled: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checkpoint_gb: float | None = None
    confirm: Confirm | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None
    metrics: tuple[Metric, ...] | None = None
    seeds: Seeds = field(default_factory=Seeds)
    stop: Stop = field(default_factory=Stop)
    earlier: Earlier = field(default_factory=Earlier)

    def key(self, name: str) -> Any:
        """The value of a key of the file."""
        return self.more[name] if name in self.more else getattr(self, name)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of the metrics that decide."""
        return tuple(metric.name for metric in self.metrics or (self.metric,))

    @property
    def most_trials(self) -> int:
        """How many trials there can be: each seed of a configuration is one."""
        return self.trials * self.seeds.most

    @property
    def by_key(self) -> dict[str, Any]:
        """The value of every key of the file."""
        return {name: self.key(name) for name in KEYS} | {"seeds": self.seeds}

    def loaded(self) -> Model:
        """The model itself. It is no property that is kept: a spec is pickled, and its model's code comes with it as text."""
        return load_model(self.model) if self.source is None else load_source(self.source)

    @cached_property
    def known(self) -> dict[str, Parameter]:
        """The model's names."""
        return self.loaded().parameters()

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """The parameters by name."""
        return {found.name: found for found in self.parameters}

    def searched(self) -> tuple[Range, ...]:
        """What has more than one value, what a condition asks for before what depends on it."""
        return tuple(found for found in self.parameters if found.searched)

    def active(self, found: Range, chosen: Mapping[str, Any]) -> bool:
        """Whether the range's condition holds for the values chosen before it."""
        return all(self._value(parent, chosen) in values for parent, values in found.when.items())

    def _value(self, name: str, chosen: Mapping[str, Any]) -> Any:
        found, p = self.ranges.get(name), self.known.get(name)
        if found is not None and self.active(found, chosen):
            value = chosen[name] if found.searched else found.value
        elif found is not None and found.otherwise is not None:
            value = found.otherwise
        elif found is not None and p is not None and p.term is not None:
            value = 0.0
        elif p is None:
            return None  # a switch that is not asked
        else:
            value = self.epochs if name == "epochs" and found is None else p.default
        return value if p is None else p.kind(value)

    def config(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Every hyper-parameter, weight and switch by its dotted name, given the searched ones whose condition holds.

        Where a condition fails a parameter is what its `otherwise` says; without one a weight is 0, a switch None and anything else
        its default.
        """
        return {name: self._value(name, chosen) for name in [*self.known, *sorted(self.switches)]}

    def fixing(self, values: Mapping[str, Any]) -> Spec:
        """The same search with these of its fixed values, and of the model's defaults, at other ones."""
        if not values:
            return self
        kept = tuple(found for found in self.parameters if found.name not in values)
        return replace(self, parameters=(*kept, *(Range(name=name, kind="value", value=value) for name, value in values.items())))

    def hyper(self, config: Mapping[str, Any]) -> Hyper:
        """The model's part of a configuration: without switches and the trial's seed."""
        h: Hyper = self.loaded().hyper({name: value for name, value in config.items() if name in self.known})
        return h

    def pretrain_seed_of(self, config: Mapping[str, Any]) -> int:
        """The seed of a trial's pre-training: its own where its configuration has one, else the search's."""
        return int(config.get("pretrain_seed", self.pretrain_seed))

    def score_of(self, values: Sequence[float]) -> float:
        """The score of a trial with these values of the metric at its clustering epochs so far."""
        return SCORES[self.score].of(self.metric, values)

    # --- what can be chosen ---

    def worlds(self, names: Collection[str]) -> Iterator[dict[str, Any]]:
        """All choices of these searched parameters and of those that their conditions ask for. Their values are countable."""
        wanted = set(names)
        while more := {parent for name in wanted & self.ranges.keys() for parent in self.ranges[name].when} - wanted:
            wanted |= more
        ranges = [found for found in self.searched() if found.name in wanted]

        def grow(i: int, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
            if i == len(ranges):
                yield chosen
            elif not self.active(ranges[i], chosen):
                yield from grow(i + 1, chosen)
            else:
                for value in ranges[i].options or ():
                    yield from grow(i + 1, {**chosen, ranges[i].name: value})

        return grow(0, {})

    def completed(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The choice with some value for everything else that is searched."""
        full = dict(chosen)
        for found in self.searched():
            if found.name not in full and self.active(found, full):
                full[found.name] = found.first
        return full

    def combinations(self) -> int | None:
        """How many configurations there are; None: infinitely many, or more than a million."""
        parents = {parent for found in self.parameters for parent in found.when}
        total = 0
        for chosen in self.worlds(parents):
            here = 1
            for found in self.searched():
                if found.name not in chosen and self.active(found, chosen):
                    if found.count is None:
                        return None
                    here *= found.count
            total += here
            if total > _MANY:
                return None
        return total

    # --- what is written down ---

    def resolved(self) -> dict[str, Any]:
        """Everything, defaults included, for `spec.json`."""
        found = {name: key.plain(self.key(name)) for name, key in KEYS.items()} | {
            "switches": sorted(self.switches),
            "filled": dict(self.filled),
            "notes": list(self.notes),
        }
        found |= {} if self.seeds.single else {"seeds": self.seeds.plain()}
        return found | ({"earlier": self.earlier.plain()} if self.earlier.runs else {})

    def sweep(self) -> dict[str, Any]:
        """The search as a W&B sweep's configuration: without conditions, and with `custom` for the methods that W&B lacks."""
        ours = ("when", "otherwise", "prior")
        parameters = {found.name: {key: said for key, said in found.entry().items() if key not in ours} for found in self.parameters}
        method = self.method if self.method == "random" else "custom"
        return {"name": self.name, "method": method, "metric": asdict(self.metric), "parameters": parameters}

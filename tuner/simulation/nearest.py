"""Which recorded trial stands for a configuration: its own where it was recorded, else the nearest one's."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.errors import UserError
from tuner.space.ranges import Range
from tuner.space.spec import Spec
from tuner.training.trial import planned_epochs

from .table import RecordedTrial, Table

_APART = 1.0  # between two values of a list, and between a parameter that applies and one that does not
_LENGTHS = ("epochs",)  # a shorter search reads the beginning of a longer trial


@dataclass(frozen=True, kw_only=True)
class Found:
    """`exact`: whether the very configuration was recorded, on whatever seed."""

    trial: RecordedTrial
    exact: bool


class Nearest:
    """Looks trials up in a table, for one space.

    The distance of two configurations is Euclidean: a number counts by its place in the parameter's range, from 0 to 1 and by its
    logarithm where the range is logarithmic. Of a configuration that was recorded on several seeds the trial's own seed picks one.
    """

    def __init__(self, table: Table, spec: Spec) -> None:
        """Raises UserError where the table is of another model, data set or metric, or its trials are too short."""
        self.planned = planned_epochs(spec.loaded(), spec.hyper(spec.config(spec.completed({}))))[1]  # clustering epochs of a trial
        _check(table, spec, self.planned)
        self._spec = spec
        self._searched = spec.searched()
        names = {found.name for found in self._searched}
        self._fixed = [name for name in spec.known if name not in names and name not in _LENGTHS]
        rows = self._usable(table)
        self._seeds: dict[str, list[RecordedTrial]] = defaultdict(list)
        for row in rows:
            self._seeds[self._key(row.config)].append(row)
        whole = [row for row in rows if _clustering(row) >= self.planned or row.epochs[-1].ended in ("collapsed", "diverged")]
        if not whole:
            raise UserError(
                f"{table.name} has no trial of {self.planned} epochs: all were stopped early. Record one without `early_terminate`, "
                f"or simulate fewer epochs."
            )
        self._keys = list(dict.fromkeys(self._key(row.config) for row in whole))
        self._places = np.stack([self._place(self._seeds[key][0].config) for key in self._keys])

    def _usable(self, table: Table) -> list[RecordedTrial]:
        """The trials that differ from what the space fixes in nothing."""
        unlike = [self._unlike(row.config) for row in table.trials]
        usable = [row for row, how in zip(table.trials, unlike, strict=True) if how is None]
        if not usable:
            raise UserError(f"{table.name} has no trial of this space: {unlike[0]}. What the space does not search must be as recorded.")
        return usable

    def _unlike(self, config: Mapping[str, Any]) -> str | None:
        """How a recorded configuration is none of the space's; None where it is one. Conditions go by its own choices."""
        missing = next((found.name for found in self._searched if found.name not in config), None)
        if missing is not None:
            return f"'{missing}' is searched here and not known there"
        own = self._spec.config(config)
        found = next((name for name in self._fixed if name in config and config[name] != own[name]), None)
        return None if found is None else f"'{found}' is {config[found]} there and {own[found]} in the space"

    def _key(self, config: Mapping[str, Any]) -> str:
        active = [found.name for found in self._searched if self._spec.active(found, config)]
        return json.dumps([[name, config.get(name)] for name in sorted(active)])

    def _place(self, config: Mapping[str, Any]) -> np.ndarray:
        """A row of pairs for each parameter: where it is, and whether it applies."""
        place = []
        for found in self._searched:
            applies = self._spec.active(found, config)
            place.append((_unit(found, config[found.name]) if applies else 0.0, float(applies)))
        return np.array(place)

    def find(self, config: Mapping[str, Any]) -> Found:
        """`config`: of a trial, with its `seed`."""
        key = self._key(config)
        exact = key in self._seeds
        if not exact:
            key = self._keys[self._closest(config)]
        rows = self._seeds[key]
        own = next((row for row in rows if row.config["seed"] == config["seed"]), None)
        return Found(trial=own or rows[int(config["seed"]) % len(rows)], exact=exact)

    def _closest(self, config: Mapping[str, Any]) -> int:
        place = self._place(config)
        lists = np.array([found.kind == "values" for found in self._searched])
        apart = np.abs(self._places[..., 0] - place[:, 0])
        apart = np.where(lists, (apart > 0) * _APART, apart)
        apart = np.where(self._places[..., 1] != place[:, 1], _APART, apart)
        return int((apart**2).sum(-1).argmin())


def _unit(found: Range, value: Any) -> float:
    """Where a value lies in its range, from 0 to 1; of a list its number."""
    if found.kind == "values":
        return float(found.values.index(value)) if value in found.values else -1.0
    assert found.min is not None and found.max is not None
    low, high, at = float(found.min), float(found.max), float(value)
    if found.kind in ("log_uniform_values", "q_log_uniform_values"):
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low) if high > low else 0.0


def _clustering(row: RecordedTrial) -> int:
    return sum(epoch.cluster_epoch is not None for epoch in row.epochs)


def _check(table: Table, spec: Spec, planned: int) -> None:
    about = table.about
    pairs: Sequence[tuple[str, Any, Any]] = [
        ("model", about.get("model"), spec.model),
        ("dataset", dict(about.get("dataset") or {}).get("name"), spec.dataset.name),
    ]
    for key, there, here in pairs:
        if there != here:
            raise UserError(f"{table.name} was recorded with {key} {there}, but the space says {here}. Simulate a space of the same {key}.")
    measured = {name for row in table.trials for epoch in row.epochs for name in epoch.metrics}
    missing = [name for name in spec.objectives if name not in measured]
    if missing:
        known = ", ".join(sorted(measured - {"samples_per_s"}))
        raise UserError(f"{table.name} has no '{missing[0]}', which the space goes by. It has: {known}.")
    longest = max(_clustering(row) for row in table.trials)
    if longest < planned:
        raise UserError(f"{table.name} has trials of {longest} epochs at most, but the space asks for {planned}. Say --epochs {longest}.")

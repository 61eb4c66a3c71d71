"""What a page is made of: a run read back, the course of each trial, and what was confirmed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.evidence.report import Confirmation, confirmation_of
from tuner.runs.events import TrialEnd
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL
from tuner.runs.results import Results, read_run
from tuner.space.metric import Metric

if TYPE_CHECKING:
    from tuner.runs.records import About

CATEGORIES = 12  # different values of a number that is still drawn as one of a few


@dataclass(kw_only=True)
class Course:
    """How a trial went. `epochs`, `values`: its clustering epochs and the metric in each. `first`, `last`: seconds since 1970 of its first
    line of the journal and its last."""

    epochs: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True, kw_only=True)
class Material:
    """A run. `courses`: by trial."""

    results: Results
    courses: Mapping[int, Course]
    confirmed: Confirmation | None

    @property
    def about(self) -> About:
        return self.results.spec_json

    @cached_property
    def trials(self) -> Sequence[TrialEnd]:
        """Those that are compared: all but the ones that started from another's weights."""
        return [end for end in self.results.trials if end.warm is None]

    @cached_property
    def metric(self) -> Metric:
        return Metric(name=self.results.metric, goal=self.results.goal)

    @cached_property
    def searched(self) -> list[str]:
        """The parameters that vary, in the order of the space."""
        return [name for name, entry in self.about.get("parameters", {}).items() if "value" not in entry]

    @cached_property
    def best(self) -> TrialEnd | None:
        return self.results.best()

    def score(self, end: TrialEnd) -> float | None:
        """What a trial reached by the metric that was searched for: its score, or where it has none, as when it was pruned, its last
        value."""
        value = end.score if end.score is not None else end.metrics.get(self.results.metric)
        return value if value is not None and math.isfinite(value) else None

    def active(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether a parameter had a say in a configuration: its `when` holds."""
        when = self.about.get("parameters", {}).get(name, {}).get("when") or {}
        return name in config and all(config.get(other) in values for other, values in when.items())

    def logarithmic(self, name: str) -> bool:
        """Whether a parameter was drawn on a logarithmic scale."""
        return str(self.about.get("parameters", {}).get(name, {}).get("distribution", "")).startswith(("log", "inv_log"))

    def numeric(self, name: str) -> bool:
        """Whether a parameter is drawn on an axis of numbers."""
        found = {end.config[name] for end in self.trials if self.active(name, end.config)}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
        return bool(found) and numbers and ("values" not in self.about.get("parameters", {}).get(name, {}) or len(found) > CATEGORIES)

    @property
    def rungs(self) -> list[int]:
        """The clustering epochs at which ASHA compared trials, up to the last that a trial reached."""
        asha: Any = self.about.get("early_terminate")
        if not isinstance(asha, dict) or not asha.get("grace") or not asha.get("reduction", 0) > 1:
            return []
        last = max((course.epochs[-1] for course in self.courses.values() if course.epochs), default=0)
        found, rung = [], int(asha["grace"])
        while rung <= last:
            found.append(rung)
            rung *= int(asha["reduction"])
        return found


def read_material(folder: Path) -> Material:
    """The run in `folder`.

    Raises:
        UserError: there is none, or a file of it is damaged.
    """
    results = read_run(folder)
    courses: dict[int, Course] = {}
    for line in read_lines(folder / JOURNAL) if (folder / JOURNAL).exists() else ():
        course = courses.setdefault(line["trial"], Course())
        if "time" in line:
            course.last = float(line["time"])
            course.first = course.last if course.first is None else course.first
        if "state" in line or line["cluster_epoch"] is None:
            continue
        cluster_epoch = line["cluster_epoch"]
        value = line["metrics"].get(results.metric)
        if value is not None and (not course.epochs or cluster_epoch > course.epochs[-1]):
            course.epochs.append(cluster_epoch)
            course.values.append(float(value))
    return Material(results=results, courses=courses, confirmed=confirmation_of(results))


def category(value: Any) -> Any:
    """A value that can be one of a few: a list has none of its own."""
    return str(value) if isinstance(value, list | Mapping) else value

"""Configurations that were tried on several seeds: which trials are of one, what it is worth, and which is the best.

A configuration is known by the number of its first trial. With one seed for each it is a trial, and nothing here changes it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .events import TrialEnd

if TYPE_CHECKING:
    from tuner.space.metric import Metric
    from tuner.space.seeding import Seeds

OUT = ("pruned", "failed", "stopped")  # a trial that ends so takes its configuration with it


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The trials of one configuration. `number`: of the first. `end`: as one trial, whose number is that of the seed in the middle,
    the score the mean over the seeds and the metrics theirs. `sd`: the spread of each metric over the seeds, and of the score under
    its own name, `score`; empty for one seed. `scores`: of each seed, by number."""

    number: int
    end: TrialEnd
    sd: Mapping[str, float] = field(default_factory=dict)
    scores: Sequence[float] = ()
    trials: Sequence[int] = ()

    @property
    def n(self) -> int:
        """On how many seeds."""
        return max(1, len(self.scores))


def number_of(end: TrialEnd) -> int:
    """The configuration of a trial."""
    return end.trial if end.configuration is None else end.configuration


def grouped(ends: Iterable[TrialEnd]) -> dict[int, list[TrialEnd]]:
    """The trials of each configuration, by number."""
    found: dict[int, list[TrialEnd]] = {}
    for end in sorted(ends, key=lambda end: end.trial):
        found.setdefault(number_of(end), []).append(end)
    return found


def counts(members: Sequence[TrialEnd], seeds: Seeds) -> bool:
    """Whether a configuration is ranked: none of its trials was stopped early or failed, none goes on, and it has had the seeds that
    are due to all. One that collapsed or diverged counts as the worst score. One that started from another's weights is never
    ranked."""
    if any(end.warm is not None for end in members):
        return False
    return len(members) >= (seeds.repeat if seeds.race is None else 1) and all(end.is_over and end.state not in OUT for end in members)


def merged(members: Sequence[TrialEnd], metric: Metric) -> Configuration:
    """A configuration of which `counts` holds; a trial that collapsed or diverged counts as the worst."""
    if len(members) == 1:
        (end,) = members
        return Configuration(number=number_of(end), end=end, scores=() if end.score is None else (end.score,), trials=(end.trial,))
    scores = [metric.worst if end.score is None else end.score for end in members]
    by_rank = sorted(zip(scores, members, strict=True), key=lambda one: (metric.rank(one[0]), one[1].trial))
    middle = by_rank[len(members) // 2][1]
    names = [name for name in middle.metrics if all(name in end.metrics for end in members)]
    values = {name: [end.metrics[name] for end in members] for name in names}
    complete = any(end.state == "complete" for end in members)
    end = replace(
        middle,
        state="complete" if complete else middle.state,
        score=statistics.fmean(scores) if complete else None,
        metrics={name: statistics.fmean(of) for name, of in values.items()},
        epochs=sum(end.epochs for end in members),
        seconds=sum(end.seconds for end in members),
    )
    sd = {name: statistics.stdev(of) for name, of in values.items() if name != "samples_per_s"} | {"score": statistics.stdev(scores)}
    return Configuration(number=number_of(members[0]), end=end, sd=sd, scores=scores, trials=[end.trial for end in members])


def rank_of(one: Configuration, metric: Metric, more: Sequence[Metric] = ()) -> tuple[float, ...]:
    """A key to sort by, best first. `more`: other metrics that decide, for those that are equal by the first: so what comes first is
    dominated by none."""
    score = math.inf if one.end.score is None else metric.rank(one.end.score)
    return -one.n, score, *(other.rank(one.end.metrics[other.name]) for other in more), one.number


def ranked(ends: Iterable[TrialEnd], seeds: Seeds, metric: Metric, more: Sequence[Metric] = ()) -> list[Configuration]:
    """The configurations that count, best first: those with most seeds, and of these by the mean; of equal ones the first."""
    whole = [merged(members, metric) for members in grouped(ends).values() if counts(members, seeds)]
    complete = [one for one in whole if one.end.state == "complete" and one.end.score is not None]
    return sorted(complete, key=lambda one: rank_of(one, metric, more))


class Standings:
    """The best configuration so far, as trials end."""

    def __init__(self, seeds: Seeds, metric: Metric, more: Sequence[Metric] = ()) -> None:
        """`more`: other metrics that decide."""
        self._more = more
        self._seeds, self._metric = seeds, metric
        self._groups: dict[int, list[TrialEnd]] = {}
        self._counting: dict[int, Configuration] = {}
        self.best: Configuration | None = None

    def add(self, end: TrialEnd) -> bool:
        """Gives whether the best one is now that of this trial."""
        members = self._groups.setdefault(number_of(end), [])
        members[:] = sorted([*(one for one in members if one.trial != end.trial), end], key=lambda one: one.trial)
        number = number_of(end)
        self._counting.pop(number, None)
        if counts(members, self._seeds):
            found = merged(members, self._metric)
            if found.end.state == "complete" and found.end.score is not None:
                self._counting[number] = found
        if self.best is not None and self.best.number != number and number not in self._counting:
            return False
        before, self.best = self.best, min(self._counting.values(), key=lambda one: rank_of(one, self._metric, self._more), default=None)
        return self.best is not None and self.best.number == number and (before is None or before != self.best)

    def ends(self) -> Iterable[TrialEnd]:
        """Of all trials so far."""
        return [end for members in self._groups.values() for end in members]

    def members(self, number: int) -> Sequence[TrialEnd]:
        """The trials of a configuration that have ended."""
        return self._groups.get(number, ())

    def decided(self, number: int) -> bool:
        """Whether nothing more can come of a configuration, whatever the others do."""
        members = self.members(number)
        if any(end.state in OUT and end.is_over for end in members):
            return True
        return self._seeds.race is None and len(members) >= self._seeds.repeat and all(end.is_over for end in members)

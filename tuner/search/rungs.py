"""The arithmetic of asynchronous successive halving, ASHA (Li et al. 2020, https://arxiv.org/abs/1810.05934)

Rungs stand at `grace`, `grace * reduction`, `grace * reduction**2`, … clustering epochs. A trial that reaches a rung stops there unless
its score is among the best 1/`reduction` of those that reached it before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from tuner.space.dominance import fronts
from tuner.space.metric import Metric


class Rungs:
    """The scores at each rung so far. The verdicts are those of `ray.tune.schedulers.AsyncHyperBandScheduler`, as a test asserts."""

    def __init__(self, *, grace: int, reduction: int, larger_is_better: bool) -> None:
        self._grace, self._reduction = grace, reduction
        self._sign = 1.0 if larger_is_better else -1.0
        self._scores: dict[int, dict[int, float]] = {}  # by rung and trial; larger is better

    def add(self, trial: int, cluster_epoch: int, score: float) -> bool:
        """Enters a score at the highest rung that the trial has reached and has no score at. True: the trial stops here."""
        for rung in reversed(self.reached(cluster_epoch)):
            scores = self._scores.setdefault(rung, {})
            if trial in scores:
                continue
            stops = bool(scores) and self._sign * score < self._cutoff(scores)
            scores[trial] = self._sign * score
            return stops
        return False

    def reached(self, cluster_epoch: int) -> list[int]:
        """The rungs up to a clustering epoch."""
        reached, rung = [], self._grace
        while rung <= cluster_epoch:
            reached.append(rung)
            rung *= self._reduction
        return reached

    def _cutoff(self, scores: dict[int, float]) -> float:
        return float(np.nanpercentile(list(scores.values()), (1 - 1 / self._reduction) * 100))


class SeedRungs(Rungs):
    """The rungs where a configuration has several seeds: the configuration stops, not one of its trials.

    Its score at a rung is the mean over those of its seeds that have reached it. The first of them is judged as in `Rungs`, against
    the means of the others. A later one moves the mean: the configuration stops where it is no longer among the best 1/`reduction` of
    all at that rung, stopped ones not counted as better, so that the best one that goes on never stops. All its trials stop then, each
    at its next score.
    """

    def __init__(self, *, grace: int, reduction: int, larger_is_better: bool) -> None:
        super().__init__(grace=grace, reduction=reduction, larger_is_better=larger_is_better)
        self._of: dict[int, int] = {}  # each trial's configuration
        self._stopped: set[int] = set()  # configurations
        self._means: dict[int, dict[int, dict[int, float]]] = {}  # scores by rung, configuration and trial; larger is better

    def belongs(self, trial: int, configuration: int) -> None:
        """Notes whose seed a trial is. A trial of which nothing is noted is a configuration."""
        self._of[trial] = configuration

    def add(self, trial: int, cluster_epoch: int, score: float) -> bool:
        own = self._of.get(trial, trial)
        if own in self._stopped:
            return True
        for rung in reversed(self.reached(cluster_epoch)):
            at_rung = self._means.setdefault(rung, {})
            mine = at_rung.setdefault(own, {})
            if trial in mine:
                continue
            others = {other: fmean(scores.values()) for other, scores in at_rung.items() if other != own}
            first = not mine
            mine[trial] = self._sign * score
            mean = fmean(mine.values())
            stops = self._outdone(mean, others) if first else self._overtaken(mean, others)
            if stops:
                self._stopped.add(own)
            return stops
        return False

    def _outdone(self, mean: float, others: Mapping[int, float]) -> bool:
        return bool(others) and mean < self._cutoff(dict(others))

    def _overtaken(self, mean: float, others: Mapping[int, float]) -> bool:
        better = sum(other > mean for number, other in others.items() if number not in self._stopped)
        return better >= math.ceil((len(others) + 1) / self._reduction)


class FrontRungs:
    """The rungs where several metrics decide: a trial stops unless fewer than ⌈n / `reduction`⌉ of the n that have reached the rung, itself
    included, lie in fronts before its own (non-dominated sorting, Deb et al. 2002). What no other dominates never stops."""

    def __init__(self, *, grace: int, reduction: int, metrics: Sequence[Metric]) -> None:
        self._rungs = Rungs(grace=grace, reduction=reduction, larger_is_better=True)
        self._reduction, self._metrics = reduction, metrics
        self._values: dict[int, dict[int, list[float]]] = {}  # by rung and trial; smaller is better

    def add(self, trial: int, cluster_epoch: int, values: Sequence[float]) -> bool:
        """Enters a trial's values at the highest rung that it has reached and has none at. True: the trial stops here."""
        for rung in reversed(self._rungs.reached(cluster_epoch)):
            at_rung = self._values.setdefault(rung, {})
            if trial in at_rung:
                continue
            at_rung[trial] = [metric.rank(value) for metric, value in zip(self._metrics, values, strict=True)]
            found = fronts(at_rung)
            return sum(front < found[trial] for front in found.values()) >= math.ceil(len(found) / self._reduction)
        return False

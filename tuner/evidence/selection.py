"""A run's configurations by criteria that look at no labels: metrics that were measured, what compares trials with each other, and ranks
of several together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from tuner.errors import UserError, did_you_mean
from tuner.metrics import METRICS, label_free, uses_labels
from tuner.runs.configurations import Configuration
from tuner.runs.partitions import Partition, read_partition
from tuner.runs.results import Results

from .spaces import ace
from .stability import stability

Goal = Literal["maximize", "minimize"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One that needs the trials of a run. `of`: a value for each configuration, given what its seeds made of the subsample. `seeds`: on how
    many each must have been tried. `doc`, `cost`: for docs/selection.md; S samples, T trials, K clusters."""

    of: Callable[[Sequence[Sequence[Partition]]], list[float]]
    doc: str
    cost: str
    seeds: int = 1
    goal: Goal = "maximize"


def _ace(found: Sequence[Sequence[Partition]]) -> list[float]:
    scores = iter(ace([one for seeds in found for one in seeds]).score_T.tolist())
    return [float(np.mean([next(scores) for _ in seeds])) for seeds in found]


CRITERIA: dict[str, Criterion] = {
    "ace": Criterion(
        of=_ace,
        doc="the silhouette of a trial's clusters in the latents of all trials, those that are admissible and agree",
        cost="in each of at most 50 latents S² distances, T × S² × K multiplications and 19 k-means of 300 samples: a second for each",
    ),
    "stability": Criterion(
        of=lambda found: [stability(seeds) for seeds in found],
        seeds=2,
        doc="how alike a configuration's clusters are on its seeds (adjusted Rand index), minus how alike their own parts are",
        cost="4 k-means of a cluster's samples, for each cluster and each two seeds: some seconds for a configuration with 5 seeds",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A configuration. `values`: of each criterion. `rank`: 1 is the best; the mean of the criteria's ranks where there are several."""

    configuration: Configuration
    values: Mapping[str, float]
    rank: float

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        one = self.configuration
        trials = list(one.trials) or [one.end.trial]
        reported = {name: one.end.metrics[name] for name in METRICS if uses_labels(name) and name in one.end.metrics}
        return {"configuration": one.number, "trials": trials, "rank": self.rank, "values": dict(self.values), "reported": reported}


def judged(results: Results, names: Sequence[str]) -> list[Judged]:
    """The configurations that count, best first by the criteria; of equal ones the first.

    Raises:
        UserError: there is no such criterion, it looks at labels, or the run lacks what it needs.
    """
    found = sorted(results.configurations(), key=lambda one: one.number)
    for name in names:
        _check(name, found)
    if not found:
        raise UserError(f"{results.name} has no complete trial yet: there is nothing to choose from.")
    values = {name: _values(name, results, found) for name in names}
    ranks = [rankdata([-value if goal_of(name) == "maximize" else value for value in values[name]]) for name in names]
    rank_C = np.mean(ranks, axis=0)
    order = sorted(range(len(found)), key=lambda i: (rank_C[i], found[i].number))
    return [Judged(configuration=found[i], values={name: values[name][i] for name in names}, rank=float(rank_C[i])) for i in order]


def goal_of(name: str) -> Goal:
    """Of a criterion: a metric, a loss, or one of `CRITERIA`."""
    if name in CRITERIA:
        return CRITERIA[name].goal
    return METRICS[name].goal if name in METRICS else "minimize"


def _check(name: str, found: Sequence[Configuration]) -> None:
    losses = sorted({metric for one in found for metric in one.end.metrics if metric.startswith("loss/")})
    known = [*CRITERIA, *label_free(), *losses]
    if uses_labels(name):
        raise UserError(f"'{name}' looks at labels, and --by chooses without them. It may be one of {', '.join(known)}.")
    if name not in known:
        raise UserError(f"There is no criterion '{name}'.{did_you_mean(name, known)} It may be one of {', '.join(known)}.")


def _values(name: str, results: Results, found: Sequence[Configuration]) -> list[float]:
    if name not in CRITERIA:
        missing = [one.number for one in found if name not in one.end.metrics]
        if missing:
            raise UserError(
                f"Trial {missing[0]} of {results.name} has no '{name}' in the epoch that its score is of: with `score: max` that need not "
                "be the last one, or an older tuner trained it. Choose by another one, such as ace."
            )
        return [one.end.metrics[name] for one in found]
    return CRITERIA[name].of([_partitions(one, results, name) for one in found])


def _partitions(one: Configuration, results: Results, name: str) -> list[Partition]:
    trials, fewest = list(one.trials) or [one.end.trial], CRITERIA[name].seeds
    found = [partition for trial in trials if (partition := read_partition(results.folder, trial)) is not None]
    if len(trials) < fewest:
        raise UserError(
            f"'{name}' compares the seeds of a configuration, but configuration {one.number} of {results.name} has {len(trials)}. Search "
            "with `seed: {repeat: 3}` in the space."
        )
    if len(found) < max(fewest, 1):
        raise UserError(
            f"{results.name} has kept no codes of trial {trials[0]}, which '{name}' needs: it was trained by an older tuner, or they were "
            "removed. Choose by a metric, such as silhouette."
        )
    return found

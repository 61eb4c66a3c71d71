"""How much of what sets the trials apart their parameters explain. The rest is the seeds', or of what was not searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.evidence.report import value_of
from tuner.runs.events import TrialEnd

from .material import Material, category

FEWEST = 30  # configurations: a forest learns nothing of fewer
FOLDS, TREES = 5, 100
NOTHING = 0.05  # a share that may be chance


@dataclass(frozen=True, kw_only=True)
class Explained:
    """`share`: the R2 with which a random forest that saw other configurations predicts the metric from all searched parameters, at most 1,
    below 0 where the mean predicts better; `alone`: from `first` alone, which its trees ask most. `epoch`: at which clustering epoch the
    trials are compared; None: their scores."""

    trials: int
    epoch: int | None
    share: float
    first: str
    alone: float

    def in_sentences(self, metric: str) -> Iterator[str]:
        at = "" if self.epoch is None else f" of clustering epoch {self.epoch}"
        yield (
            f"A random forest that saw four fifths of the configurations predicts the {metric}{at} of the others from their parameters "
            f"with R² {self.share:.2f} ({self.trials} trials, five folds): about that share of what sets trials apart is theirs."
        )
        if self.share < NOTHING:
            yield (
                "So nothing in these trials tells a good configuration from a bad one: their seeds do, or what was not searched. More "
                "trials find luckier seeds; wider ranges or other parameters may find more."
            )
        elif self.alone > self.share - NOTHING:
            yield f"{self.first} alone gives {self.alone:.2f}: what the other parameters do does not show beside it."


def explained_of(material: Material) -> Explained | None:
    """None where too few configurations have a figure that can be compared, or nothing varies."""
    epoch = material.rungs[0] if material.rungs else None
    known = [(end, value) for end in material.trials if end.config and (value := _figure(material, end, epoch)) is not None]
    ends, y_N = [end for end, _ in known], np.array([value for _, value in known])
    columns = {name: _column(material, name, ends) for name in material.searched} if ends else {}
    columns = {name: column_N for name, column_N in columns.items() if np.ptp(column_N) > 0}
    if not columns or np.ptp(y_N) == 0:
        return None
    x_NP = np.stack(list(columns.values()), axis=1)
    of_N = np.unique(x_NP, axis=0, return_inverse=True)[1].reshape(-1)  # which configuration a trial is of, whatever its seed
    if of_N.max() + 1 < FEWEST:
        return None
    names, fold_N = list(columns), _folds(of_N)
    first = int(np.argmax(_forest().fit(x_NP, y_N).feature_importances_))
    share = _r2(x_NP, y_N, fold_N)
    alone = share if len(names) == 1 else _r2(x_NP[:, [first]], y_N, fold_N)
    return Explained(trials=len(ends), epoch=epoch, share=share, first=names[first], alone=alone)


def _figure(material: Material, end: TrialEnd, epoch: int | None) -> float | None:
    """The metric at ASHA's first rung, to which all trials come; without rungs the score. The worst of a trial that came to nothing
    before."""
    course = material.courses.get(end.trial)
    if epoch is not None and course is not None and epoch in course.epochs:
        return course.values[course.epochs.index(epoch)]
    return value_of(end, material.metric) if epoch is None or end.state != "complete" else None


def _column(material: Material, name: str, ends: Sequence[TrialEnd]) -> NDArray[np.float64]:
    """(N,): a number as it was drawn, a choice by its number. Below all where the parameter had no say."""
    values = [category(end.config[name]) if material.active(name, end.config) else None for end in ends]
    there = {value for value in values if value is not None}
    if material.numeric(name):
        log = material.logarithmic(name) and min(there) > 0
        place = {value: float(np.log(value) if log else value) for value in there}
    else:
        place = {value: float(i) for i, value in enumerate(sorted(there, key=str))}
    below = min(place.values(), default=0.0) - max(1.0, np.ptp(list(place.values()) or [0.0]))
    return np.array([below if value is None else place[value] for value in values])


def _folds(of_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,): in which fold a trial is not seen. Seeds of one configuration lie in the same one, else they would give it away."""
    folds: NDArray[np.int64] = np.random.default_rng(0).permutation(of_N.max() + 1) % FOLDS
    return folds[of_N]


def _forest() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, min_samples_leaf=3, random_state=0)


def _r2(x_NP: NDArray[np.float64], y_N: NDArray[np.float64], fold_N: NDArray[np.int64]) -> float:
    """1 - the squared error of all folds over the variance."""
    predicted_N = np.empty_like(y_N)
    for fold in range(FOLDS):
        held_N = fold_N == fold
        predicted_N[held_N] = _forest().fit(x_NP[~held_N], y_N[~held_N]).predict(x_NP[held_N])
    return float(1 - np.square(y_N - predicted_N).sum() / np.square(y_N - y_N.mean()).sum())

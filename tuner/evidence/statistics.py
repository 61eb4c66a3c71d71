"""What a few trainings on different seeds say about a configuration: figures, intervals, comparisons.

All values are gains: the larger the better. For a metric that is to be small, give its negative.

The interval is chosen for its coverage at few seeds, which was simulated (tests/evidence/test_statistics.py). The bootstrap's BCa
interval (Efron 1987, https://doi.org/10.1080/01621459.1987.10478410), meant to hold the mean in 95 of 100 cases, does so in about 85 at
5 seeds and 91 at 10, and comes near at 20. Student's t interval does so in 95, or 93 for values as skewed as accuracies near 1 are.
So t is taken below 20 values and BCa from 20 on. Neither helps at 5 seeds against two modes far apart: there t holds the mean in 83.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
BCA_FROM = 20  # values
RESAMPLES = 9999


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Of a mean, at the level 0.95. `method`: t or BCa."""

    low: float
    high: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Of at least one value. `sd`: with n - 1; it and `interval` are None for a single value."""

    n: int
    mean: float
    sd: float | None
    median: float
    min: float
    max: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of two configurations on the seeds that both were trained on. `differences`: the first's value minus the second's, by seed.
    `probability`: that the first one's mean is the larger; None for a single seed."""

    differences: Mapping[int, float]
    mean: float
    interval: Interval | None
    probability: float | None


@dataclass(frozen=True, kw_only=True)
class Overtuning:
    """How much was lost by trusting the search's figure (Schneider, Bischl & Feurer 2025, https://arxiv.org/abs/2506.19540), among the
    configurations that were confirmed. `lost`: the best confirmed mean minus that of the search's choice, 0 or more. `relative`: as a
    part of what the best gains over the default; 1 or more: the choice is no better than the default. None where the default is best."""

    lost: float
    relative: float | None


def summary(values: Sequence[float]) -> Summary:
    """The figures of at least one value."""
    x = np.asarray(values, dtype=np.float64)
    sd = float(x.std(ddof=1)) if x.size > 1 else None
    least, median, most = (float(value) for value in np.quantile(x, [0, 0.5, 1]))
    return Summary(n=x.size, mean=float(x.mean()), sd=sd, median=median, min=least, max=most, interval=interval(values))


def interval(values: Sequence[float]) -> Interval | None:
    """Of the mean: t below 20 values, BCa from there on, t again where BCa is undefined, as for equal values. None for a single value."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return None
    found = bca(x) if x.size >= BCA_FROM else None
    if found is not None:
        return found
    half = float(special.stdtrit(x.size - 1, 0.5 + LEVEL / 2)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return Interval(low=float(x.mean()) - half, high=float(x.mean()) + half, method="t")


def bca(values: Sequence[float] | np.ndarray) -> Interval | None:
    """The bootstrap's, bias-corrected and accelerated; the same for the same values. None where it is undefined."""
    x = np.asarray(values, dtype=np.float64)
    if x.size < 2 or not np.ptp(x):
        return None
    how = {"confidence_level": LEVEL, "n_resamples": RESAMPLES, "method": "BCa", "random_state": np.random.default_rng(0)}
    from scipy import stats  # half a second to import, for this alone

    found = stats.bootstrap((x,), np.mean, **how).confidence_interval
    return Interval(low=float(found.low), high=float(found.high), method="BCa") if np.isfinite([found.low, found.high]).all() else None


def compare(first: Mapping[int, float], second: Mapping[int, float]) -> Comparison | None:
    """The two by seed; None where they share none."""
    differences = {seed: first[seed] - second[seed] for seed in first if seed in second}
    if not differences:
        return None
    values = list(differences.values())
    mean = float(np.mean(values))
    return Comparison(differences=differences, mean=mean, interval=interval(values), probability=probability(values))


def probability(differences: Sequence[float]) -> float | None:
    """That the mean of paired differences is above 0, a mean of 0 counted half: by Student's t below 20 of them, for a bootstrap of a few
    is as overconfident as its intervals; by a paired bootstrap from there on. None for a single difference.

    With t it is the posterior of a flat prior, so that it is above 0.975 exactly where the interval is above 0.
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.size < 2:
        return None
    if not np.ptp(x):
        return 0.5 + 0.5 * float(np.sign(x[0]))
    if x.size < BCA_FROM:
        return float(special.stdtr(x.size - 1, x.mean() / (x.std(ddof=1) / math.sqrt(x.size))))
    drawn = np.random.default_rng(0).choice(x, (RESAMPLES, x.size)).mean(1)
    return float((drawn > 0).mean() + 0.5 * (drawn == 0).mean())


def winners_curse(search_figure: float, confirmed: Sequence[float]) -> float:
    """How far the figure that a configuration was chosen by lies above its mean on seeds that played no part in choosing it."""
    return search_figure - float(np.mean(confirmed))


def overtuning(chosen: float, default: float, others: Sequence[float] = ()) -> Overtuning:
    """From confirmed means. `chosen`: of the search's best; `default`: of the model's default; `others`: of what else was confirmed."""
    best = max(chosen, default, *others)
    gain = best - default
    return Overtuning(lost=best - chosen, relative=(best - chosen) / gain if gain > 0 else None)

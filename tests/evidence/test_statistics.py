"""Intervals against simulations, figures against the textbook's formulas, the winner's curse against a known truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from tuner.evidence.statistics import bca, compare, interval, overtuning, probability, summary, winners_curse

Draw = Callable[[np.random.Generator, int], np.ndarray]
# Values of seeds, and their mean: even, uniform, and skewed as accuracies below 1 are.
SEEDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: rng.normal(0.85, 0.06, n), 0.85),
    "uniform": (lambda rng, n: rng.uniform(0.7, 0.95, n), 0.825),
    "skewed": (lambda rng, n: rng.beta(12, 2, n), 12 / 14),
}


def coverage(draw: Draw, mean: float, n: int, repeats: int = 4000) -> float:
    rng = np.random.default_rng(1)
    found = (interval(draw(rng, n).tolist()) for _ in range(repeats))
    return float(np.mean([one is not None and one.low <= mean <= one.high for one in found]))


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", SEEDS)
def test_the_interval_holds_the_mean_in_95_of_100_cases(name: str, n: int) -> None:
    assert 0.92 <= coverage(*SEEDS[name], n) <= 0.98


def test_bca_holds_it_too_seldom_at_five_seeds_which_is_why_t_is_taken() -> None:
    rng = np.random.default_rng(2)
    found = [bca(rng.normal(0, 1, 5)) for _ in range(400)]
    assert np.mean([one is not None and one.low <= 0 <= one.high for one in found]) < 0.9


def test_many_values_have_the_bootstrap_interval() -> None:
    x = np.random.default_rng(3).beta(5, 1, 30)
    found = interval(x.tolist())
    assert found is not None
    assert found.method == "BCa"
    assert found == bca(x)
    t = stats.t.interval(0.95, 29, x.mean(), x.std(ddof=1) / math.sqrt(30))
    assert found.low == pytest.approx(t[0], abs=0.02)
    assert found.high == pytest.approx(t[1], abs=0.02)


def test_bca_is_the_textbooks() -> None:
    """Efron & Tibshirani 1993, section 14.3, stated again: bias from the share below the mean, acceleration from the jackknife."""
    x = np.random.default_rng(4).gamma(2, 1, 40)
    drawn = np.sort(np.random.default_rng(5).choice(x, (200_000, 40)).mean(1))
    z0 = stats.norm.ppf((drawn < x.mean()).mean())
    without = (x.sum() - x) / 39
    d = without.mean() - without
    a = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    ends = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in stats.norm.ppf([0.025, 0.975])]
    found = bca(x)
    assert found is not None
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, ends), abs=0.03)  # percentiles lie 0.05 away


def test_figures_of_few_values_are_those_of_the_textbook() -> None:
    x = [0.91, 0.92, 0.88, 0.83, 0.82, 0.75]
    found = summary(x)
    assert (found.n, found.mean, found.median, found.min, found.max) == (6, pytest.approx(sum(x) / 6), pytest.approx(0.855), 0.75, 0.92)
    assert found.sd == pytest.approx(math.sqrt(sum((one - sum(x) / 6) ** 2 for one in x) / 5))
    assert found.interval is not None
    assert found.interval.method == "t"
    assert found.interval.high - found.mean == pytest.approx(2.5706 * found.sd / math.sqrt(6), rel=1e-4)  # t of 5 degrees in the tables


def test_a_single_value_and_equal_values_are_no_reason_to_fail() -> None:
    assert summary([0.5]).interval is None
    assert summary([0.5]).sd is None
    for n in (3, 25):
        found = interval([0.5] * n)
        assert found is not None
        assert (found.low, found.high, found.method) == (0.5, 0.5, "t")


def test_differences_are_paired_by_seed() -> None:
    first, second = {1: 0.9, 2: 0.8, 3: 0.7, 9: 0.1}, {3: 0.6, 2: 0.6, 1: 0.6, 7: 1.0}
    found = compare(first, second)
    assert found is not None
    assert found.differences == pytest.approx({1: 0.3, 2: 0.2, 3: 0.1})
    assert found.mean == pytest.approx(0.2)
    assert found.probability == pytest.approx(1 - stats.ttest_rel([0.9, 0.8, 0.7], [0.6, 0.6, 0.6], alternative="greater").pvalue)
    assert compare({1: 1.0}, {2: 1.0}) is None


def test_the_probability_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        x = rng.normal(0.5, 1, 8).tolist()
        found, p = interval(x), probability(x)
        assert found is not None
        assert p is not None
        assert (p > 0.975) == (found.low > 0)


def test_the_probability_of_many_is_the_bootstraps() -> None:
    x = np.random.default_rng(7).normal(0.2, 1, 25)
    z = x.mean() / (x.std() / 5)
    assert probability(x.tolist()) == pytest.approx(stats.norm.cdf(z), abs=0.02)
    assert probability([1.0, 1.0]) == 1.0
    assert probability([0.0, 0.0]) == 0.5
    assert probability([-1.0, -1.0]) == 0.0
    assert probability([1.0]) is None


def test_the_winners_curse_is_that_of_the_largest_of_many() -> None:
    """Ten configurations that are all worth 0.8, with seeds that move them by 0.06: the winner's figure is the largest of ten normal
    values, 1.5388 deviations above the mean (Tippett's tables), and its fresh seeds fall back to 0.8."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(3000):
        figures = rng.normal(0.8, 0.06, 10)
        found.append(winners_curse(float(figures.max()), rng.normal(0.8, 0.06, 10).tolist()))
    assert np.mean(found) == pytest.approx(1.5388 * 0.06, abs=0.002)


def test_no_curse_where_the_seeds_move_nothing() -> None:
    truth = np.linspace(0.7, 0.9, 10)
    assert winners_curse(float(truth.max()), [float(truth.max())] * 5) == 0.0


def test_overtuning_is_what_was_lost_of_the_gain_over_the_default() -> None:
    best = overtuning(chosen=0.9, default=0.8, others=(0.85,))
    assert (best.lost, best.relative) == (0.0, 0.0)
    half = overtuning(chosen=0.85, default=0.8, others=(0.9,))
    assert (half.lost, half.relative) == (pytest.approx(0.05), pytest.approx(0.5))
    worse = overtuning(chosen=0.75, default=0.8, others=(0.9,))
    assert worse.relative == pytest.approx(1.5)
    none = overtuning(chosen=0.75, default=0.8)
    assert (none.lost, none.relative) == (pytest.approx(0.05), None)

"""ASHA's arithmetic, with Ray's own scheduler as the oracle."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from tuner.search.rungs import Rungs

Event = tuple[int, int, float]  # trial, clustering epoch, score


def events(rng: random.Random, trials: int, epochs: int) -> list[Event]:
    """Every trial's epochs in their order, the trials among each other at random; some start late, skip epochs or repeat one, and
    scores are often equal."""
    ahead = {}
    for trial in range(trials):
        known = sorted(rng.sample(range(1, epochs + 1), rng.randint(1, epochs)))
        ahead[trial] = known + known[-1:] * rng.randint(0, 1)
    found = []
    while any(ahead.values()):
        trial = rng.choice([trial for trial, rest in ahead.items() if rest])
        score = rng.choice([rng.random(), rng.gauss(0, 1e6), float(rng.randint(0, 2)), -0.0, 1e-300])
        found.append((trial, ahead[trial].pop(0), score))
    return found


@pytest.mark.parametrize("goal", ["max", "min"])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_verdicts_are_those_of_rays_scheduler(goal: str, reduction: int) -> None:
    rng, stops = random.Random(reduction), 0
    for _ in range(100):
        grace, trials = rng.randint(1, 4), rng.randint(1, 12)
        rungs = Rungs(grace=grace, reduction=reduction, larger_is_better=goal == "max")
        oracle = AsyncHyperBandScheduler("cluster_epoch", "score", goal, max_t=10**9, grace_period=grace, reduction_factor=reduction)
        theirs: list[Any] = [SimpleNamespace(trial_id=str(trial)) for trial in range(trials)]
        for one in theirs:
            oracle.on_trial_add(None, one)  # type: ignore[arg-type]
        for trial, epoch, score in events(rng, trials, epochs=30):
            result = {"cluster_epoch": epoch, "score": score}
            stops_there = oracle.on_trial_result(None, theirs[trial], result) == oracle.STOP  # type: ignore[arg-type]
            assert rungs.add(trial, epoch, score) == stops_there
            stops += stops_there
    assert stops > 100


def test_a_score_is_compared_with_those_that_reached_the_rung_before() -> None:
    rungs = Rungs(grace=2, reduction=2, larger_is_better=True)
    assert not rungs.add(0, 1, 0.0), "before the first rung nothing is compared"
    assert not rungs.add(0, 2, 0.5), "the first at a rung goes on"
    assert rungs.add(1, 2, 0.4)
    assert not rungs.add(2, 3, 0.6), "a rung that was passed over counts where the trial is next heard of"
    assert not rungs.add(0, 3, 0.0), "at one rung a trial is judged once"
    assert not rungs.add(2, 4, 0.1)
    assert rungs.add(0, 4, 0.0)

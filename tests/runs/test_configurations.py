"""Configurations of several trials: what counts, what they are worth, and which is the best."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tuner.runs.configurations import Standings, counts, grouped, merged, ranked
from tuner.runs.events import TrialEnd
from tuner.space.metric import Metric
from tuner.space.seeding import Seeds

ACC = Metric(name="acc", goal="maximize")
THREE = Seeds(repeat=3)


def end(trial: int, score: float | None, of: int | None = None, state: str = "complete", **more: bool) -> TrialEnd:
    metrics = {} if score is None else {"acc": score, "nmi": score / 2}
    return TrialEnd(
        trial=trial, state=state, config={"seed": trial}, score=score, metrics=metrics, epochs=2, seconds=1.0, configuration=of, **more
    )


def test_a_configuration_is_worth_the_mean_of_its_seeds_and_stands_for_the_one_in_the_middle() -> None:
    found = merged([end(3, 0.9, 3), end(4, 0.6, 3), end(5, 0.7, 3)], ACC)
    assert found.number == 3 and found.trials == [3, 4, 5] and found.scores == [0.9, 0.6, 0.7] and found.n == 3
    assert found.end.score == pytest.approx(np.mean(found.scores)) and found.end.metrics["nmi"] == pytest.approx(np.mean(found.scores) / 2)
    assert found.sd["score"] == found.sd["acc"] == pytest.approx(np.std(found.scores, ddof=1))
    assert (found.end.trial, found.end.config, found.end.epochs, found.end.seconds) == (5, {"seed": 5}, 6, 3.0)


def test_of_an_even_number_the_worse_of_the_two_in_the_middle_stands_for_it() -> None:
    assert merged([end(0, 0.9, 0), end(1, 0.6, 0)], ACC).end.trial == 1


def test_a_seed_that_collapsed_is_the_worst_there_is() -> None:
    found = merged([end(0, 0.9, 0), end(1, None, 0, "collapsed"), end(2, 0.6, 0)], ACC)
    assert found.scores == [0.9, 0.0, 0.6] and found.end.score == pytest.approx(0.5) and found.end.state == "complete"
    assert merged([end(0, None, 0, "collapsed"), end(1, None, 0, "diverged"), end(2, None, 0, "collapsed")], ACC).end.score is None


@pytest.mark.parametrize("state", ["pruned", "failed", "stopped", "running"])
def test_a_configuration_with_a_seed_that_did_not_come_to_its_end_is_not_ranked(state: str) -> None:
    ends = [end(0, 0.9, 0), end(1, 0.9, 0), end(2, 0.9, 0, state, for_good=state == "stopped")]
    assert not counts(ends, THREE) and ranked(ends, THREE, ACC) == []


def test_a_configuration_that_lacks_seeds_is_not_ranked_unless_it_is_a_race() -> None:
    assert ranked([end(0, 0.9, 0), end(1, 0.9, 0)], THREE, ACC) == []
    (found,) = ranked([end(0, 0.9, 0), end(1, 0.9, 0)], Seeds(race=5), ACC)
    assert found.n == 2


def test_in_a_race_more_seeds_come_first() -> None:
    ends = [end(0, 0.99, 0), end(1, 0.8, 1), end(2, 0.8, 1), end(3, 0.7, 3), end(4, 0.7, 3)]
    assert [found.number for found in ranked(ends, Seeds(race=5), ACC)] == [1, 3, 0]


def test_with_one_seed_each_the_ranking_is_that_of_the_complete_trials() -> None:
    ends = [end(0, 0.5), end(1, 0.7), end(2, 0.9, state="pruned"), end(3, 0.7), end(4, None, state="failed")]
    assert [found.end for found in ranked(ends, Seeds(), ACC)] == [ends[1], ends[3], ends[0]]
    assert all(not found.sd for found in ranked(ends, Seeds(), ACC))


@pytest.mark.parametrize("seeds", [Seeds(), THREE, Seeds(race=5)])
@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_best_so_far_is_the_first_of_the_ranking_whenever_one_looks(seeds: Seeds, goal: str) -> None:
    rng, metric = random.Random(1), Metric(name="loss/x", goal=goal)  # type: ignore[arg-type]
    for _ in range(100):
        standings, ends = Standings(seeds, metric), []
        for trial in range(12):
            of = None if seeds.single else rng.choice([0, trial // 3 * 3, trial])
            state = rng.choice(["complete"] * 5 + ["pruned", "failed", "collapsed"])
            ends.append(end(trial, None if state != "complete" else float(rng.randint(0, 3)), of, state))
            before = standings.best
            changed = standings.add(ends[-1])
            first = next(iter(ranked(ends, seeds, metric)), None)
            assert standings.best == first
            assert changed == (first != before and first is not None and first.number == (trial if of is None else of))
        assert sorted(one.trial for one in standings.ends()) == list(range(12)) and set(grouped(ends)) <= set(range(12))


def test_a_configuration_is_decided_when_it_has_all_its_seeds_or_is_out() -> None:
    standings = Standings(THREE, ACC)
    for trial in range(3):
        assert not standings.decided(0)
        standings.add(end(trial, 0.5, 0))
    assert standings.decided(0)
    standings.add(end(3, 0.5, 3, "pruned"))
    assert standings.decided(3)
    race = Standings(Seeds(race=2), ACC)
    race.add(end(0, 0.5, 0))
    race.add(end(1, 0.5, 0))
    assert not race.decided(0), "in a race the others decide, too"

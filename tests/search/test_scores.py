"""The score of a trial, and the epoch that it is of."""

from dataclasses import replace

import pytest
from optuna.trial import TrialState

from tuner.runs.states import STATES
from tuner.search.scores import TrialScore
from tuner.search.study import optuna_end
from tuner.space.metric import Metric
from tuner.space.reader import read_space
from tuner.space.spec import Spec


def space(score: str, goal: str) -> Spec:
    return replace(read_space("kmeans"), score=score, metric=Metric(name="acc", goal=goal))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "goal", "value", "epoch"),
    [
        ("last", "maximize", 0.4, 4),
        ("max", "maximize", 0.5, 3),  # of equal ones the last, whose weights are kept
        ("max", "minimize", 0.2, 1),
        ("mean_last_5", "maximize", 0.4, 4),
    ],
)
def test_a_score_knows_its_value_and_its_epoch(score: str, goal: str, value: float, epoch: int) -> None:
    made = TrialScore(space(score, goal))
    assert (made.value, made.epoch) == (None, 0)
    newest = [made.add(x) for x in (0.2, 0.5, 0.5, 0.4)]
    assert made.value == pytest.approx(value) and made.epoch == epoch
    assert newest[-1] == (epoch == 4) and newest[0]
    again = TrialScore(space(score, goal), [0.2, 0.5, 0.5, 0.4])
    assert (again.value, again.epoch, again.after(1)) == (made.value, made.epoch, 0.2)


def test_every_state_has_one_for_optuna_and_a_value_where_that_needs_one() -> None:
    metric = Metric(name="acc", goal="maximize")
    ends = {state: optuna_end(state, 0.5, metric) for state in STATES}
    assert ends == {
        "complete": (TrialState.COMPLETE, 0.5),
        "pruned": (TrialState.PRUNED, None),
        "stopped": (TrialState.FAIL, None),
        "failed": (TrialState.FAIL, None),
        "diverged": (TrialState.COMPLETE, 0.0),
        "collapsed": (TrialState.COMPLETE, 0.0),
    }


def test_which_of_two_values_is_better_depends_on_the_goal() -> None:
    more, less = Metric(name="acc", goal="maximize"), Metric(name="error", goal="minimize")
    assert more.better(0.5, 0.4) and not more.better(0.5, 0.5) and less.better(0.4, 0.5)
    assert (more.best([0.4, 0.5]), less.best([0.4, 0.5]), more.mode, less.mode) == (0.5, 0.4, "max", "min")

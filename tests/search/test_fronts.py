"""Several metrics that decide: dominance, rungs, what Optuna is told, and what is best then."""

from __future__ import annotations

import math
import random
from itertools import combinations
from pathlib import Path

import optuna
import pytest

from tuner.errors import UserError
from tuner.runs.configurations import Standings, ranked
from tuner.runs.events import TrialEnd
from tuner.runs.records import EpochLine
from tuner.search.rungs import FrontRungs
from tuner.space.dominance import dominates, fronts
from tuner.space.metric import Metric
from tuner.space.reader import read_space
from tuner.space.seeding import Seeds
from tuner.space.spec import Spec
from tuner.tune.result import TuneResult
from tuner.tune.searcher import StudySearch

ACC, LOSS = Metric(name="acc", goal="maximize"), Metric(name="loss/recon", goal="minimize")
SPACE = """\
model: MODEL
dataset: {name: digits, limit: 200}
METRICS
trials: 30
epochs: 4
parameters: {PARAMETERS}
"""


def read(folder: Path, metrics: str, model: str = "aae_unsup", parameters: str = "lr_ae: {min: 1e-4, max: 1e-2}") -> Spec:
    (folder / "space.yaml").write_text(SPACE.replace("MODEL", model).replace("METRICS", metrics).replace("PARAMETERS", parameters))
    return read_space(str(folder / "space.yaml"))


# --- dominance ---------------------------------------------------------------------------------------------------------


def enumerated(points: list[tuple[float, ...]]) -> list[int]:
    """The front of each point as the length of the longest chain of points that dominate one another and end before it."""
    found: dict[int, int] = {}

    def front(i: int) -> int:
        if i not in found:
            better = [
                j for j in range(len(points)) if points[j] != points[i] and all(a <= b for a, b in zip(points[j], points[i], strict=True))
            ]
            found[i] = max((1 + front(j) for j in better), default=0)
        return found[i]

    return [front(i) for i in range(len(points))]


@pytest.mark.parametrize("n_metrics", [1, 2, 3])
def test_fronts_are_those_of_enumeration(n_metrics: int) -> None:
    rng = random.Random(n_metrics)
    for _ in range(200):
        points = [tuple(float(rng.randint(0, 5)) for _ in range(n_metrics)) for _ in range(rng.randint(0, 15))]
        assert list(fronts(dict(enumerate(points))).values()) is not None
        found = fronts(dict(enumerate(points)))
        assert [found[i] for i in range(len(points))] == enumerated(points)
        for a, b in combinations(points, 2):
            assert not (dominates(a, b) and dominates(b, a)) and not dominates(a, a)


@pytest.mark.parametrize("reduction", [2, 3])
def test_a_trial_goes_on_at_a_rung_by_how_many_lie_in_fronts_before_it(reduction: int) -> None:
    rng, stops = random.Random(reduction), 0
    for _ in range(100):
        rungs, seen = FrontRungs(grace=2, reduction=reduction, metrics=(ACC, LOSS)), []
        for trial in range(12):
            values = (rng.randint(0, 6) / 6, float(rng.randint(0, 6)))
            assert not rungs.add(trial, 1, values), "there is no rung yet"
            seen.append((-values[0], values[1]))
            front = enumerated(seen)
            stopped = rungs.add(trial, 2, values)
            assert stopped == (sum(other < front[-1] for other in front) >= math.ceil(len(seen) / reduction))
            assert not (stopped and front[-1] == 0), "what none dominates goes on"
            assert not rungs.add(trial, 3, (0.0, 99.0)), "the next rung is further on"
            stops += stopped
    assert stops > 100


# --- the best ----------------------------------------------------------------------------------------------------------


def end(trial: int, acc: float, loss: float, state: str = "complete") -> TrialEnd:
    return TrialEnd(trial=trial, state=state, config={}, score=acc, metrics={"acc": acc, "loss/recon": loss})


def test_the_best_by_the_first_metric_is_dominated_by_none_and_the_same_whenever_one_looks() -> None:
    rng = random.Random(4)
    for _ in range(100):
        ends = [end(i, rng.randint(0, 3) / 3, float(rng.randint(0, 3))) for i in range(10)]
        standings = Standings(Seeds(), ACC, [LOSS])
        for one in ends:
            standings.add(one)
        best = ranked(ends, Seeds(), ACC, [LOSS])[0]
        assert standings.best == best and best.end.score == max(one.score or 0.0 for one in ends)
        own = (-best.end.metrics["acc"], best.end.metrics["loss/recon"])
        assert not any(dominates((-one.metrics["acc"], one.metrics["loss/recon"]), own) for one in ends)


# --- Optuna ------------------------------------------------------------------------------------------------------------


def ends(search: StudySearch, tune_id: str, trial: int, values: tuple[float, float], ended: str | None) -> None:
    line: EpochLine = {"trial": trial, "epoch": 4, "phase": "p", "cluster_epoch": 4, "metrics": {"acc": values[0], "loss/recon": values[1]}}
    score = 0.0 if ended == "collapsed" else values[0]
    result = TuneResult(trial=trial, node="n", ended=ended, line=line, score=score).for_tune()
    search.on_trial_result(tune_id, result)
    search.on_trial_complete(tune_id, result)


def test_optuna_is_told_all_metrics_with_their_goals_and_the_worst_of_what_collapsed(tmp_path: Path) -> None:
    search = StudySearch(read(tmp_path, "metrics: [acc, loss/recon]"), tmp_path, "s")
    for i, ended in enumerate(["complete", None, "collapsed", "complete"] * 5):
        found = search.suggest(str(i))
        assert isinstance(found, dict)
        ends(search, str(i), i, (i / 20, 1.0 + i), ended)
    study = optuna.load_study(study_name="s", storage=search.study._storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.state.name for trial in study.trials[:3]] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert [trial.values for trial in study.trials[:4]] == [[0.0, 1.0], None, [0.0, 1e9], [3 / 20, 4.0]]
    assert {trial.number for trial in study.best_trials} == {0, 3, 4, 7, 8, 11, 12, 15, 16, 19}
    assert len({str(trial.params) for trial in study.trials}) == 20, "TPE proposes, twice as often as it needs to model them"


@pytest.mark.parametrize("method", ["gp", "random", "qmc"])
def test_other_methods_propose_too(method: str, tmp_path: Path) -> None:
    search = StudySearch(read(tmp_path, f"metrics: [acc, loss/recon]\nmethod: {method}"), tmp_path, "s")
    for i in range(13):
        assert isinstance(search.suggest(str(i)), dict)
        ends(search, str(i), i, (i / 20, 1.0 + i), "complete")


# --- the key -----------------------------------------------------------------------------------------------------------


def test_the_first_is_the_metric_and_goals_follow_from_the_names(tmp_path: Path) -> None:
    spec = read(tmp_path, "metrics: [acc, {name: loss/recon, goal: minimize}, silhouette]")
    assert spec.metric == ACC and spec.metrics is not None
    assert [(metric.name, metric.goal) for metric in spec.metrics] == [
        ("acc", "maximize"),
        ("loss/recon", "minimize"),
        ("silhouette", "maximize"),
    ]
    assert spec.resolved()["metric"]["name"] == "acc" and [metric["name"] for metric in spec.resolved()["metrics"]] == list(spec.objectives)
    assert read(tmp_path, "metric: {name: acc}").metrics is None


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("metrics: [acc]", "3: 'metrics' must be a list of 2 to 4 metrics, such as [acc, silhouette], but got a list."),
        ("metrics: acc", "3: 'metrics' must be a list of 2 to 4 metrics, such as [acc, silhouette], but got 'acc'."),
        ("metrics: [acc, acc]", "3: 'metrics' names 'acc' twice."),
        ("metrics: [acc, {name: nmi, goal: minimize}]", "3: 'nmi' is better the higher: its goal is maximize."),
        ("metrics: [acc, sillhouette]", "3: there is no metric 'sillhouette'. Did you mean 'silhouette'? Known are "),
        ("metrics: [acc, nmi]\nmetric: {name: acc}",
         "3: 'metric' and 'metrics' are both given: keep 'metric' where one decides, 'metrics' where several do."),
        ("metrics: [acc, nmi]\nscore: max", "4: 'score' cannot be max where several metrics decide: each by itself would take "),
        ("metrics: [acc, nmi]\nseed: {repeat: 2}",
         "4: 'seed' must be a number where several metrics decide: their means over seeds are not compared yet."),
        ("metrics: [silhouette, nmi]\nselect: {labels: never}", "3: 'nmi' looks at the labels, and select: {labels: never} "),
    ],
)  # fmt: skip
def test_what_is_said_wrongly_is_named(metrics: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, metrics)
    (line,) = str(refused.value).splitlines()[1:]
    assert line.startswith(f"  space.yaml:{message}")


def test_every_metric_must_go_with_what_is_searched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"space\.yaml:3: 'n_clusters' cannot be searched by 'balance'"):
        read(tmp_path, "metrics: [acc, balance]", "kmeans", "n_clusters: {values: [5, 10]}")

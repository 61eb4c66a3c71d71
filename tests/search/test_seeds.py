"""Which configuration gets another seed, what Optuna is told, and when a configuration stops."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from kit.searches import space

from tuner.search.proposals import new_sampler, trial_seed
from tuner.search.rungs import Rungs, SeedRungs
from tuner.search.seeds import OfConfigurations, SeedPlan
from tuner.space.metric import Metric
from tuner.space.seeding import Seeds
from tuner.tune.searcher import StudySearch

ACC = Metric(name="acc", goal="maximize")
SPACE = """
model: aae_unsup
dataset: digits
metric: {name: acc, goal: maximize}
epochs: 2
early_terminate: none
trials: 6
METHOD
seed: SEEDS
parameters:
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  dropout: {min: 0.0, max: 0.5}
"""


def searcher(folder: Path, seeds: str = "{repeat: 3}", method: str = "") -> StudySearch:
    folder.mkdir(exist_ok=True)
    return StudySearch(space(folder, SPACE.replace("SEEDS", seeds).replace("METHOD", method)), folder, "s")


def ended(search: StudySearch, tune_id: str, score: float, state: str | None = "complete") -> None:
    search.on_trial_complete(tune_id, {"score": score, "cluster_epoch": 2, "ended": state})


def asked(search: StudySearch, tune_id: str) -> dict[str, Any]:
    found = search.suggest(tune_id)
    assert isinstance(found, dict), found
    return found


# --- repeat ------------------------------------------------------------------------------------------------------------


def test_each_configuration_is_tried_on_its_seeds_before_the_next_one(tmp_path: Path) -> None:
    search = searcher(tmp_path)
    found = [asked(search, str(i)) for i in range(18)]
    assert search.suggest("more") == search.FINISHED
    assert [one["trial"] for one in found] == list(range(18)) and [one["configuration"] for one in found] == [i // 3 * 3 for i in range(18)]
    assert [one["config"]["seed"] for one in found] == [trial_seed(0, i) for i in range(18)], "no two trials have one seed"
    plain = [{name: value for name, value in one["config"].items() if name != "seed"} for one in found]
    assert all(plain[i] == plain[i // 3 * 3] for i in range(18)) and len({str(config) for config in plain}) == 6


@pytest.mark.parametrize("state", [None, "failed", "stopped"])
def test_a_configuration_with_a_seed_that_is_out_gets_no_more(state: str | None, tmp_path: Path) -> None:
    search = searcher(tmp_path)
    asked(search, "0")
    if state == "failed":
        search.on_trial_complete("0", error=True)
    elif state == "stopped":
        search.on_trial_complete("0")
    else:
        ended(search, "0", 0.5, None)
    assert asked(search, "1")["configuration"] == 1
    assert asked(search, "2")["configuration"] == 1
    told = OfConfigurations("s", search.study._storage, search.spec.seeds).get_trials()
    assert [trial.state.name for trial in told] == ["PRUNED" if state is None else "FAIL", "RUNNING"]


def test_optuna_is_told_the_mean_and_the_worst_of_a_seed_that_collapsed(tmp_path: Path) -> None:
    search = searcher(tmp_path)
    for i, (score, state) in enumerate([(0.9, "complete"), (0.6, "complete"), (0.0, "collapsed"), (0.4, "complete")]):
        asked(search, str(i))
        ended(search, str(i), score, state)
    first, second = OfConfigurations("s", search.study._storage, search.spec.seeds).get_trials()
    assert first.state == optuna.trial.TrialState.COMPLETE and first.value == pytest.approx(0.5) and first.number == 0
    assert second.state == optuna.trial.TrialState.RUNNING, "it lacks two seeds"
    assert [trial.value for trial in search.study.trials] == [0.9, 0.6, 0.0, 0.4], "the study keeps what each seed came to"


@pytest.mark.parametrize("method", ["tpe", "gp", "random"])  # qmc looks at no scores, and counts in the study
def test_a_sampler_proposes_as_if_each_configuration_were_one_trial_of_that_mean(method: str, tmp_path: Path) -> None:
    search, rng = searcher(tmp_path, method=f"method: {method}\nname: x"), random.Random(2)
    search.spec = replace(search.spec, trials=20)
    plain = optuna.create_study(direction="maximize")
    for i in range(14):
        scores = [rng.random() for _ in range(3)]
        for seed, score in enumerate(scores):
            asked(search, f"{i} {seed}")
            ended(search, f"{i} {seed}", score)
        of = search.study.trials[3 * i]
        plain.add_trial(optuna.trial.create_trial(
            params=of.params, distributions=of.distributions, values=[fmean(scores)], state=optuna.trial.TrialState.COMPLETE
        ))  # fmt: skip
    told = OfConfigurations("s", search.study._storage, search.spec.seeds)
    assert [trial.value for trial in told.get_trials()] == pytest.approx([trial.value for trial in plain.trials])
    found = []
    for study in (told, plain):
        sampler, asking = new_sampler(search.spec, 99, 0), study.ask()
        frozen = study._storage.get_trial(asking._trial_id)
        found.append(sampler.sample_relative(study, frozen, sampler.infer_relative_search_space(study, frozen)))
    assert found[0] == pytest.approx(found[1])


def test_an_asked_for_configuration_has_all_its_seeds_with_what_was_asked_for(tmp_path: Path) -> None:
    from tuner.space.request import read_wanted

    search = searcher(tmp_path)
    wanted = read_wanted(search.spec, ["lr_ae=0.003", "dropout=0.25", "hidden=64"])
    assert search.enqueue(wanted, {"order": "a", "like": None, "set": [], "beside": dict(wanted.beside)}) == 0
    found = [asked(search, str(i)) for i in range(4)]
    assert [one["configuration"] for one in found] == [0, 0, 0, 3] and [one["asked_for"] for one in found] == [True, True, True, False]
    assert {one["config"]["hidden"] for one in found[:3]} == {64} != {found[3]["config"]["hidden"]}
    assert {one["config"]["lr_ae"] for one in found[:3]} == {0.003}


def test_a_searcher_made_anew_goes_on_with_the_configuration_that_lacks_seeds(tmp_path: Path) -> None:
    search = searcher(tmp_path / "a")
    for i in range(4):
        asked(search, str(i))
        ended(search, str(i), 0.1 * i)
    again = StudySearch(search.spec, shutil.copytree(tmp_path / "a", tmp_path / "b"), "s")
    theirs, ours = [asked(search, f"b{i}") for i in range(5)], [asked(again, f"b{i}") for i in range(5)]
    assert [one["configuration"] for one in ours] == [3, 3, 6, 6, 6]
    assert ours == theirs


# --- race --------------------------------------------------------------------------------------------------------------


def raced(seeds: Seeds, n_configurations: int, rng: random.Random, at_once: int, metric: Metric = ACC) -> dict[int, list[float]]:
    """Plays a race with random ends in random order, and checks the rule at every seed that is given: by its own statement of it."""
    plan, running, scores, next_trial = SeedPlan(seeds, metric), {}, {}, 0  # type: ignore[var-annotated]
    means = [rng.random() for _ in range(n_configurations)]
    members: dict[int, list[int]] = {}
    out: set[int] = set()

    def reached(level: int) -> dict[int, float]:
        whole = {c: [scores.get(t) for t in ts[:level]] for c, ts in members.items() if len(ts) >= level}
        return {c: fmean(of) for c, of in whole.items() if None not in of}  # type: ignore[type-var, arg-type]

    while True:
        new = len(members) < n_configurations
        due = plan.due() if len(running) < at_once else None
        last = not new and not running
        due = plan.due(last=True) if due is None and last else due
        if len(running) < at_once and (due is not None or new):
            if due is None:
                members[next_trial] = []
            else:
                assert due not in out, "a configuration that is out got a seed"
                n = len(members[due])
                level = max((level for level in seeds.levels if level <= n), default=0)
                if n == level:  # it is let up to the next level
                    at = reached(level)
                    better = sum((metric.rank(value), c) < (metric.rank(at[due]), due) for c, value in at.items())
                    assert better < max(len(at) // seeds.reduction, 1 if last else 0), (
                        "a dominated configuration got more seeds than its rule says"
                    )
                assert n < seeds.most
            own = next_trial if due is None else due
            members[own].append(next_trial)
            plan.begin(next_trial, own)
            running[next_trial] = own
            next_trial += 1
        elif running:
            trial = rng.choice(list(running))
            own = running.pop(trial)
            state = rng.choices(["complete", "pruned", "failed", "collapsed"], [8, 2, 0.5, 0.5])[0]
            score = {"complete": round(means[list(members).index(own)] + rng.gauss(0, 0.1), 1), "collapsed": 0.0}.get(state)
            if state in ("pruned", "failed"):
                out.add(own)
            scores[trial] = score
            plan.end(trial, own, state, score)
        else:
            break
    assert not plan.undecided() and plan.due(last=True) is None
    return {c: [scores[t] for t in ts] for c, ts in members.items() if c not in out}


@pytest.mark.parametrize("seeds", [Seeds(race=5), Seeds(race=9, reduction=2), Seeds(race=2), Seeds(race=10, reduction=4)])
@pytest.mark.parametrize("at_once", [1, 4])
def test_a_race_gives_seeds_by_its_rule_and_ends_with_a_winner_that_has_them_all(seeds: Seeds, at_once: int) -> None:
    rng = random.Random(3)
    for goal in ("maximize", "minimize") * 25:
        left = raced(seeds, rng.randint(1, 20), rng, at_once, Metric(name="acc", goal=goal))  # type: ignore[arg-type]
        assert all(1 <= len(scores) <= seeds.most for scores in left.values())


def test_one_configuration_alone_gets_all_seeds_at_the_end() -> None:
    plan = SeedPlan(Seeds(race=3), ACC)
    plan.begin(0, 0)
    assert plan.due() is None and plan.due(last=True) is None and plan.undecided()
    plan.end(0, 0, "complete", 0.5)
    assert plan.due() is None and plan.due(last=True) == 0


def test_the_searcher_waits_for_what_may_earn_more_seeds_and_then_ends(tmp_path: Path) -> None:
    search = searcher(tmp_path, "{race: 3}")
    first = [asked(search, str(i)) for i in range(6)]
    assert [one["configuration"] for one in first] == list(range(6))
    assert search.suggest("x") is None, "later"
    for i in range(6):
        ended(search, str(i), [0.1, 0.9, 0.5, 0.4, 0.8, 0.2][i])
    more = [asked(search, f"m{i}") for i in range(4)]
    assert [one["configuration"] for one in more] == [1, 1, 4, 4], "a third of six"
    assert search.suggest("x") is None
    for i in range(4):
        ended(search, f"m{i}", 0.5)
    assert search.suggest("x") == search.FINISHED and search.full


# --- early stopping ----------------------------------------------------------------------------------------------------


def test_with_one_seed_each_configurations_stop_as_trials_do() -> None:
    rng = random.Random(5)
    for _ in range(50):
        kinds = [kind(grace=2, reduction=3, larger_is_better=True) for kind in (Rungs, SeedRungs)]
        going = set(range(8))
        for epoch in range(1, 30):
            for trial in sorted(going):
                score = rng.random()
                one, other = (kind.add(trial, epoch, score) for kind in kinds)
                assert one == other
                going -= {trial} if one else set()


def test_a_configuration_is_judged_by_the_mean_of_its_seeds_at_the_rung() -> None:
    rungs = SeedRungs(grace=5, reduction=2, larger_is_better=True)
    for trial in range(6):
        rungs.belongs(trial, trial // 3 * 3)
    assert not rungs.add(0, 5, 0.9) and not rungs.add(1, 5, 0.7), "there is no other yet"
    assert not rungs.add(3, 5, 0.85), "better than the mean of the other, 0.8"
    assert not rungs.add(2, 4, 0.0), "no rung"
    assert not rungs.add(4, 5, 0.75), "a mean of 0.8 each"
    assert rungs.add(5, 5, 0.5), "a mean of 0.7, beside one of 0.8: half of two go on"
    assert rungs.add(3, 6, 1.0) and rungs.add(4, 7, 1.0), "its other seeds stop at their next score, whatever that is"
    assert not rungs.add(0, 10, 0.1) and not rungs.add(2, 5, 0.1), "the one that is left never stops"


@pytest.mark.parametrize("larger", [True, False])
def test_the_best_configuration_that_goes_on_never_stops_by_a_later_seed(larger: bool) -> None:
    rng = random.Random(7)
    for _ in range(200):
        n_configurations, n_seeds, eta = rng.randint(1, 8), rng.randint(2, 4), rng.randint(2, 4)
        rungs = SeedRungs(grace=1, reduction=eta, larger_is_better=larger)
        going = {c: [(c * n_seeds + i, c) for i in range(n_seeds)] for c in range(n_configurations)}
        for c, trials in going.items():
            for trial, _ in trials:
                rungs.belongs(trial, c)
        order = [one for trials in going.values() for one in trials]
        rng.shuffle(order)
        stopped: set[int] = set()
        for trial, c in order:
            if c not in stopped and rungs.add(trial, 1, rng.random()):
                stopped.add(c)
        assert len(stopped) < n_configurations

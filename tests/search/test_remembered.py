"""What TPE is shown of a long search: the best and the latest, and what runs."""

from __future__ import annotations

import math
import random

import optuna
import pytest
from optuna.samplers._tpe.sampler import (  # how TPE tells the best from the others, in the Optuna that is installed
    _split_trials,
    default_gamma,
)
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from tuner.search import remembered
from tuner.search.proposals import Proposals, new_sampler
from tuner.search.remembered import BEST, MOST, Remembered
from tuner.space.reader import read_space

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
SPEC = read_space("idec")
SPEC_LR = Proposals(SPEC).distributions["lr"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 30)
    monkeypatch.setattr(remembered, "BEST", 5)


def studied(direction: str = "maximize") -> tuple[optuna.Study, Remembered]:
    storage = InMemoryStorage()
    whole = optuna.create_study(storage=storage, study_name="s", direction=direction)
    return whole, Remembered("s", storage, whole)


def seen_now(whole: optuna.Study) -> Remembered:
    found = Remembered(whole.study_name, whole._storage, whole)
    found.refresh()
    return found


def end(study: optuna.Study, trial: optuna.Trial, rng: random.Random) -> None:
    kind = rng.choice(["complete", "complete", "pruned", "pruned", "silent", "nan", "failed"])
    if kind in ("pruned", "nan"):
        for step in range(1, rng.randint(2, 5)):
            trial.report(math.nan if kind == "nan" else rng.randint(0, 9) / 10, step)
    state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}.get(kind, TrialState.PRUNED)
    study.tell(trial, rng.randint(0, 9) / 10 if kind == "complete" else None, state=state)


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_it_is_shown_what_runs_and_the_best_and_the_latest_of_what_is_finished(direction: str) -> None:
    whole, shown = studied(direction)
    rng = random.Random(direction)
    running: list[optuna.Trial] = []
    for _ in range(150):
        running.append(whole.ask())
        if rng.random() < 0.8:
            end(whole, running.pop(rng.randrange(len(running))), rng)
        shown.refresh()
        finished = whole.get_trials(states=FINISHED)
        best = numbers(_split_trials(whole, finished, 5)[0])
        latest = [number for number in numbers(finished) if number not in best][-25:]
        assert numbers(shown.get_trials(states=FINISHED)) == sorted(best + latest)
        assert numbers(shown.get_trials(states=(TrialState.RUNNING,))) == [
            trial.number for trial in sorted(running, key=lambda t: t.number)
        ]
    assert len(finished) > 60 and len(running) > 10
    assert numbers(seen_now(whole).get_trials()) == numbers(shown.get_trials())  # as a search sees it that goes on


@pytest.mark.usefixtures("few")
def test_until_the_next_look_it_stays_as_it_was() -> None:
    whole, shown = studied()
    shown.refresh()
    trial = whole.ask()
    assert shown.get_trials() == []
    shown.refresh()
    whole.tell(trial, 0.5)
    shown.refresh()
    assert [found.state for found in shown.get_trials()] == [TrialState.COMPLETE]


def test_tpe_calls_no_more_trials_good_than_are_remembered() -> None:
    assert default_gamma(MOST) == default_gamma(100 * MOST) == BEST


def asked(whole: optuna.Study) -> FrozenTrial:
    """The one that a proposal is for."""
    number = whole.ask().number
    return whole.get_trials()[number]


def filled(whole: optuna.Study, proposals: Proposals, n: int) -> None:
    """`n` trials of random values."""
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for i in range(n):
        params = drawn.ask(dict(proposals.distributions)).params
        found = optuna.trial.create_trial(params=params, distributions=dict(proposals.distributions), value=params["lr"] * (i % 7))
        whole.add_trial(found)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("n", "same"), [(12, True), (30, True), (90, False)])
def test_a_search_of_no_more_trials_has_the_same_proposals(n: int, same: bool) -> None:
    whole, shown = studied()
    filled(whole, Proposals(SPEC), n)
    trial = asked(whole)
    of_all, of_some = (Proposals(SPEC).propose(study, trial) for study in (whole, shown))
    assert (of_all == of_some) is same


@pytest.mark.usefixtures("few")
def test_what_is_drawn_together_is_what_all_trials_have_and_not_only_the_remembered() -> None:
    whole, shown = studied("minimize")
    whole.add_trial(optuna.trial.create_trial(params={"lr": 1e-3}, distributions={"lr": SPEC_LR}, value=1e9))
    proposals = Proposals(SPEC)
    filled(whole, proposals, 60)
    shown.refresh()
    assert 0 not in numbers(shown.get_trials())
    trial = asked(whole)
    assert set(proposals._together(new_sampler(SPEC, 61, 0), shown, trial)) == {"lr"}

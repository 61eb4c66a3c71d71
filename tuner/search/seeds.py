"""Which configuration is tried on another seed: all of them (`repeat`), or those that deserve it (`race`).

In a race a configuration begins with one seed. It gets the seeds up to the next level (1, 3, 9, … up to the most) where its mean is
among the best 1/`reduction` of all that have come so far: successive halving, with seeds in place of epochs (Li et al. 2020,
https://arxiv.org/abs/1810.05934), which is what SMAC calls intensification. One goes on only while it is among the best
⌊m / reduction⌋ of the m that have come to its level; at the end always the best one, so that the winner has had all its seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from optuna import Study
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from tuner.runs.configurations import OUT
from tuner.runs.events import Past
from tuner.runs.states import STATES
from tuner.space.metric import Metric
from tuner.space.seeding import Seeds
from tuner.space.spec import Spec

CONFIGURATION = "configuration"  # in a trial's user attributes, where configurations have several seeds: the number of its first trial


def configuration_of(trial: FrozenTrial) -> int:
    """The configuration of a trial of the study, by its first trial's number."""
    return int(trial.user_attrs.get(CONFIGURATION, trial.number))


@dataclass(kw_only=True)
class _Seed:
    """A trial of a configuration. `state`: None while it goes on. `score`: the worst where it collapsed or diverged."""

    state: str | None = None
    score: float | None = None


class SeedPlan:
    """Fed with what begins and ends; says which configuration is due."""

    def __init__(self, seeds: Seeds, metric: Metric) -> None:
        self._seeds, self._metric = seeds, metric
        self._tried: dict[int, dict[int, _Seed]] = {}  # by configuration and trial

    @staticmethod
    def of(spec: Spec, trials: Iterable[FrozenTrial]) -> SeedPlan:
        """From the trials of a study that agrees with its journal."""
        plan = SeedPlan(spec.seeds, spec.metric)
        for trial in trials:
            plan.begin(trial.number, configuration_of(trial))
            if trial.state.is_finished():
                value = trial.values[0] if trial.state == TrialState.COMPLETE else None
                plan.end(trial.number, configuration_of(trial), str(trial.user_attrs.get("state", "failed")), value)
        return plan

    def begin(self, trial: int, configuration: int) -> None:
        """A trial has been asked for."""
        self._tried.setdefault(configuration, {})[trial] = _Seed()

    def end(self, trial: int, configuration: int, state: str, score: float | None) -> None:
        """`score`: what the study is told of one that came to its end, else None."""
        self._tried[configuration][trial] = _Seed(state=state, score=score)

    @property
    def configurations(self) -> int:
        """How many were begun."""
        return len(self._tried)

    def undecided(self) -> bool:
        """Whether what runs may earn a configuration more seeds."""
        return self._seeds.race is not None and any(seed.state is None for seeds in self._tried.values() for seed in seeds.values())

    def due(self, *, last: bool = False) -> int | None:
        """The configuration whose next seed is to begin; None where there is none now. `last`: nothing runs, and no configuration is
        to come."""
        if self._seeds.single:
            return None
        living = {number: seeds for number, seeds in self._tried.items() if not any(seed.state in OUT for seed in seeds.values())}
        for number, seeds in living.items():  # those that have begun a level go up to its end
            if len(seeds) < next((level for level in self._seeds.levels if level >= len(seeds)), len(seeds)):
                return number
        for level in reversed(self._seeds.levels[:-1]):
            best = self._best_at(level, last=last)
            found = next((number for number in best if number in living and len(living[number]) == level), None)
            if found is not None:
                return found
        return None

    def _best_at(self, level: int, *, last: bool) -> list[int]:
        """The configurations that may go on from a level, best first."""
        means = {number: mean for number, seeds in self._tried.items() if (mean := _mean_of(seeds, level)) is not None}
        quota = len(means) // self._seeds.reduction
        if last and level < self._seeds.most:
            quota = max(quota, 1)
        return sorted(means, key=lambda number: (self._metric.rank(means[number]), number))[:quota]


def plan_of(spec: Spec, asked: Sequence[FrozenTrial], past: Past) -> SeedPlan:
    """From a study that may be behind its journal. `past`: what the journal says."""
    plan = SeedPlan(spec.seeds, spec.metric)
    for trial in asked:
        plan.begin(trial.number, configuration_of(trial))
    own = {trial.number: configuration_of(trial) for trial in asked}
    for end in (*past.ends, *past.pruned):
        score = spec.metric.worst if STATES[end.state].worst else end.score if end.state == "complete" else None
        score = score if end.warm is None else None
        plan.end(end.trial, own[end.trial], end.state, score)
    return plan


def _mean_of(seeds: Mapping[int, _Seed], level: int) -> float | None:
    """Over the first `level` seeds; None where one of them has no score."""
    scores = [seed.score for _, seed in sorted(seeds.items())][:level]
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == level else None


# --- what Optuna is told -----------------------------------------------------------------------------------------------


class OfConfigurations(Study):
    """A study as its sampler sees it: one trial for each configuration, with the mean over its seeds. It writes into the same storage.

    A configuration with a seed that goes on, or that lacks some, is running; one with a seed that failed has failed.
    """

    def __init__(self, name: str, storage: BaseStorage, seeds: Seeds) -> None:
        """`name`: the study's, in its storage."""
        super().__init__(name, storage)
        self._seeds = seeds

    def _get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False) -> list[FrozenTrial]:
        """What `get_trials` and all samplers call."""
        groups: dict[int, list[FrozenTrial]] = {}
        for trial in super()._get_trials(deepcopy=False):
            groups.setdefault(configuration_of(trial), []).append(trial)
        found = [_as_one(trials, self._seeds) for trials in groups.values()]
        return [trial for trial in found if states is None or trial.state in states]


def _as_one(trials: list[FrozenTrial], seeds: Seeds) -> FrozenTrial:
    """A copy of the first one, with the state and the mean of all."""
    one = copy.copy(trials[0])
    states = [trial.state for trial in trials]
    steps = set.intersection(*(set(trial.intermediate_values) for trial in trials))
    one.intermediate_values = {step: fmean(trial.intermediate_values[step] for trial in trials) for step in sorted(steps)}
    one.state, one.values = TrialState.RUNNING, None
    if TrialState.FAIL in states:
        one.state = TrialState.FAIL
    elif TrialState.PRUNED in states:
        one.state = TrialState.PRUNED
        last = max(one.intermediate_values, default=None)
        one.values = None if last is None else [one.intermediate_values[last]]
    elif all(state == TrialState.COMPLETE for state in states) and len(trials) >= seeds.repeat:
        one.state, one.values = TrialState.COMPLETE, [fmean(trial.values[0] for trial in trials)]
    if one.state.is_finished():
        one.datetime_complete = max((trial.datetime_complete for trial in trials if trial.datetime_complete), default=one.datetime_start)
    return one

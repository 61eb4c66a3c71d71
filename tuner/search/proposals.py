"""Which configuration is tried next: Optuna's samplers over the parameters of a space.

A configuration is not tried twice, and the sampler is made anew from (seed, trial, attempt) before every proposal, so that an
interrupted search goes on as if it had not been.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from tuner.draws import seed_of
from tuner.space.ranges import Range
from tuner.space.request import beside_of, is_warm
from tuner.space.spec import Spec

from .earlier import finished_trials
from .guesses import GUESSED, Guess, guessed
from .remembered import News, Remembered

ATTEMPTS = 10  # at a configuration that was not tried before, by the method of the space
RANDOM_ATTEMPTS = 50  # after those; then, where the space can be counted, the first that is left

optuna.logging.set_verbosity(optuna.logging.ERROR)


def trial_seed(seed: int, trial: int) -> int:
    """A trial's own seed; 32 bits, so that it survives JSON in other programs and may be typed in as `--seed`."""
    return seed_of(seed, "trial", trial) % 2**32


def distribution(found: Range) -> BaseDistribution:
    """A searched range in Optuna's words."""
    if found.kind == "values":
        return CategoricalDistribution(found.values)
    assert found.min is not None and found.max is not None, found
    if found.options is not None:
        return IntDistribution(int(found.min), int(found.max), log=found.log, step=int(found.q or 1))
    return FloatDistribution(found.min, found.max, log=found.log, step=found.q)


def new_sampler(spec: Spec, trial: int, attempt: int) -> BaseSampler:
    """The sampler for one attempt at one trial's configuration."""
    seed = seed_of(spec.seed, "sampler", trial, attempt) % 2**32
    random = RandomSampler(seed=seed)
    methods: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=_conditional(spec), constant_liar=True),
        "gp": lambda: GPSampler(seed=seed),
        "cmaes": lambda: CmaEsSampler(seed=seed, source_trials=_sources(spec)),
        # The sequence is even because it is one sequence: its own seed stays.
        "qmc": lambda: QMCSampler(seed=spec.seed, scramble=True, independent_sampler=random),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return methods.get(spec.method if attempt < ATTEMPTS else "random", lambda: random)()


def _sources(spec: Spec) -> list[FrozenTrial] | None:
    """What CMA-ES begins with of earlier runs; None: nothing, or what it cannot use, for it takes numbers without conditions."""
    searched = spec.searched()
    if not spec.earlier.trials or any(found.when or found.kind == "values" for found in searched):
        return None
    return finished_trials(spec.earlier, {found.name: distribution(found) for found in searched})


def _conditional(spec: Spec) -> bool:
    """Whether what is searched depends on other choices; TPE then draws in groups."""
    return any(found.when for found in spec.searched())


class Proposals:
    """Configurations that were not tried before. Knows those that were."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.distributions = {found.name: distribution(found) for found in spec.searched()}
        self.earlier = finished_trials(spec.earlier, self.distributions)  # what the sampler is told of earlier runs
        self._seen: set[str] = set()
        countable = all(found.options is not None for found in spec.searched())
        self._worlds: Iterator[dict[str, Any]] | None = spec.worlds(self.distributions) if countable else None
        self._next: dict[str, Any] | None = None
        self._count = None if countable else spec.combinations()
        self._common: dict[str, BaseDistribution] | None = None  # what all trials have that are finished
        self._news = News()

    def add(self, chosen: Mapping[str, Any]) -> None:
        """Notes that a configuration is tried."""
        self._seen.add(self._key(chosen))

    def add_all(self, trials: Iterable[FrozenTrial]) -> None:
        """Notes what was asked for. What was tried with other fixed values than the space's, or from other weights, is none of its
        configurations."""
        for trial in trials:
            if not beside_of(trial.user_attrs) and not is_warm(trial.user_attrs):
                self.add(trial.params)

    def is_new(self, chosen: Mapping[str, Any]) -> bool:
        return self._key(chosen) not in self._seen

    def _key(self, chosen: Mapping[str, Any]) -> str:
        """Equal for choices that train alike: switches do not count, nor what their absence leaves at its default."""
        config = self.spec.config(chosen)
        return json.dumps({name: config[name] for name in sorted(self.spec.known)})

    def left(self) -> dict[str, Any] | None:
        """The first choice, in the file's order, that was not tried; None where all were, or where they cannot be counted."""
        if self._worlds is None:
            return None
        while self._next is None or not self.is_new(self._next):
            self._next = next(self._worlds, None)
            if self._next is None:
                return None
        return self._next

    def exhausted(self) -> bool:
        """Whether all configurations were tried."""
        if self._worlds is not None:
            return self.left() is None
        return self._count is not None and len(self._seen) >= self._count

    def propose(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """A value for every parameter whose condition holds."""
        if self.spec.method == "grid":
            chosen = self.left()
            assert chosen is not None, "asked for more than the grid has"
            return chosen
        if isinstance(study, Remembered):
            study.refresh()
        chosen = {}
        for attempt in range(ATTEMPTS + RANDOM_ATTEMPTS):
            guess = self._guess(trial.number, attempt)
            chosen = self._sample(new_sampler(self.spec, trial.number, attempt), study, trial, guess)
            if self.is_new(chosen):
                return chosen
        return self.left() or chosen

    def _guess(self, trial: int, attempt: int) -> Guess:
        """Of the person who wrote the space: for the first configurations, the first of which is the guess itself."""
        if len(self._seen) >= GUESSED:
            return lambda found: None
        first, rng = not self._seen and attempt == 0, Random(seed_of(self.spec.seed, "guess", trial, attempt))
        return lambda found: None if found.prior is None else found.prior.value if first else guessed(found, rng)

    def _sample(self, sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, guess: Guess) -> dict[str, Any]:
        """What `trial.suggest_...` would give with this sampler, without writing anything into the study; but for what `guess` says."""
        sampler.before_trial(study, trial)
        space = self._together(sampler, study, trial)
        together = sampler.sample_relative(study, trial, space)
        chosen: dict[str, Any] = {}
        for found in self.spec.searched():
            if self.spec.active(found, chosen):
                name, known = found.name, self.distributions[found.name]
                alone = name not in together or space.get(name) != known
                said = guess(found)
                if said is None:
                    said = sampler.sample_independent(study, trial, name, known) if alone else together[name]
                chosen[name] = said
        return chosen

    def _together(self, sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that the sampler draws together. A new TPE would go through all trials to find them, each time; without groups
        they are what all trials have, which can be remembered. Optuna's IntersectionSearchSpace would look each time at all that are
        younger than the oldest that runs."""
        if not isinstance(sampler, TPESampler) or _conditional(self.spec):
            return self._in_all_earlier(sampler, sampler.infer_relative_search_space(study, trial))
        trials = study.trials_known if isinstance(study, Remembered) else study.get_trials(deepcopy=False)
        for i in self._news.finished(trials):
            known = trials[i].distributions
            common = known if self._common is None else self._common
            self._common = {name: found for name, found in sorted(common.items()) if known.get(name) == found}
        return {name: found for name, found in (self._common or {}).items() if not found.single()}

    def _in_all_earlier(self, sampler: BaseSampler, space: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """Of what a sampler draws together, what every earlier trial has: Optuna looks at no more than one trial below number 0. TPE's
        groups need not be in all."""
        if isinstance(sampler, TPESampler):
            return space
        return {name: found for name, found in space.items() if all(name in trial.params for trial in self.earlier)}

"""How much each parameter decided: Optuna's PED-ANOVA on the trials of the journal, and again on resamples of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.runs.events import TrialEnd

from .material import Material, category

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 10  # trials; of fewer the best tenth is one
RESAMPLES = 10
_LEVELS = (0.05, 0.95)


@dataclass(frozen=True, kw_only=True)
class Importance:
    """`value`: a parameter's share of the sum over all. `low`, `high`: over the resamples. `n`: trials in which it had a say.
    `conditional`: whether these are not all."""

    name: str
    value: float
    low: float
    high: float
    n: int
    conditional: bool

    @property
    def label(self) -> str:
        return f"{self.name} *" if self.conditional else self.name


def importances_of(material: Material) -> list[Importance]:
    """The largest first; none where too few trials have a score, or nothing was searched."""
    trials = [end for end in material.trials if end.config and end.state in ("complete", "pruned") and material.score(end) is not None]
    names = [name for name in material.searched if len({category(end.config.get(name)) for end in trials}) > 1]
    if len(trials) < FEWEST or not names:
        return []
    spaces = {name: _distribution(material, name, [end for end in trials if material.active(name, end.config)]) for name in names}
    frozen = [_frozen(material, spaces, end) for end in trials]
    whole = _shares(material, names, frozen)
    rng = np.random.default_rng(0)
    drawn = [_shares(material, names, [frozen[i] for i in rng.integers(len(trials), size=len(trials))]) for _ in range(RESAMPLES)]
    found = []
    for name in names:
        low, high = (float(value) for value in np.quantile([one[name] for one in drawn], _LEVELS))
        n = sum(material.active(name, end.config) for end in trials)
        found.append(Importance(name=name, value=whole[name], low=low, high=high, n=n, conditional=n < len(trials)))
    return sorted(found, key=lambda one: -one.value)


def _frozen(material: Material, spaces: Mapping[str, Any], end: TrialEnd) -> FrozenTrial:
    """A trial as Optuna has it, with the parameters that had a say in it."""
    import optuna

    values = {name: category(end.config[name]) for name in spaces if material.active(name, end.config)}
    return optuna.create_trial(params=values, distributions={name: spaces[name] for name in values}, value=material.score(end))


def _shares(material: Material, names: Sequence[str], trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """The importance of each parameter among the trials in which it had a say, as a share of the sum."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction=material.results.goal)
        study.add_trials(trials)
        raw = dict.fromkeys(names, 0.0)
        for name in names:
            values = [trial.params[name] for trial in trials if name in trial.params]
            if len(values) >= FEWEST and len(set(values)) > 1:
                with warnings.catch_warnings():  # of values that few trials had, which the bars over the resamples show
                    warnings.simplefilter("ignore", UserWarning)
                    raw[name] = float(PedAnovaImportanceEvaluator().evaluate(study, params=[name])[name])
    finally:
        optuna.logging.set_verbosity(verbosity)
    total = sum(raw.values())
    return {name: value / total if total > 0 else 0.0 for name, value in raw.items()}


def _distribution(material: Material, name: str, trials: Sequence[TrialEnd]) -> Any:
    """As the values lie, which a person may have asked for outside of the space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = [category(end.config[name]) for end in trials]
    if not material.numeric(name):
        return CategoricalDistribution(sorted(set(values), key=str))
    log = material.logarithmic(name) and min(values) > 0
    if all(isinstance(value, int) for value in values):
        from optuna.distributions import IntDistribution

        return IntDistribution(min(values), max(values), log=log)
    return FloatDistribution(float(min(values)), float(max(values)), log=log)

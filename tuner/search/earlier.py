"""A warm start: the complete trials of earlier runs, as finished trials of the study that the sampler sees.

They stand in no study and no journal, and have no number of their own: the search counts, ranks and stores its own trials alone.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.errors import UserError
from tuner.runs.events import TrialEnd
from tuner.runs.results import Results, read_run
from tuner.runs.states import STATES
from tuner.space.earlier import Earlier, EarlierRun, Told
from tuner.space.ranges import show
from tuner.space.scores import SCORES
from tuner.space.spec import Spec
from tuner.text import counted

from .scores import values_of

logger = logging.getLogger("tuner")

FROM = "from"  # in the user attributes of such a trial: the run, and its number there
_DEAF = ("random", "grid", "qmc")  # methods that do not learn


def warm_started(spec: Spec, folders: Sequence[Path]) -> Spec:
    """The search that is told of what these runs have found. `folders`: the runs'.

    Raises:
        UserError: there is no such run, it searched something else, or nothing of it lies in the space.
    """
    if not folders:
        return spec
    runs: list[EarlierRun] = []
    told: list[Told] = []
    for folder in dict.fromkeys(folder.expanduser().absolute() for folder in folders):
        results = read_run(folder)
        _check_same(results, spec, folder)
        found, why = _taken(results, spec)
        left_out = len(why)
        if not found:
            nothing = f"none of its {counted(left_out, 'complete trial')} lies in this space: {why[0]}" if why else ""
            reason = nothing or "it has no complete trial"
            raise UserError(f"--from {folder}: {reason}. Leave it out, or name a run of the same space.")
        runs.append(EarlierRun(run=str(folder), told=len(found), left_out=left_out, why=why[0] if why else ""))
        told += found
    if spec.method in _DEAF:
        logger.warning("Method %s learns nothing from trials: --from changes nothing. Use method: tpe.", spec.method)
    return replace(spec, earlier=Earlier(runs=tuple(runs), trials=tuple(told)))


def _check_same(results: Results, spec: Spec, folder: Path) -> None:
    """Raises UserError where a run's scores say nothing about this search's."""
    about = results.spec_json
    by = " and ".join(metric.name for metric in results.metrics)
    theirs = f"{about.get('model')} by {by} {SCORES[results.score].words}"
    ours = f"{spec.model} by {' and '.join(spec.objectives)} {SCORES[spec.score].words}"
    if theirs != ours:
        raise UserError(f"--from {folder}: it searched {theirs}, and this space searches {ours}. Name runs of the same space.")
    data, now = about.get("dataset", {}), spec.dataset.written()
    unlike = [name for name in ("name", "limit", "scale") if data.get(name) != now.get(name)]
    if unlike:
        was = ", ".join(f"{name} {show(data.get(name))}" for name in unlike)
        logger.warning("--from %s: its data were others (%s). The sampler takes its scores for scores on these.", folder, was)


def _taken(results: Results, spec: Spec) -> tuple[list[Told], list[str]]:
    """What a run tells, and of each complete trial that lies outside the space, why."""
    ends: Iterable[TrialEnd] = results.trials if results.seeds.single else [one.end for one in results.configurations()]
    told: list[Told] = []
    why: list[str] = []
    for end in ends:
        if STATES.get(end.state) is None or STATES[end.state].optuna != "COMPLETE" or end.warm is not None:
            continue
        chosen, wrong = _chosen(spec, end.config)
        worst = STATES[end.state].worst
        missing = [] if worst or spec.metrics is None else [metric.name for metric in spec.metrics if metric.name not in end.metrics]
        if wrong or missing:
            why.append(wrong or f"trial {end.trial} has no '{missing[0]}'")
        else:
            single = spec.metric.worst if worst or end.score is None else end.score
            values = [single] if spec.metrics is None else values_of(spec, end.metrics, end.state)
            told.append(Told(run=str(results.folder), trial=end.trial, chosen=chosen, values=values))
    return told, why


def _chosen(spec: Spec, config: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The searched values of a configuration, as this space has them; or why it is none of this space's."""
    chosen: dict[str, Any] = {}
    for found in spec.searched():
        if not spec.active(found, chosen):
            continue
        value = found.known(config[found.name]) if config.get(found.name) is not None else None
        if value is None:
            return {}, f"'{found.name}' is {show(config.get(found.name))} there"
        chosen[found.name] = value
    now = spec.config(chosen)
    unlike = next((name for name in spec.known if name not in config or config[name] != now[name]), None)
    return chosen, None if unlike is None else f"'{unlike}' is {show(config.get(unlike))} there, and {show(now[unlike])} here"


# --- as the sampler sees them ------------------------------------------------------------------------------------------


def finished_trials(earlier: Earlier, distributions: Mapping[str, BaseDistribution]) -> list[FrozenTrial]:
    """Marked by `FROM`, with numbers below 0: older than all of the search's own."""
    found = []
    for number, told in enumerate(earlier.trials, -len(earlier.trials)):
        trial = create_trial(
            params=dict(told.chosen),
            distributions={name: distributions[name] for name in told.chosen},
            values=list(told.values),
            user_attrs={FROM: {"run": told.run, "trial": told.trial}},
            state=TrialState.COMPLETE,
        )
        trial.number = number
        found.append(trial)
    return found


class WithEarlier(Study):
    """A study as its sampler sees it, behind the trials of earlier runs. It writes into the same storage."""

    def __init__(self, name: str, storage: BaseStorage, own: Study, earlier: Sequence[FrozenTrial]) -> None:
        """`name`: the study's, in its storage. `own`: the search's trials, as the sampler is to see them."""
        super().__init__(name, storage)
        self._own, self._earlier = own, list(earlier)

    def _get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False) -> list[FrozenTrial]:
        """What `get_trials` and all samplers call."""
        found = [*self._earlier, *self._own._get_trials(deepcopy=False)]
        return [trial for trial in found if states is None or trial.state in states]

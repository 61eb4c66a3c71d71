"""Tune's searcher: hands out the trials of the study, and tells the study how they ended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from tuner.runs.files import RunFiles
from tuner.runs.paths import STUDY
from tuner.search.earlier import WithEarlier
from tuner.search.proposals import Proposals, distribution, new_sampler, trial_seed
from tuner.search.remembered import Remembered
from tuner.search.scores import values_of
from tuner.search.seeds import CONFIGURATION, OfConfigurations, SeedPlan
from tuner.search.study import StudyFile, StudyStorage, directions, open_storage, optuna_end
from tuner.space.ranges import Range
from tuner.space.request import ASKED_FOR, Wanted, beside_of, config_of, is_warm
from tuner.space.spec import Spec

from .result import TuneResult
from .stopper import SearchControl


class _Chosen(BaseSampler):
    """Hands a choice that was made elsewhere to the trial that is being asked for: `wanted`, or a proposal.

    `study.enqueue_trial` is no replacement. A proposal needs its trial first, for CMA-ES writes its generation into it, and an enqueued
    trial would stay in the study, without a seed, where the driver dies before it asks.
    """

    def __init__(self, proposals: Proposals, inner: BaseSampler, told: optuna.Study, wanted: Mapping[str, Any] | None) -> None:
        """`told`: the study as the sampler is to see it."""
        self._proposals, self._inner, self._told, self._wanted = proposals, inner, told, wanted
        self._chosen: dict[str, Any] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._chosen = self._proposals.propose(self._told, trial) if self._wanted is None else dict(self._wanted)
        return {name: self._proposals.distributions[name] for name in self._chosen}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return dict(self._chosen)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        raise AssertionError(f"'{param_name}' was not chosen, but its condition holds")

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._inner.after_trial(study, trial, state, values)


class StudySearch(Searcher):
    """Tune's searcher over a space, with its study in `folder`. A Tune trial's configuration is `{"trial", "config", "asked_for",
    "outside"}`: the study's number; every hyper-parameter, weight and switch with the trial's `seed`; whether a person asked for it; the
    nodes that get no trial.

    Tune's results are to hold `score`, `cluster_epoch` and `ended`: None while a trial goes on, and where the scheduler stops it.
    """

    def __init__(self, spec: Spec, folder: Path, name: str, files: RunFiles | None = None, control: SearchControl | None = None) -> None:
        """`files`: of the run, where there is one. `control`: of a search with Ray Tune."""
        self.spec = spec
        self._steps: dict[str, int] = {}  # the last step that the study has, by Tune's ids
        self.proposals = Proposals(spec)
        self._configs: dict[str, dict[str, Any]] = {}  # configurations that were handed out and have not ended, by Tune's ids
        super().__init__(metric="score", mode=spec.metric.mode)
        storage = open_storage(folder / STUDY) if files is None else StudyStorage(StudyFile(files))
        self.study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=directions(spec),
            sampler=RandomSampler(seed=0),  # `_ask` puts another in its place
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        self._trials: dict[str, optuna.Trial] = {}  # that were handed out and have not ended, by Tune's ids
        if "seed" not in self.study.user_attrs:
            self.study.set_user_attr("metric", spec.metric.name)
            self.study.set_user_attr("seed", spec.seed)
        trials = self.study.get_trials(deepcopy=False)  # once: reading the study takes the longer the more there are
        self.proposals.add_all(trials)
        self.plan = SeedPlan.of(spec, trials)
        self._told: optuna.Study = self.study if spec.seeds.single else OfConfigurations(name, storage, spec.seeds)
        if self.proposals.earlier:
            self._told = WithEarlier(name, storage, self._told, self.proposals.earlier)
        if spec.method == "tpe" and spec.seeds.single and len(directions(spec)) == 1:
            self._told = Remembered(name, storage, self._told)
        self._control = control
        self._finished = False  # Tune was told so
        # Trials that have a number and were not handed out. Those of an earlier driver go on first, in their order.
        begun = [found for found in trials if found.state == TrialState.RUNNING]
        self._waiting = deque(_trial(self.study, storage, found.number) for found in begun)
        self._steps_before = {found.number: max(found.intermediate_values, default=0) for found in begun}
        self._n_trials = len(trials)

    @property
    def full(self) -> bool:
        """Whether no configuration can be added."""
        over = self._control is not None and self._control.over
        return self._finished or over or self.plan.configurations >= self.spec.trials

    # --- called by Tune: the next trial ---

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial, None where there is no room for it now, or `Searcher.FINISHED` where nothing is left to try."""
        if self._control is not None and len(self._configs) >= self._control.quarantine.room:
            return None  # later
        if not self._waiting:
            due = self.plan.due()
            if due is None and not self.full and not self.proposals.exhausted():
                self._waiting.append(self._ask())
                return self._hand_out(trial_id, self._waiting.popleft())
            if due is None and self.plan.undecided():
                return None  # later
            due = self.plan.due(last=True) if due is None else due
            if due is None:
                self._finished = True  # Tune does not ask again
                return Searcher.FINISHED  # type: ignore[return-value]  # a word, whatever Ray's annotation says
            self._waiting.append(self._ask_again(due))
        return self._hand_out(trial_id, self._waiting.popleft())

    def _ask(
        self, requested: Wanted | None = None, asked_for: Mapping[str, Any] | None = None, configuration: int | None = None
    ) -> optuna.Trial:
        """A new trial of the study: the requested configuration, or else the sampler's proposal. `configuration`: the one that it is
        another seed of."""
        number = self._n_trials
        spec = self.spec if requested is None else requested.spec
        inner = new_sampler(self.spec, number, 0)
        self.study.sampler = _Chosen(self.proposals, inner, self._told, None if requested is None else requested.chosen)
        trial = self.study.ask()
        assert trial.number == number, "somebody else asks this study"
        self._n_trials += 1
        chosen: dict[str, Any] = {}
        for found in spec.searched():
            if spec.active(found, chosen):
                chosen[found.name] = _suggest(trial, found)
        if asked_for is not None:
            trial.set_user_attr(ASKED_FOR, asked_for)
        own = number if configuration is None else configuration
        if not spec.seeds.single:
            trial.set_user_attr(CONFIGURATION, own)
        trial.set_user_attr("trial", number)
        trial.set_user_attr("seed", trial_seed(self.spec.seed, number))  # the last: with it the trial is whole
        if not beside_of(trial.user_attrs) and not is_warm(trial.user_attrs):
            self.proposals.add(chosen)
        self.plan.begin(number, own)
        return trial

    def _ask_again(self, configuration: int) -> optuna.Trial:
        """Another seed of a configuration."""
        first = self.study.get_trials(deepcopy=False)[configuration]
        beside = beside_of(first.user_attrs)
        wanted = Wanted(spec=self.spec.fixing(beside), chosen=first.params, beside=beside)
        return self._ask(wanted, first.user_attrs.get(ASKED_FOR), configuration)

    def _known(self, trial: optuna.Trial) -> dict[str, Any]:
        """What a trial's process and the journal are given of it."""
        about = trial.user_attrs
        known = {"trial": trial.number, "config": config_of(self.spec, trial), "asked_for": ASKED_FOR in about}
        return known | ({CONFIGURATION: about[CONFIGURATION]} if CONFIGURATION in about else {})

    def _hand_out(self, trial_id: str, trial: optuna.Trial) -> dict[str, Any]:
        self._trials[trial_id] = trial
        self._steps[trial_id] = self._steps_before.pop(trial.number, 0)
        outside = list(self._control.quarantine.outside) if self._control else []
        known = self._known(trial) | {"outside": outside}
        self._configs[trial_id] = known
        return known

    # --- orders of people ---

    def enqueue(self, wanted: Wanted, asked_for: Mapping[str, Any]) -> int:
        """Gives a configuration its number, where the search is not `full`; it is handed out before any that the sampler proposes."""
        assert not self.full
        self._waiting.append(self._ask(wanted, asked_for))
        return self._waiting[-1].number

    def withdraw(self, number: int) -> dict[str, Any] | None:
        """Ends a trial that was not handed out: its number and configuration; None where it was."""
        for trial in self._waiting:
            if trial.number == number:
                self._waiting.remove(trial)
                self._give_up(trial, "stopped")
                return self._known(trial)
        return None

    # --- called by Tune: what became of trials ---

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        self._step(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        if error or not result or "score" not in result:
            self._close(trial_id, "failed" if error else "stopped", TrialState.FAIL)
            return
        self._step(trial_id, result)
        ended: str | None = result.get("ended")
        if self._control is not None:
            ended = self._control.requests.state(self._configs[trial_id]["trial"], ended)
        ended = ended or "pruned"
        warm = is_warm(self._trials[trial_id].user_attrs)
        study_state, value = optuna_end(ended, result["score"], self.spec.metric, warm=warm)
        values = self._values(result, ended) if self.spec.metrics is not None and value is not None else value
        self._close(trial_id, ended, study_state, values)

    def open_trials(self) -> list[dict[str, Any]]:
        """The configurations of the trials that were handed out and have not ended."""
        return list(self._configs.values())

    def stop(self, state: str) -> None:
        """Closes what is still open: no trial stays RUNNING in a study whose search is over."""
        for trial_id in list(self._trials):
            self._close(trial_id, state, TrialState.FAIL)
        while self._waiting:
            self._give_up(self._waiting.popleft(), state)

    def _give_up(self, trial: optuna.Trial, state: str) -> None:
        trial.set_user_attr("state", state)
        self.plan.end(trial.number, trial.user_attrs.get(CONFIGURATION, trial.number), state, None)
        self.study.tell(trial, state=TrialState.FAIL)

    def _step(self, trial_id: str, result: Mapping[str, Any]) -> None:
        score, step = result["score"], result["cluster_epoch"]
        assert isinstance(score, float) and math.isfinite(score), f"not a score: {score!r}"
        if step > self._steps.get(trial_id, 0):  # 0: it ended in pre-training. Earlier steps come again after a checkpoint
            if self.spec.metrics is None and not is_warm(self._trials[trial_id].user_attrs):  # of several metrics it takes no steps
                self._trials[trial_id].report(score, step)
            self._steps[trial_id] = step

    def _values(self, result: Mapping[str, Any], ended: str) -> list[float]:
        """Of all metrics that decide."""
        line = TuneResult.read(result).line
        assert line is not None, "it has a score"
        return values_of(self.spec, line["metrics"], ended)

    def _close(self, trial_id: str, state: str, study_state: TrialState, value: float | list[float] | None = None) -> None:
        trial = self._trials.pop(trial_id)
        self._configs.pop(trial_id)
        self._steps.pop(trial_id, None)
        trial.set_user_attr("state", state)
        self.plan.end(
            trial.number, trial.user_attrs.get(CONFIGURATION, trial.number), state, value[0] if isinstance(value, list) else value
        )
        self.study.tell(trial, value, state=study_state)

    # --- what Tune would keep ---

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's file is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher to restore it; a search is rebuilt from its journal and its study


def _trial(study: optuna.Study, storage: StudyStorage, number: int) -> optuna.Trial:
    """A trial of the study by its number, through the public names of Optuna's storages."""
    return optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study.study_name), number))


def _suggest(trial: optuna.Trial, found: Range) -> Any:
    known = distribution(found)
    if isinstance(known, CategoricalDistribution):
        return trial.suggest_categorical(found.name, known.choices)
    if isinstance(known, IntDistribution):
        return trial.suggest_int(found.name, known.low, known.high, step=known.step, log=known.log)
    assert isinstance(known, FloatDistribution)
    return trial.suggest_float(found.name, known.low, known.high, step=known.step, log=known.log)

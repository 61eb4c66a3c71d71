"""Which configuration is tried next: Optuna's samplers behind Tune's `OptunaSearch`, over the parameters of a space.

Differs from `OptunaSearch`: a trial that the scheduler stops is PRUNED, with all of its steps; one that collapsed or diverged is
COMPLETE with the metric's worst value, so that the sampler learns from it; a configuration is not tried twice; and the sampler
is made anew from (seed, trial, attempt) before every ask, so that an interrupted search goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from .draws import seed_of
from .metrics import WORST
from .quarantine import Quarantine
from .ranges import Range
from .record import STUDY, TrialEnd
from .space import Metric, Spec
from .spill import RunFiles
from .study_file import StudyFile
from .wanted import ASKED_FOR, Wanted, beside_of, config_of

ATTEMPTS = 10  # at a configuration that was not tried before, by the method of the space
RANDOM_ATTEMPTS = 50  # after those; then, where the space can be counted, the first that is left
WORST_LOSS = 1e9  # a loss has no worst value; samplers rank, and infinity breaks plots

optuna.logging.set_verbosity(optuna.logging.ERROR)


def trial_seed(seed: int, trial: int) -> int:
    """A trial's own seed; 32 bits, so that it survives JSON in other programs and may be typed in as `--seed`."""
    return seed_of(seed, "trial", trial) % 2**32


def worst(metric: Metric) -> float:
    """What is told of a trial that collapsed or diverged."""
    return WORST.get(metric.name, WORST_LOSS if metric.goal == "minimize" else -WORST_LOSS)


def open_storage(path: Path) -> JournalStorage:
    """The file that holds the study; `optuna-dashboard` opens it, too."""
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def new_study(path: Path, name: str, spec: Spec) -> optuna.Study:
    """An empty study in a file of its own."""
    direction: Literal["maximize", "minimize"] = "maximize" if spec.metric.goal == "maximize" else "minimize"
    study = optuna.create_study(study_name=name, storage=open_storage(path), direction=direction)
    study.set_user_attr("metric", spec.metric.name)
    study.set_user_attr("seed", spec.seed)
    return study


def told(end: TrialEnd, metric: Metric) -> tuple[TrialState, float | None]:
    """What Optuna is told of a trial's end; of a pruned one it takes its last step's value."""
    if end.state in ("pruned", "failed", "stopped"):
        return (TrialState.PRUNED if end.state == "pruned" else TrialState.FAIL), None
    return TrialState.COMPLETE, end.score if end.state == "complete" else worst(metric)


def distribution(found: Range) -> BaseDistribution:
    """A searched range in Optuna's words."""
    if found.kind == "values":
        return CategoricalDistribution(found.values)
    assert found.min is not None and found.max is not None, found
    log = found.kind in ("log_uniform_values", "q_log_uniform_values")
    if found.options is not None:
        return IntDistribution(int(found.min), int(found.max), log=log, step=int(found.q or 1))
    return FloatDistribution(found.min, found.max, log=log, step=found.q)


def new_sampler(spec: Spec, trial: int, attempt: int) -> BaseSampler:
    """The sampler for one attempt at one trial's configuration."""
    seed = seed_of(spec.seed, "sampler", trial, attempt) % 2**32
    random = RandomSampler(seed=seed)
    methods: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=_conditional(spec), constant_liar=True),
        "gp": lambda: GPSampler(seed=seed),
        "cmaes": lambda: CmaEsSampler(seed=seed),
        # The sequence is even because it is one sequence: its own seed stays.
        "qmc": lambda: QMCSampler(seed=spec.seed, scramble=True, independent_sampler=random),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return methods.get(spec.method if attempt < ATTEMPTS else "random", lambda: random)()


def _conditional(spec: Spec) -> bool:
    """Whether what is searched depends on other choices; TPE then draws in groups."""
    return any(found.when for found in spec.searched())


class Proposals:
    """Configurations that were not tried before. Knows those that were."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.distributions = {found.name: distribution(found) for found in spec.searched()}
        self._seen: set[str] = set()
        countable = all(found.options is not None for found in spec.searched())
        self._worlds: Iterator[dict[str, Any]] | None = spec.worlds(self.distributions) if countable else None
        self._next: dict[str, Any] | None = None
        self._count = None if countable else spec.combinations()
        self._common = IntersectionSearchSpace(include_pruned=True)

    def add(self, chosen: Mapping[str, Any]) -> None:
        """Notes that a configuration is tried."""
        self._seen.add(self._key(chosen))

    def add_all(self, trials: Iterable[FrozenTrial]) -> None:
        """Notes what was asked for. What was tried with other fixed values than the space's is none of its configurations."""
        for trial in trials:
            if not beside_of(trial.user_attrs):
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
        chosen = {}
        for attempt in range(ATTEMPTS + RANDOM_ATTEMPTS):
            chosen = self._sample(new_sampler(self.spec, trial.number, attempt), study, trial)
            if self.is_new(chosen):
                return chosen
        return self.left() or chosen

    def _sample(self, sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        """What `trial.suggest_...` would give with this sampler, without writing anything into the study."""
        sampler.before_trial(study, trial)
        space = self._together(sampler, study, trial)
        together = sampler.sample_relative(study, trial, space)
        chosen: dict[str, Any] = {}
        for found in self.spec.searched():
            if self.spec.active(found, chosen):
                name, known = found.name, self.distributions[found.name]
                alone = name not in together or space.get(name) != known
                chosen[name] = sampler.sample_independent(study, trial, name, known) if alone else together[name]
        return chosen

    def _together(self, sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that the sampler draws together. A new TPE would go through all trials to find them, each time; without groups
        they are what all trials have, which can be remembered."""
        if not isinstance(sampler, TPESampler) or _conditional(self.spec):
            return sampler.infer_relative_search_space(study, trial)
        return {name: found for name, found in self._common.calculate(study).items() if not found.single()}


class _Chosen(BaseSampler):
    """Hands a choice that was made elsewhere to the trial that is being asked for: `wanted`, or a proposal."""

    def __init__(self, proposals: Proposals, inner: BaseSampler, wanted: Mapping[str, Any] | None) -> None:
        self._proposals, self._inner, self._wanted = proposals, inner, wanted
        self._chosen: dict[str, Any] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._chosen = self._proposals.propose(study, trial) if self._wanted is None else dict(self._wanted)
        return {name: self._proposals.distributions[name] for name in self._chosen}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return dict(self._chosen)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        raise AssertionError(f"'{param_name}' was not chosen, but its condition holds")

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._inner.after_trial(study, trial, state, values)


class StudySearch(OptunaSearch):
    """Tune's searcher over a space, with its study in `folder`. A Tune trial's configuration is `{"trial", "config", "asked_for",
    "outside"}`: the study's number; every hyper-parameter, weight and switch with the trial's `seed`; whether a person asked for it; the
    nodes that get no trial.

    Tune's results are to hold `score`, `cluster_epoch` and `ended`: None while a trial goes on, and where the scheduler stops it.
    """

    def __init__(self, spec: Spec, folder: Path, name: str, files: RunFiles | None = None) -> None:
        """`files`: of the run, where there is one."""
        self.spec = spec
        self._steps: dict[str, int] = {}  # the last step that the study was told, by Tune's ids
        self.proposals = Proposals(spec)
        self._asked: dict[str, dict[str, Any]] = {}  # what was asked for and has not ended, by Tune's ids
        super().__init__(
            space=lambda trial: None,  # `suggest` below asks by itself
            metric="score",
            mode="max" if spec.metric.goal == "maximize" else "min",
            sampler=RandomSampler(seed=0),
            study_name=name,
            storage=open_storage(folder / STUDY) if files is None else JournalStorage(StudyFile(files)),
        )
        made: Any = self._ot_study
        self.study: optuna.Study = made
        if "seed" not in self.study.user_attrs:
            self.study.set_user_attr("metric", spec.metric.name)
            self.study.set_user_attr("seed", spec.seed)
        self.proposals.add_all(self.study.trials)
        self.full = len(self.study.trials) >= spec.trials  # whether no trial can be added
        self.quarantine: Quarantine | None = None  # in a search
        # Trials that have a number and were not handed out. Those of an earlier driver go on first, in their order.
        self._waiting = deque(optuna.Trial(self.study, trial._trial_id) for trial in self.study.trials if trial.state == TrialState.RUNNING)

    # --- Tune asks ---

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial, None where there is no room for it now, or `Searcher.FINISHED` where nothing is left to try."""
        if self.quarantine is not None and len(self._asked) >= self.quarantine.room:
            return None  # later
        if not self._waiting:
            if self.full or self.proposals.exhausted():
                self.full = True  # Tune does not ask again
                return Searcher.FINISHED  # type: ignore[return-value]  # a word, whatever Ray's annotation says
            self._waiting.append(self._ask())
        return self._hand_out(trial_id, self._waiting.popleft())

    def _ask(self, wanted: Wanted | None = None, asked_for: Mapping[str, Any] | None = None) -> optuna.Trial:
        """A new trial of the study: what is wanted, or else the sampler's proposal."""
        number = len(self.study.get_trials(deepcopy=False))
        spec = self.spec if wanted is None else wanted.spec
        self.study.sampler = _Chosen(self.proposals, new_sampler(self.spec, number, 0), None if wanted is None else wanted.chosen)
        trial = self.study.ask()
        assert trial.number == number, "somebody else asks this study"
        chosen: dict[str, Any] = {}
        for found in spec.searched():
            if spec.active(found, chosen):
                chosen[found.name] = _suggest(trial, found)
        if asked_for is not None:
            trial.set_user_attr(ASKED_FOR, asked_for)
        trial.set_user_attr("trial", number)
        trial.set_user_attr("seed", trial_seed(self.spec.seed, number))  # the last: with it the trial is whole
        if not beside_of(trial.user_attrs):
            self.proposals.add(chosen)
        self.full = number + 1 >= self.spec.trials
        return trial

    def _hand_out(self, trial_id: str, trial: optuna.Trial) -> dict[str, Any]:
        about = trial.user_attrs
        self._ot_trials[trial_id] = trial
        self._steps[trial_id] = max(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values, default=0)
        outside = list(self.quarantine.outside) if self.quarantine else []
        known = {"trial": trial.number, "config": config_of(self.spec, trial), "asked_for": ASKED_FOR in about, "outside": outside}
        self._asked[trial_id] = known
        return known

    # --- people ask ---

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
                return {"trial": number, "config": config_of(self.spec, trial), "asked_for": ASKED_FOR in trial.user_attrs}
        return None

    # --- Tune tells ---

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        self._step(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        if error or not result or "score" not in result:
            self._close(trial_id, "failed" if error else "stopped", TrialState.FAIL)
            return
        self._step(trial_id, result)
        ended = result.get("ended")
        if ended is None:
            self._close(trial_id, "pruned", TrialState.PRUNED)
        elif ended == "stopped":
            self._close(trial_id, ended, TrialState.FAIL)
        else:
            value = result["score"] if ended == "complete" else worst(self.spec.metric)
            self._close(trial_id, ended, TrialState.COMPLETE, value)

    def open_trials(self) -> list[dict[str, Any]]:
        """The configurations of the trials that were asked for and have not ended."""
        return list(self._asked.values())

    def stop(self, state: str) -> None:
        """Closes what is still open: nothing stays RUNNING in a study that nobody asks any more."""
        for trial_id in list(self._ot_trials):
            self._close(trial_id, state, TrialState.FAIL)
        while self._waiting:
            self._give_up(self._waiting.popleft(), state)

    def _give_up(self, trial: optuna.Trial, state: str) -> None:
        trial.set_user_attr("state", state)
        self.study.tell(trial, state=TrialState.FAIL)

    def _step(self, trial_id: str, result: Mapping[str, Any]) -> None:
        score, step = result["score"], result["cluster_epoch"]
        assert isinstance(score, float) and math.isfinite(score), f"not a score: {score!r}"
        if step > self._steps.get(trial_id, 0):  # 0: it ended in pre-training. Earlier steps come again after a checkpoint
            self._ot_trials[trial_id].report(score, step)
            self._steps[trial_id] = step

    def _close(self, trial_id: str, state: str, told: TrialState, value: float | None = None) -> None:
        trial = self._ot_trials.pop(trial_id)
        self._asked.pop(trial_id)
        self._steps.pop(trial_id, None)
        trial.set_user_attr("state", state)
        self.study.tell(trial, value, state=told)

    # --- what Tune would keep ---

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study's file is the truth."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher to restore it; a search is rebuilt from its journal and its study


def _suggest(trial: optuna.Trial, found: Range) -> Any:
    known = distribution(found)
    if isinstance(known, CategoricalDistribution):
        return trial.suggest_categorical(found.name, known.choices)
    if isinstance(known, IntDistribution):
        return trial.suggest_int(found.name, known.low, known.high, step=known.step, log=known.log)
    assert isinstance(known, FloatDistribution)
    return trial.suggest_float(found.name, known.low, known.high, step=known.step, log=known.log)

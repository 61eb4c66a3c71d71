"""The search's Optuna study in the run's folder: made, read, written anew from the journal."""

from __future__ import annotations

import copy
import datetime
import json
import logging
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from tuner.atomic import whole
from tuner.errors import UserError
from tuner.plain_json import is_whole
from tuner.runs.events import Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.paths import STUDY
from tuner.runs.states import STATES
from tuner.space.metric import Metric
from tuner.space.request import GIVEN, config_of
from tuner.space.spec import Spec
from tuner.space.warm import WarmStart

from .history import Scores
from .scores import values_of

logger = logging.getLogger("tuner")

FOREIGN = "study.foreign.journal"


class StudyFile(BaseJournalBackend):
    """The format of Optuna's own file. What this process wrote it need not read: the file may be away by then."""

    def __init__(self, files: RunFiles) -> None:
        files.open(STUDY)
        self._files = files
        self._unread = list(JournalFileBackend(str(files.folder / STUDY)).read_logs(0))
        self._first = 0  # the number of the first that is unread

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        self._unread, self._first = self._unread[log_number_from - self._first :], log_number_from
        return iter(list(self._unread))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        # The journal must tell of no trial that a power cut took out of here, and the last that is written of one before it trains is
        # its seed. What comes later a resumed search takes from the journal.
        self._files.append(STUDY, b"".join(lines), sync=any("seed" in log.get("user_attr", ()) for log in logs))
        self._unread += logs


class OwnLogs(BaseJournalBackend):
    """What a search wrote of its study, read from a file that others may have written to, too: Optuna numbers trials by their order in
    the file, and the search, which does not read it while it runs, by its own. `foreign_trials`: how many others have put there.

    Each log says which storage object wrote it; a search's sets the seed of the study or of a trial, or a trial's state.
    """

    _OURS = frozenset({"metric", "seed", "trial", "state"})  # user attributes

    def __init__(self, path: Path) -> None:
        logs = list(JournalFileBackend(str(path)).read_logs(0))
        ours = {log.get("worker_id") for log in logs if self._OURS & set(log.get("user_attr", ()))}
        self._logs = [log for log in logs if not ours or log.get("worker_id") in ours]
        self.foreign_trials = sum("datetime_start" in log for log in logs) - sum("datetime_start" in log for log in self._logs)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise AssertionError("it is only read")


class StudyStorage(JournalStorage):
    """A study in which no trial waits for somebody to begin it. `Study.ask` would go through all trials for one, every time."""

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [] if states == (TrialState.WAITING,) else super().get_all_trials(study_id, deepcopy, states)


def open_storage(path: Path) -> StudyStorage:
    """The file that holds the study; `optuna-dashboard` opens it, too."""
    return StudyStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def new_study(path: Path, name: str, spec: Spec) -> optuna.Study:
    """An empty study in a file of its own."""
    study = optuna.create_study(study_name=name, storage=open_storage(path), directions=directions(spec))
    study.set_user_attr("metric", spec.metric.name)
    study.set_user_attr("seed", spec.seed)
    return study


def given_trial(number: int, config: Mapping[str, Any]) -> FrozenTrial:
    """A trial with a configuration that nobody proposed, to be handed out as it is. `config`: every hyper-parameter, and the `seed`."""
    about = {GIVEN: {name: value for name, value in config.items() if name != "seed"}, "trial": number, "seed": config["seed"]}
    now = datetime.datetime.now()
    return FrozenTrial(
        number=number, trial_id=number, state=TrialState.RUNNING, value=None, datetime_start=now, datetime_complete=None,
        params={}, distributions={}, user_attrs=about, system_attrs={}, intermediate_values={},
    )  # fmt: skip


def directions(spec: Spec) -> list[Literal["maximize", "minimize"]]:
    """The goals of the metrics that decide."""
    return [metric.goal for metric in spec.metrics or (spec.metric,)]


def optuna_end(state: str, score: float | None, metric: Metric, *, warm: bool = False) -> tuple[TrialState, float | None]:
    """A trial's end for Optuna: its state and value. Of a pruned trial Optuna takes the last step's value.

    `state`: one of STATES. `score`: of the trial, where it is complete. `warm`: it started from another's weights, and the sampler is told
    nothing of it: FAIL is what it leaves out.
    """
    if warm:
        return TrialState.FAIL, None
    known = STATES[state]
    value = None if known.optuna != "COMPLETE" else metric.worst if known.worst else score
    return TrialState[known.optuna], value


def study_of(folder: Path, name: str) -> optuna.Study:
    """The study of the run in `folder`, for whoever looks at it with Optuna's own tools.

    Raises:
        UserError: there is none yet, or it cannot be read.
    """
    path = folder / STUDY
    try:
        if path.exists():
            return optuna.load_study(study_name=name, storage=open_storage(path))
    except Exception as error:  # Optuna replays whatever the lines say, and raises whatever comes of it
        raise UserError(f"{path} cannot be read: {_said(error)}.") from error
    raise UserError(f"{name} has no study yet: none of its trials has begun.")


# --- the study ---------------------------------------------------------------------------------------------------------


def asked_in(folder: Path, name: str) -> list[FrozenTrial]:
    """The trials that were asked for, by number; none where the driver died before it had a study.

    Raises:
        UserError: the study cannot be read.
    """
    path = folder / STUDY
    try:
        if not path.exists() or path.stat().st_size == 0:
            return []
        open_storage(path).get_all_studies()  # raises for a line that nobody could have written, ours or not
        storage = JournalStorage(OwnLogs(path))
        if name not in {study.study_name for study in storage.get_all_studies()}:
            raise ValueError(f"it has no study '{name}'")
        proposed = optuna.load_study(study_name=name, storage=storage).get_trials()
    except Exception as error:  # Optuna replays whatever the lines say, and raises whatever comes of it
        raise UserError(f"{path} cannot be read: {_said(error)}. Nothing was changed. Bring the file back from a copy.") from error
    if proposed and "seed" not in proposed[-1].user_attrs:
        proposed.pop()  # its driver died while it asked Optuna; the next one asks again and gets the same
    return proposed


def keep_foreign_trials(folder: Path, name: str) -> None:
    """Keeps the trials that others put into the study, which is about to be written anew, in a file beside it, and says so."""
    path = folder / STUDY
    count = OwnLogs(path).foreign_trials if path.exists() else 0
    if count:
        with whole(folder / FOREIGN) as kept:
            shutil.copyfile(path, kept)
        logger.warning(
            "Trials that another program added to %s take no part in the search: %d, kept in %s. To have a configuration tried: "
            "tuner enqueue %s --set NAME=VALUE", STUDY, count, FOREIGN, name,
        )  # fmt: skip


def check_proposed(proposed: Sequence[FrozenTrial], spec: Spec, path: Path) -> None:
    """Checks the trials that were asked for. `path`: the study's, for the message.

    Raises:
        UserError: one has no seed, or values that its space does not have.
    """
    for trial in proposed:
        wrong = None if is_whole(trial.user_attrs.get("seed")) else "it has no seed"
        try:
            config = config_of(spec, trial)
            spec.hyper(config)
            WarmStart.of(config)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wrong = wrong or _said(error)
        if wrong:
            raise UserError(f"{path} is damaged at trial {trial.number}: {wrong}. Nothing was changed. Bring the file back from a copy.")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error).rstrip(".")


def write_study(folder: Path, run: Run, proposed: Sequence[FrozenTrial], scores: Scores) -> None:
    """Writes the study anew so that it agrees with the journal: what has not ended there is RUNNING, under its number."""
    assert run.past is not None
    for stale in (*folder.glob(f"{STUDY}.*"), *folder.glob(f".{STUDY}.*")):  # of a driver that died while it wrote
        stale.unlink(missing_ok=True)
    ends = {end.trial: end for end in (*run.past.ends, *run.past.pruned)}
    with whole(folder / STUDY) as path:
        study = new_study(path, run.name, run.spec)
        for trial in proposed:
            study.add_trial(_agreeing(trial, ends.get(trial.number), scores.get(trial.number, {}), run.spec))


def _agreeing(proposed: FrozenTrial, end: TrialEnd | None, scores: Mapping[int, float], spec: Spec) -> FrozenTrial:
    """A trial of the study as the journal has it."""
    trial = copy.copy(proposed)
    trial.user_attrs = {key: value for key, value in proposed.user_attrs.items() if key != "state"}
    trial.intermediate_values = {} if spec.metrics else dict(scores)  # of several metrics Optuna takes none
    trial.values, trial.datetime_complete, trial.state = None, None, TrialState.RUNNING
    if end is not None:
        trial.user_attrs["state"] = end.state
        trial.datetime_complete = proposed.datetime_complete or datetime.datetime.now()
        trial.state, value = optuna_end(end.state, end.score, spec.metric, warm=end.warm is not None)
        if trial.state == TrialState.PRUNED and trial.intermediate_values:
            value = scores[max(scores)]
        trial.values = None if value is None else [value]
        if spec.metrics and trial.values is not None:
            trial.values = values_of(spec, end.metrics, end.state)
    return trial

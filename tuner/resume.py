"""A run that goes on: what happened in it so far, from its journal; its space as it was searched; its study, put right.

The journal is the truth. The study knows what was asked, which the journal does not; in all else it follows the journal.
"""

from __future__ import annotations

import copy
import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from .errors import UserError
from .loop import COLLAPSED_AFTER, planned_epochs
from .model import load_model
from .plain_json import is_whole
from .ranges import show
from .record import JOURNAL, SPACE, STUDY, OpenTrial, Past, Run, TrialEnd, read_lines, read_run
from .searcher import new_study, open_storage, told, worst
from .space import Spec
from .spec import Options, read_space
from .wanted import ASKED_FOR, config_of

Scores = Mapping[int, Mapping[int, float]]  # by trial and clustering epoch
Judge = Callable[[int, int, float], bool]  # (trial, clustering epoch, score): whether the scheduler stops it there

# What a result depends on. Where this program reads it differently from the one that began the run, the two cannot be one run.
_SAME = (
    "model",
    "metric",
    "score",
    "method",
    "epochs",
    "seed",
    "pretrain_seed",
    "precision",
    "early_terminate",
    "parameters",
    "switches",
    "filled",
)


# --- the space ---------------------------------------------------------------------------------------------------------


def spec_of(folder: Path, trials: str | None, data_root: Path | None) -> Spec:
    """The space of a run, with everything that the command line said when it began. `trials`: `80`, or `+50` for 50 more.

    Raises:
        UserError: it cannot be read, or means something else by now.
    """
    about = _about(folder)
    spec = read_space(str(folder / SPACE), options=_options(about, _trials(trials, int(about["trials"])), data_root))
    now = json.loads(json.dumps(spec.resolved(), default=str))
    filled = now["filled"], about["filled"]
    for one in filled:  # what is said of the data and of the length of the search, here or there, makes no difference
        for key in ("trials", "name", "resources.cpu", "resources.gpu", "resources.pack", "retries"):
            one.pop(key, None)
    unlike = [key for key in _SAME if now[key] != about.get(key)]
    if unlike:
        versions = f"tuner {about['versions']['tuner']}, commit {about.get('commit')}"
        raise UserError(
            f"{folder.name} cannot go on: its space means something else to this version of tuner, in {', '.join(unlike)}. "
            f"Go on with the version that began it ({versions}), or start a new search."
        )
    return replace(spec, options=about["options"], notes=tuple(note for note in spec.notes if not note.startswith("--dataset ")))


def check_beside(folder: Path, beside: Mapping[str, Any]) -> None:
    """Checks a run's space with other values than its own for what it does not search.

    Raises:
        UserError: data, metric or model do not go with them.
    """
    about = _about(folder)
    options = _options(about, int(about["trials"]), None)
    kept = [text for text in options.set if text.partition("=")[0].strip() not in beside]
    read_space(str(folder / SPACE), options=replace(options, set=[*kept, *(f"{name}={show(value)}" for name, value in beside.items())]))


def _options(about: Mapping[str, Any], trials: int, data_root: Path | None) -> Options:
    """What the command line said when the run began; with another `data_root`, if it is given."""
    root = data_root or about.get("data_root")
    said = {key: value for key, value in about["options"].items() if key in {"epochs", "seed", "set"}}
    data = about["dataset"]
    where = {"dataset": about["dataset_at"], "limit": data["limit"], "scale": data["scale"], "data_root": Path(root) if root else None}
    return Options(**said, **where, name=about["space"], trials=trials)


def _about(folder: Path) -> dict[str, Any]:
    about = read_run(folder).spec_json
    missing = [key for key in ("options", "space", "dataset", "dataset_at", "trials", "filled", "versions") if key not in about]
    if missing or not (folder / SPACE).is_file():
        raise UserError(
            f"{folder.name} cannot go on: its spec.json has no '{missing[0]}'. It was begun by an older version of tuner, or was changed."
            if missing
            else f"{folder.name} cannot go on: its space.yaml is gone."
        )
    return about


def _trials(said: str | None, before: int) -> int:
    if said is None:
        return before
    number = said.removeprefix("+")
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", number):
        raise UserError(f"--trials must be a number of trials in all, such as 80, or +50 for 50 more, but got '{said}'.")
    return int(number) + (before if said.startswith("+") else 0)


# --- the study ---------------------------------------------------------------------------------------------------------


def asked_in(folder: Path, name: str) -> list[FrozenTrial]:
    """The trials that were asked for, by number; none where the driver died before it had a study.

    Raises:
        UserError: the study cannot be read.
    """
    path = folder / STUDY
    try:
        storage = open_storage(path) if path.exists() else None
        if storage is None or name not in {study.study_name for study in storage.get_all_studies()}:
            return []
        asked = optuna.load_study(study_name=name, storage=storage).get_trials()
    except Exception as error:  # Optuna replays whatever the lines say, and raises whatever comes of it
        raise UserError(f"{path} cannot be read: {_said(error)}. Nothing was changed. Bring the file back from a copy.") from error
    if asked and "seed" not in asked[-1].user_attrs:
        asked.pop()  # its driver died while it asked; the next one asks again, and gets the same
    return asked


def check_asked(asked: Sequence[FrozenTrial], spec: Spec, path: Path) -> None:
    """Checks the trials that were asked for. `path`: the study's, for the message.

    Raises:
        UserError: one has no seed, or values that its space does not have.
    """
    for trial in asked:
        wrong = None if is_whole(trial.user_attrs.get("seed")) else "it has no seed"
        try:
            spec.hyper(config_of(spec, trial))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wrong = wrong or _said(error)
        if wrong:
            raise UserError(f"{path} is damaged at trial {trial.number}: {wrong}. Nothing was changed. Bring the file back from a copy.")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error).rstrip(".")


def write_study(folder: Path, run: Run, asked: Sequence[FrozenTrial], scores: Scores) -> None:
    """Writes the study anew so that it agrees with the journal: what has not ended there is RUNNING, under its number."""
    assert run.past is not None
    path, fresh = folder / STUDY, folder / f"{STUDY}.new"
    for stale in (fresh, *folder.glob(f"{STUDY}*.lock")):  # of a driver that died while it wrote; nobody else writes now
        stale.unlink(missing_ok=True)
    ends = {end.trial: end for end in (*run.past.ends, *run.past.pruned)}
    study = new_study(fresh, run.name, run.spec)
    for trial in asked:
        study.add_trial(_agreeing(trial, ends.get(trial.number), scores.get(trial.number, {}), run.spec))
    fresh.replace(path)


def _agreeing(asked: FrozenTrial, end: TrialEnd | None, scores: Mapping[int, float], spec: Spec) -> FrozenTrial:
    """A trial of the study as the journal has it."""
    trial = copy.copy(asked)
    trial.user_attrs = {key: value for key, value in asked.user_attrs.items() if key != "state"}
    trial.intermediate_values = dict(scores)
    trial.values, trial.datetime_complete, trial.state = None, None, TrialState.RUNNING
    if end is not None:
        trial.user_attrs["state"] = end.state
        trial.datetime_complete = asked.datetime_complete or datetime.datetime.now()
        trial.state, value = told(end, spec.metric)
        if trial.state == TrialState.PRUNED and scores:
            value = scores[max(scores)]
        trial.values = None if value is None else [value]
    return trial


# --- the journal -------------------------------------------------------------------------------------------------------


def past_of(folder: Path, spec: Spec, asked: Sequence[FrozenTrial], judge: Judge) -> tuple[Past, Scores]:
    """What happened in a run so far. `asked`: the trials of its study. `judge` is told all scores in their order.

    Raises:
        UserError: the journal is damaged, or tells of trials that nobody asked for.
    """
    path = folder / JOURNAL
    lines = list(read_lines(path)) if path.exists() else []
    trials = {trial.number: _Trial(trial, spec) for trial in asked}
    for place, line in enumerate(lines, 1):
        trial = trials.get(line["trial"])
        wrong = f"the study does not know trial {line['trial']}" if trial is None else trial.add(line)
        if wrong:
            raise UserError(f"{path}:{place}: the journal is damaged here: {wrong}. Nothing was changed. Bring the file back from a copy.")
    stopped: set[int] = set()
    for line in lines:
        trial, epoch = trials[line["trial"]], line.get("cluster_epoch")
        if epoch is not None and epoch in trial.scores and judge(line["trial"], epoch, trial.scores[epoch]):
            stopped.add(line["trial"])
    going = {number: trial for number, trial in trials.items() if trial.end is None}
    past = Past(
        ends=tuple(_end(line) for line in lines if trials[line["trial"]].end is line),
        pruned=tuple(trial.ended("pruned") for number, trial in going.items() if number in stopped),
        open={number: trial.opened() for number, trial in going.items() if number not in stopped},
        seconds=read_run(folder).seconds,
    )
    return past, {number: trial.scores for number, trial in trials.items()}


class _Trial:
    """A trial as its lines are read."""

    def __init__(self, asked: FrozenTrial, spec: Spec) -> None:
        self.number, self.config, self._spec = asked.number, config_of(spec, asked), spec
        self._asked_for = ASKED_FOR in asked.user_attrs
        self.metrics: list[dict[str, float]] = []  # of each epoch; empty where it was not trained
        self.clustering: list[dict[str, float]] = []  # of each clustering epoch
        self.end: dict[str, Any] | None = None
        self._seconds, self._since, self._until = 0.0, 0.0, 0.0

    def add(self, line: dict[str, Any]) -> str | None:
        """Takes a line in, or says what is wrong with it."""
        now = float(line.get("time", 0.0))
        if self.end is not None:
            return f"trial {self.number} has ended before"
        if "state" in line:
            self._seconds, self._since, self._until = float(line.get("seconds", 0.0)), 0.0, 0.0
            self.end = line if _end(line).is_over else None
            return None
        if not self.metrics and line["epoch"] == self._shared() + 1:
            self.metrics = [{}] * self._shared()
        if line["epoch"] != len(self.metrics) + 1:
            return f"after {len(self.metrics)} epochs of trial {self.number} comes epoch {line['epoch']}"
        self.metrics.append(line["metrics"])
        if line.get("cluster_epoch") is not None:
            self.clustering.append(line["metrics"])
        self._since, self._until = self._since or now, now
        return None

    def _shared(self) -> int:
        """The epochs that it need not have trained: those of a pre-training whose outcome was known."""
        h = self._spec.hyper(self.config)
        first = load_model(self._spec.model).phases(h)[0]
        return int(getattr(h, first.epochs)) if first.depends else 0

    @property
    def values(self) -> list[float]:
        """The metric at the clustering epochs that measured it."""
        name = self._spec.metric.name
        return [float(metrics[name]) for metrics in self.clustering if name in metrics]

    @cached_property
    def scores(self) -> dict[int, float]:
        """What the scheduler and the sampler were told, by clustering epoch. To be asked for when all lines are in.

        Without the last epoch of a trial that was over with it, where that was not journalled: it is trained again, and told then.
        """
        values, spec = self.values, self._spec
        scores = {i: spec.score_of(values[:i]) for i in range(1, len(values) + 1)}
        last = len(self.clustering)
        if last and self.end is not None and self.end["state"] in ("collapsed", "diverged"):
            scores[last] = worst(spec.metric)
        elif last and self.end is None and self._was_over():
            scores.pop(last, None)
        return scores

    def _was_over(self) -> bool:
        """Whether nothing could follow the last epoch but the trial's end."""
        lonely = 0
        while lonely < len(self.clustering) and self.clustering[-1 - lonely].get("n_used", 2) <= 1:
            lonely += 1
        planned = planned_epochs(load_model(self._spec.model), self._spec.hyper(self.config))[0]
        return len(self.values) < len(self.clustering) or lonely >= COLLAPSED_AFTER or len(self.metrics) >= planned

    def _shown(self) -> tuple[float | None, dict[str, float]]:
        """The score so far, and the metrics of the epoch that it is of."""
        values = self.values
        if not values:
            return None, self.metrics[-1] if self.metrics else {}
        score = self._spec.score_of(values)
        best = max(i for i, value in enumerate(values) if value == score) if self._spec.score == "max" else len(values) - 1
        return score, self.clustering[best]

    def opened(self) -> OpenTrial:
        score, shown = self._shown()
        seconds = self._seconds + self._until - self._since
        return OpenTrial(config=self.config, metrics=self.metrics, score=score, shown=shown, seconds=seconds)

    def ended(self, state: str) -> TrialEnd:
        known = self.opened()
        return TrialEnd(
            trial=self.number,
            state=state,
            config=self.config,
            score=known.score,
            metrics=known.shown,
            epochs=len(self.metrics),
            seconds=known.seconds,
            asked_for=self._asked_for,
        )


def _end(line: Mapping[str, Any]) -> TrialEnd:
    return TrialEnd(**{f.name: line[f.name] for f in fields(TrialEnd) if f.name in line})

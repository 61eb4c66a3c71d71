"""What happened in a run before this driver's time, from its journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from optuna.trial import FrozenTrial

from tuner.errors import UserError
from tuner.names import held_out
from tuner.runs.events import OpenTrial, Past, TrialEnd
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL
from tuner.runs.records import EndLine, EpochLine
from tuner.runs.results import read_run
from tuner.runs.states import STATES
from tuner.space.request import ASKED_FOR, config_of
from tuner.space.spec import Spec
from tuner.space.warm import WARM
from tuner.training.loop import COLLAPSED_AFTER
from tuner.training.pretraining import may_be_known
from tuner.training.trial import can_take, planned_epochs
from tuner.training.warm import pretraining_of

from .scores import TrialScore, values_of
from .seeds import configuration_of

Scores = Mapping[int, Mapping[int, float]]  # by trial and clustering epoch
# (trial, clustering epoch, score, with several metrics their values): whether the scheduler stops it there
Judge = Callable[[int, int, float, Sequence[float]], bool]


# --- the journal -------------------------------------------------------------------------------------------------------


def past_of(folder: Path, spec: Spec, proposed: Sequence[FrozenTrial], judge: Judge) -> tuple[Past, Scores]:
    """What happened in a run so far. `proposed`: the trials of its study. `judge` gets all scores in their order.

    Raises:
        UserError: the journal is damaged, or has trials that the study does not know.
    """
    path = folder / JOURNAL
    lines = list(read_lines(path)) if path.exists() else []
    trials = {trial.number: _Trial(trial, spec) for trial in proposed}
    for place, line in enumerate(lines, 1):
        trial = trials.get(line["trial"])
        wrong = f"the study does not know trial {line['trial']}" if trial is None else trial.add(line)
        if wrong:
            raise UserError(f"{path}:{place}: the journal is damaged here: {wrong}. Nothing was changed. Bring the file back from a copy.")
    stopped: set[int] = set()
    for line in lines:
        trial, epoch = trials[line["trial"]], None if "state" in line else line.get("cluster_epoch")
        if epoch is not None and epoch in trial.scores and judge(line["trial"], epoch, trial.scores[epoch], trial.values(epoch)):
            stopped.add(line["trial"])
    going = {number: trial for number, trial in trials.items() if trial.end is None}
    past = Past(
        ends=tuple(TrialEnd.of(line) for line in lines if "state" in line and trials[line["trial"]].end is line),
        pruned=tuple(trial.ended("pruned") for number, trial in going.items() if number in stopped),
        open={number: trial.opened() for number, trial in going.items() if number not in stopped},
        seconds=read_run(folder).seconds,
    )
    return past, {number: trial.scores for number, trial in trials.items()}


class _Trial:
    """A trial as its lines are read."""

    def __init__(self, proposed: FrozenTrial, spec: Spec) -> None:
        self.number, self.config, self._spec = proposed.number, config_of(spec, proposed), spec
        self._asked_for = ASKED_FOR in proposed.user_attrs
        self._configuration = None if spec.seeds.single else configuration_of(proposed)
        self.metrics: list[Mapping[str, float]] = []  # of each epoch; empty where it was not trained
        self.clustering: list[Mapping[str, float]] = []  # of each clustering epoch
        self.end: EndLine | None = None
        self._ended = False  # by its last epoch, which says so
        self._seconds, self._since, self._until = 0.0, 0.0, 0.0

    def add(self, line: EpochLine | EndLine) -> str | None:
        """Takes a line in, or says what is wrong with it."""
        now = float(line.get("time", 0.0))
        if self.end is not None:
            return f"trial {self.number} has ended before"
        if "state" in line:
            self._seconds, self._since, self._until = float(line.get("seconds", 0.0)), 0.0, 0.0
            self.end = line if TrialEnd.of(line).is_over else None
            return None
        if not self.metrics and self._may_begin_behind(line["epoch"] - 1):
            self.metrics = [{}] * (line["epoch"] - 1)
        if line["epoch"] != len(self.metrics) + 1:
            return f"after {len(self.metrics)} epochs of trial {self.number} comes epoch {line['epoch']}"
        self.metrics.append(line["metrics"])
        self._ended = "ended" in line
        if line.get("cluster_epoch") is not None:
            self.clustering.append(line["metrics"])
        self._since, self._until = self._since or now, now
        return None

    def _may_begin_behind(self, epochs: int) -> bool:
        """Whether it need not have trained these epochs: those of a pre-training whose outcome was known, or that it has from others."""
        if WARM in self.config:
            before = pretraining_of(self._spec.loaded().phases(self._spec.hyper(self.config)))
            return epochs > 0 and can_take(epochs, before, self._spec.hyper(self.config))
        return epochs > 0 and may_be_known(self._spec.loaded(), self._spec.hyper(self.config), epochs)

    def _score(self) -> TrialScore:
        """Of the clustering epochs that measured the metric."""
        name = self._spec.metric.name
        return TrialScore(self._spec, [metrics[name] for metrics in self.clustering if name in metrics])

    @cached_property
    def scores(self) -> dict[int, float]:
        """What the scheduler and the sampler were told, by clustering epoch. Complete when all lines are in.

        Without the last epoch of a trial that was over with it, where that was not journalled: it is trained again, and told then.
        """
        if WARM in self.config:  # neither was told anything
            return {}
        score = self._score()
        scores = {i: score.after(i) for i in range(1, len(score.values) + 1)}
        last = len(self.clustering)
        if last and self.end is not None and STATES[self.end["state"]].worst:
            scores[last] = self._spec.metric.worst
        elif last and self.end is None and self._was_over():
            scores.pop(last, None)
        return scores

    def values(self, epoch: int) -> Sequence[float]:
        """Where several metrics decide: theirs at a clustering epoch."""
        if self._spec.metrics is None:
            return ()
        last = epoch == len(self.clustering) and self.end is not None
        return values_of(self._spec, self.clustering[epoch - 1], self.end["state"] if last and self.end is not None else None)

    def _was_over(self) -> bool:
        """Whether nothing could follow the last epoch but the trial's end. Journals of before 0.2 do not say so: there it is counted."""
        if self._ended:
            return True
        one_cluster_epochs = 0
        while one_cluster_epochs < len(self.clustering) and self.clustering[-1 - one_cluster_epochs].get("n_used", 2) <= 1:
            one_cluster_epochs += 1
        planned = planned_epochs(self._spec.loaded(), self._spec.hyper(self.config))[0]
        unmeasured = len(self._score().values) < len(self.clustering)
        return unmeasured or one_cluster_epochs >= COLLAPSED_AFTER or len(self.metrics) >= planned

    def opened(self) -> OpenTrial:
        """The trial as it goes on, with the metrics of the epoch that its score is of."""
        score = self._score()
        shown = self.clustering[score.epoch - 1] if score.values else self.metrics[-1] if self.metrics else {}
        shown = {**shown, **held_out(self.metrics[-1] if self.metrics else {})}
        seconds = self._seconds + self._until - self._since
        return OpenTrial(config=self.config, metrics=self.metrics, score=score.value, shown=shown, seconds=seconds)

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
            configuration=self._configuration,
        )

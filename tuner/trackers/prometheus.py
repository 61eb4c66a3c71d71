"""How a search stands, as Ray metrics: Prometheus reads them from the node that the driver is on, Grafana draws them.

ray_tuner_best{run, metric}         the best complete trial's score so far; absent before there is one
ray_tuner_trials{run, state}        trials by state, `running` among them
ray_tuner_epochs_total{run}         epochs in the journal, of all trials
ray_tuner_epochs_per_second{run}    of late, all trials together
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge

from tuner.runs.events import Run, TrialEnd
from tuner.runs.progress import Progress
from tuner.runs.records import EpochLine
from tuner.runs.results import read_run
from tuner.runs.states import STATES


class RayMetrics:
    """A `Listener`. Ray exports the metrics of the driver's process every 10 s while it lives."""

    def search_started(self, run: Run) -> None:
        self._progress = Progress(run)
        self._tags = {"run": run.name}
        self._best = Gauge("tuner_best", "The best complete trial's score so far.", ("run", "metric"))
        self._trials = Gauge("tuner_trials", "Trials by state.", ("run", "state"))
        self._epochs = Counter("tuner_epochs", "Epochs in the journal, of all trials.", ("run",))
        self._speed = Gauge("tuner_epochs_per_second", "Epochs per second of late, all trials together.", ("run",))
        self._count(read_run(run.folder).epochs)
        self._update()

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        self._progress.begin(trial, config)
        self._update()

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._progress.advance(trial, line, time.monotonic())
        self._count(1)
        self._speed.set(self._progress.speed(), self._tags)

    def trial_ended(self, end: TrialEnd) -> None:
        self._progress.end(end)
        self._update()

    def search_ended(self, status: str) -> None:
        self._speed.set(0.0, self._tags)

    def _count(self, epochs: int) -> None:
        if epochs:
            self._epochs.inc(epochs, self._tags)

    def _update(self) -> None:
        progress = self._progress
        for state, n in {"running": len(progress.running), **{state: progress.ends[state] for state in STATES}}.items():
            self._trials.set(n, {**self._tags, "state": state})
        if progress.best is not None and progress.best.score is not None:
            self._best.set(progress.best.score, {**self._tags, "metric": progress.spec.metric.name})

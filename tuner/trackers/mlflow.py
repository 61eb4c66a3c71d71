"""MLflow: a run for every trial below one for the whole search, in a store that MLflow's own tools read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner.runs.events import TrialEnd
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL
from tuner.runs.states import STATES

from .mirror import Mirror
from .mlflow_store import Store
from .progress import configurations, progress

if TYPE_CHECKING:
    from tuner.runs.events import Run
    from tuner.runs.records import EndLine, EpochLine
    from tuner.space.tracking import Mlflow

BATCH = 500  # metrics of a trial that are sent together
FLUSH_S = 5  # no metric waits longer for the next ones than until the first epoch after that
_STATUS = {0: "FINISHED", 1: "FAILED", 255: "KILLED"}  # by a state's exit code


class MlflowRuns(Mirror):
    """Mirrors a search to an MLflow store. `say` prints one line for the user."""

    title = "MLflow"
    late = "What does not arrive is missing there; the run's folder has all of it."

    def __init__(self, asked: Mlflow, *, say: Callable[[str], None] = print) -> None:
        super().__init__(say)
        self._asked = asked

    def prepared(self, run: Run) -> Callable[[], _Runs]:
        journal = run.folder / JOURNAL
        lines = list(read_lines(journal)) if run.past is not None and journal.exists() else []
        return lambda: _Runs(Store.of(self._asked, run.folder, search_id(run.info, run.name)), run, lines)


def search_id(info: Mapping[str, Any], name: str) -> str:
    """By which the store knows a search; runs of old have their name alone."""
    return str(info.get("id") or name)


@dataclass(kw_only=True)
class _Open:
    """A run that goes on. `step`: the last one that it has, or that is on its way; `waiting`: metrics to send."""

    id: str
    step: int = 0
    waiting: list[Any] = field(default_factory=list)
    sent: float = field(default_factory=time.monotonic)


class _Runs:
    """The runs of a search. Everything happens on the thread that owns it."""

    def __init__(self, store: Store, run: Run, lines: Sequence[EpochLine | EndLine]) -> None:
        self._store, self._run, self._lines = store, run, lines
        self._known = store.runs() if run.past is not None else {}
        self._open: dict[int, _Open] = {}
        self._ends: list[TrialEnd] = []
        spec, info = run.spec, run.info
        self._about = {"model": spec.model, "dataset": spec.dataset.name, "commit": info.get("commit")}
        about = {"metric": spec.metric.name, "method": spec.method, "trials": spec.trials, "epochs": spec.epochs, "seed": spec.seed}
        self._search = self._begin("search", run.name, about, {"status": "running"})

    def catch_up(self) -> None:
        past = self._run.past
        if past is None:
            return
        for end in past.ends:
            self._count(end)
        configs = configurations(past)
        for line in self._lines:
            trial = line["trial"]
            if self._is_over(trial):
                continue
            self.trial_started(trial, configs[trial])
            if "state" not in line:
                self.epoch_ended(trial, line)
            elif (end := TrialEnd.of(line)).is_over:
                self._close(end)

    def _is_over(self, trial: int) -> bool:
        """Whether the store has the trial's end."""
        known = self._known.get(str(trial))
        return trial not in self._open and known is not None and known.data.tags.get("state") not in ("running", "stopped")

    # --- the events of a search ---

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        if trial not in self._open:  # a second attempt goes on in the first one's run
            tags = {"state": "running", "seed": config.get("seed"), "mlflow.parentRunId": self._search.id}
            self._open[trial] = self._begin(str(trial), f"{self._run.name} #{trial}", config, tags)

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        run, step = self._open.get(trial), line["epoch"]
        if run is None or step <= run.step:
            return
        counted = {} if line["cluster_epoch"] is None else {"cluster_epoch": line["cluster_epoch"]}
        self._add(run, {**line["metrics"], **counted}, step, line.get("time"))
        if len(run.waiting) >= BATCH or time.monotonic() - run.sent >= FLUSH_S:
            self._send(run)

    def trial_ended(self, end: TrialEnd) -> None:
        self._count(end)
        self._close(end)

    def search_ended(self, status: str) -> None:
        for run in self._open.values():  # of an earlier driver; this one did not come to them
            self._end(run, "stopped", {"state": "stopped"})
        self._open.clear()
        self._end(self._search, {"done": "complete"}.get(status, status), {"status": status})

    # --- MLflow ---

    def _begin(self, part: str, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> _Open:
        """A new run of this search, or the one it had before an interruption."""
        source = {"mlflow.source.name": "tuner", "mlflow.source.git.commit": self._about["commit"]}
        known = self._known.get(part)
        if known is None:
            made = self._store.begin(part, name, {**self._about, **source, **tags})
            self._store.log(made.info.run_id, params=params)
            return _Open(id=made.info.run_id)
        run = _Open(id=known.info.run_id, step=self._store.last_step(known))
        self._store.client.update_run(run.id, status="RUNNING")
        lacking = {key: value for key, value in params.items() if key not in known.data.params}  # the driver died between the two
        self._store.log(run.id, params=lacking, tags=tags)
        return run

    def _count(self, end: TrialEnd) -> None:
        """What the search's own run shows after a trial, at the step of how many are over."""
        if not end.is_over:
            return
        self._ends.append(end)
        step = len(self._ends)
        if step > self._search.step:
            self._add(self._search, progress(self._ends, self._run.spec), step, None)
            self._send(self._search)

    def _close(self, end: TrialEnd) -> None:
        run = self._open.pop(end.trial, None)
        if run is None:
            return
        known = {"score": end.score, "seconds": end.seconds}
        if end.is_over:
            self._add(run, {name: value for name, value in known.items() if value is not None}, end.epochs, None)
        tags = {"state": end.state, "reason": end.reason, "traceback": end.traceback, "configuration": end.configuration}
        self._end(run, end.state, tags)

    def _end(self, run: _Open, state: str, tags: Mapping[str, Any]) -> None:
        self._send(run)
        self._store.log(run.id, tags=tags)
        self._store.client.set_terminated(run.id, _STATUS[STATES[state].exit_code])

    def _add(self, run: _Open, metrics: Mapping[str, Any], step: int, seconds: float | None) -> None:
        from mlflow.entities import Metric

        now = int(1000 * (time.time() if seconds is None else seconds))
        run.waiting += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        run.step = max(run.step, step)

    def _send(self, run: _Open) -> None:
        self._store.log(run.id, metrics=run.waiting)
        run.waiting, run.sent = [], time.monotonic()

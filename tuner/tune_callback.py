"""Tune's events as ours: for each trial its start, its epochs without a gap, and how it ended."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from .loop import planned_epochs
from .model import load_model
from .record import Listeners, TrialEnd
from .space import Spec
from .trial import Mailbox

LOOK_EVERY_S = 0.2  # for pre-training epochs in the mailbox
_RAISED = re.compile(r"[A-Za-z_.]*(Error|Exception): ")
ANSWER_S = 30.0  # the mailbox's longest, before it counts as lost


class StopWhenAsked(Stopper):
    """Ends the search when somebody asks for it, without waiting for the epochs that are being trained."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.trials: Sequence[TuneTrial] = ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self.asked.is_set():
            for trial in self.trials:
                actor = trial.temporary_state.ray_actor
                if actor is not None:
                    ray.kill(actor)  # checkpoints are written whole or not at all
        return self.asked.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {}


@dataclass(kw_only=True)
class _Running:
    """What is known of a trial that has not ended."""

    config: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    epochs: int = 0
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)  # of the epoch that the score is of
    ended: str | None = None
    reason: str | None = None


class TuneCallback(tune.Callback):
    """Tells `listeners`. `ended` is called with every trial's end before they are."""

    def __init__(self, spec: Spec, mailbox: str, listeners: Listeners, ended: Callable[[TrialEnd], None]) -> None:
        self._spec, self._listeners, self._ended = spec, listeners, ended
        self._mailbox = _MailboxReader(mailbox)
        self._model = load_model(spec.model)
        self._running: dict[int, _Running] = {}
        self._told: set[int] = set()  # trials whose end was told
        self.stopper = StopWhenAsked()
        self.error: BaseException | None = None  # what went wrong in here: Tune would only pass on its text

    # --- Tune's events ---

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.stopper.trials = trials
        self._guarded(lambda: self._journal(self._mailbox.look()))

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._guarded(lambda: self._start(trial.config))

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any) -> None:
        self._guarded(lambda: self._result(result))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = trial.config["trial"]
        ended = self._running[number].ended or "pruned"  # nobody but the scheduler stops a trial that has not ended
        self._guarded(lambda: self._end(number, ended))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        def failed() -> None:
            self._running.setdefault(trial.config["trial"], _Running(config=trial.config["config"]))
            self._running[trial.config["trial"]].reason = _reason(trial)
            self._journal(self._mailbox.look(now=True))
            self._end(trial.config["trial"], "failed")

        self._guarded(failed)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore them; nobody restores

    # --- ours ---

    def close(self, trials: Sequence[Mapping[str, Any]], state: str, reason: str | None) -> None:
        """Ends what has not: of all configurations that Tune was given, those that nothing was heard of since."""
        with contextlib.suppress(ray.exceptions.RayError):  # where Ray itself is gone, so is what lay in the mailbox
            self._journal(self._mailbox.look(now=True))
        for config in trials:
            if config["trial"] not in self._told:
                self._running.setdefault(config["trial"], _Running(config=config["config"])).reason = reason
                self._end(config["trial"], state)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self.error = self.error or error
            raise

    def _start(self, asked: Mapping[str, Any]) -> None:
        number, config = asked["trial"], asked["config"]
        if number in self._running:
            return
        planned, clustering = planned_epochs(self._model, self._spec.hyper(config))
        if planned > clustering:
            self._mailbox.open()
        self._running[number] = _Running(config=config)
        self._listeners.trial_started(number, config)

    def _result(self, result: dict[str, Any]) -> None:
        line = result.pop("line")  # Tune keeps statistics of all that it finds in a result
        running = self._running[line["trial"]]
        if line["epoch"] > running.epochs + 1:
            self._journal(self._mailbox.look(now=True))
        running.ended, running.reason = result["ended"], result["reason"]
        metric = line["metrics"].get(self._spec.metric.name)
        if running.ended not in ("collapsed", "diverged"):
            running.score = result["score"]
        if self._spec.score != "max" or metric == running.score or running.ended in ("collapsed", "diverged"):
            running.metrics = line["metrics"]
        self._journal([line])

    def _journal(self, lines: Sequence[dict[str, Any]]) -> None:
        for line in lines:
            running = self._running.get(line["trial"])
            if running is not None:
                running.epochs += 1
                if running.score is None:
                    running.metrics = line["metrics"]
                self._listeners.epoch_ended(line["trial"], line | {"time": round(time.time(), 3)})

    def _end(self, number: int, state: str) -> None:
        running = self._running.pop(number)
        end = TrialEnd(
            trial=number,
            state=state,
            config=running.config,
            score=None if state in ("collapsed", "diverged") else running.score,
            metrics=running.metrics,
            epochs=running.epochs,
            seconds=time.monotonic() - running.started,
            reason=running.reason,
        )
        self._told.add(number)
        self._ended(end)
        self._listeners.trial_ended(end)


class _MailboxReader:
    """Reads the mailbox without waiting for it, unless told to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._asked: Any = None
        self._looked = 0.0

    def open(self) -> None:
        """Makes the mailbox where there is none yet: most models have no pre-training."""
        if self._actor is None:
            self._actor = ray.remote(Mailbox).options(name=self._name, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()

    def look(self, *, now: bool = False) -> list[dict[str, Any]]:
        """What has come. `now`: all that was put before this call; else what is there without waiting for an answer."""
        if self._actor is None:
            return []
        lines: list[dict[str, Any]] = []
        if self._asked is not None:
            if not now and not ray.wait([self._asked], timeout=0)[0]:
                return []
            lines += ray.get(self._asked, timeout=ANSWER_S)
            self._asked = None
        if now:
            lines += ray.get(self._actor.take.remote(), timeout=ANSWER_S)
        elif time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._asked = self._actor.take.remote()
        return lines


@contextlib.contextmanager
def only_the_trial_is_lost() -> Iterator[None]:
    """While it lasts, a worker that Ray kills because its node runs out of memory costs its trial, not the search.

    Ray reports it as an OutOfMemoryError, which Tune 2.60 takes for no actor's death: it raises, and everything is over.
    """
    known = RayActorManager._actor_task_failed

    def failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, RayTaskError | RayActorError):
            exception = RayActorError(error_msg=str(exception))
        known(self, tracked_actor_task, exception)

    with mock.patch.object(RayActorManager, "_actor_task_failed", failed):
        yield


def _reason(trial: TuneTrial) -> str:
    """From the files beside this process in which Tune keeps a failure: the error itself, or where it has none only its text."""
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        return reason_of(ray.cloudpickle.loads(Path(pickled).read_bytes()))
    lines = Path(text).read_text().splitlines()[1:] if text and Path(text).exists() else []
    return next((line.strip() for line in lines if line.strip()), reason_of(None))


def reason_of(error: BaseException | None) -> str:
    """Why a trial failed, in one line: what it raised, or what Ray says of a process that is gone."""
    cause = getattr(error, "cause", None) or error
    if cause is None:
        return "it failed, and Ray does not say why"
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()] or [""]
    if not isinstance(cause, ray.exceptions.RayError):
        return f"{type(cause).__name__}: {lines[0]}" if lines[0] else type(cause).__name__
    raised = [line for line in lines if _RAISED.match(line)]
    detail = [line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0] for line in lines]
    return f"the trial's process is gone: {next(iter([*raised[-1:], *filter(None, detail), lines[0]]))}"

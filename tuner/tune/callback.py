"""Tune's events as ours: for each trial its start, its epochs without a gap, and how it ended."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from tuner.clock import SYSTEM, Clock
from tuner.names import held_out
from tuner.runs.events import Listeners, OpenTrial, Run, TrialEnd
from tuner.runs.records import EpochLine
from tuner.runs.trial_logs import TrialLogs
from tuner.training.trial import planned_epochs

from .executor import Letters
from .failures import failure_of
from .result import TuneResult
from .stopper import SearchControl

logger = logging.getLogger("tuner")
ALIKE = 4  # so many trials that fail alike, before any other ended, and the search is hopeless
_ROUNDING = 1e-6  # of a metric, between two trainings of one epoch; it is not worth telling


@dataclass(kw_only=True)
class _Running:
    """What is known of a trial that has not ended."""

    config: dict[str, Any]
    asked_for: bool = False  # by a person
    configuration: int | None = None  # where each has several seeds
    started: float
    epochs: int = 0
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the epoch that the score is of
    ended: str | None = None
    reason: str | None = None
    traceback: str | None = None
    before: float = 0.0  # seconds that it ran under an earlier driver
    known: Sequence[Mapping[str, float]] = ()  # the metrics of the epochs that an earlier driver journalled


@dataclass(frozen=True, kw_only=True)
class Receivers:
    """Who is told what happens: `listeners`, after them `trial_ended` of every trial's end, and the logs of what trials print."""

    listeners: Listeners
    logs: TrialLogs
    trial_ended: Callable[[TrialEnd], None]


class Orders(tune.Callback):
    """Looks for orders of people before every step, after `callback` has journalled what came before them."""

    def __init__(self, callback: TuneCallback, look: Callable[[], None]) -> None:
        self._callback, self._look = callback, look

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._callback.guarded(self._look)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class TuneCallback(tune.Callback):
    """Tells the receivers of every trial's start, epochs and end."""

    def __init__(self, run: Run, receivers: Receivers, control: SearchControl, letters: Letters, clock: Clock = SYSTEM) -> None:
        """`letters`: bring pre-training epochs."""
        self._spec, self._control, self._requests = run.spec, control, control.requests
        self._listeners, self._logs, self._ended = receivers.listeners, receivers.logs, receivers.trial_ended
        self._mailbox, self._clock = letters, clock
        self._model = run.spec.loaded()
        self._running: dict[int, _Running] = {}
        self._open: dict[int, OpenTrial] = {} if run.past is None else dict(run.past.open)
        hopeful = run.past is not None and any(end.state != "failed" for end in run.past.ends)
        self._failures: list[str] | None = None if hopeful else []  # the first ones; None once a trial has ended otherwise
        self._differs = self._troubled = False  # whether a warning was given
        self._over: set[int] = set()  # trials whose end is journalled
        self.error: BaseException | None = None  # what went wrong in here: Tune would only pass on its text

    # --- Tune's events ---

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._requests.watch(trials)
        self.guarded(self._take_mail)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self.guarded(lambda: self._start(trial.config))

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any) -> None:
        found = TuneResult.read(result)
        self._control.quarantine.reported(found.node, ended=self._requests.state(found.trial, found.ended) is not None)
        self.guarded(lambda: self._result(found))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = trial.config["trial"]
        # Only the scheduler stops a trial that neither ended by itself nor was to stop.
        ended = self._requests.state(number, self._running[number].ended) or "pruned"
        self.guarded(lambda: self._end(number, ended))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        def failed() -> None:
            running = self._begin(trial.config)
            running.reason, running.traceback, captured = failure_of(trial)
            self._take_mail(now=True)
            self._logs.add(trial.config["trial"], captured)
            self._end(trial.config["trial"], "failed")

        self.guarded(failed)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        def again() -> None:
            self._take_mail(now=True)
            if self._requests.search.is_set():  # its process was ended with the search
                return
            number, nth, (reason, _, captured) = trial.config["trial"], trial.run_metadata.num_failures, failure_of(trial)
            logger.warning("Trial %d is tried again, %d of %d times: %s", number, nth, self._spec.retries, reason)
            self._logs.add(number, captured)
            self._logs.note(number, "WARNING", f"is tried again, {nth} of {self._spec.retries} times: {reason}")

        self.guarded(again)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore them; nobody restores

    # --- ours ---

    def stop(self, trial: int) -> None:
        """Ends a trial with the epoch that it is in."""
        self._requests.trials.add(trial)
        self._mailbox.stop(trial)

    def stop_search(self) -> None:
        """Ends the search, without waiting for the epochs that are being trained."""
        self._requests.search.set()

    def withdraw(self, trial: Mapping[str, Any]) -> None:
        """Ends a trial that was never begun. `trial`: its number and configuration."""
        self._requests.trials.add(trial["trial"])
        self._begin(trial)
        self._end(trial["trial"], "stopped")

    def close(self, trials: Sequence[Mapping[str, Any]], state: str, reason: str | None) -> None:
        """Journals the end of the trials that Tune was given and that have none."""
        with contextlib.suppress(ray.exceptions.RayError):  # where Ray itself is gone, so is what lay in the mailbox
            self._take_mail(now=True)
        for config in trials:
            if config["trial"] not in self._over:
                self._begin(config).reason = reason
                self._end(config["trial"], state)

    def guarded(self, call: Callable[[], None]) -> None:
        """Keeps the error of a call that fails, which Tune replaces by one of its own."""
        try:
            call()
        except BaseException as error:
            self.error = self.error or error
            raise

    def _begin(self, trial: Mapping[str, Any]) -> _Running:
        """What is known of the trial; from earlier, where it goes on."""
        number, config = trial["trial"], trial["config"]
        if number not in self._running:
            running = self._running[number] = _Running(
                config=config,
                started=self._clock.monotonic(),
                asked_for=trial.get("asked_for", False),
                configuration=trial.get("configuration"),
            )
            before = self._open.pop(number, None)
            if before is not None:
                running.epochs, running.known, running.before = len(before.metrics), before.metrics, before.seconds
                running.score, running.metrics = before.score, dict(before.shown)
        return self._running[number]

    def _start(self, trial: Mapping[str, Any]) -> None:
        if trial["trial"] in self._running:  # it is tried again
            return
        planned, clustering = planned_epochs(self._model, self._spec.hyper(trial["config"]))
        if planned > clustering:
            self._mailbox.open()
        if trial["trial"] in self._requests.trials:
            self._mailbox.stop(trial["trial"])
        self._begin(trial)
        self._listeners.trial_started(trial["trial"], trial["config"])

    def _result(self, result: TuneResult) -> None:
        if result.before:  # what was captured in its pre-training comes first in its log, and may still lie in the mailbox
            self._take_mail(now=True)
        self._logs.add(result.trial, result.captured)
        self._journal(result.before)
        line = result.line
        if line is None:  # it was stopped in its pre-training
            return
        running = self._running[result.trial]
        running.ended, running.reason = self._requests.state(result.trial, result.ended), result.reason
        if result.trouble is not None and not self._troubled:
            self._troubled = True
            logger.warning(
                "A checkpoint could not be written (%s). Trials go on without; one that is interrupted then goes on from an older one, or "
                "begins anew. This is said once.", result.trouble,
            )  # fmt: skip
        bad = running.ended in ("collapsed", "diverged")
        if line["epoch"] > running.epochs or running.ended:  # else it was trained once more, to go on from there
            if not bad:
                running.score = result.score
            if self._spec.score != "max" or bad or line["metrics"].get(self._spec.metric.name) == running.score:
                running.metrics = line["metrics"]
            running.metrics = {**running.metrics, **held_out(line["metrics"])}
        self._journal([line])

    def _take_mail(self, *, now: bool = False) -> None:
        for mail in self._mailbox.look(now=now):
            self._logs.add(mail.line["trial"], mail.captured)
            running = self._running.get(mail.line["trial"])
            if running is not None and mail.line["epoch"] <= running.epochs + 1:  # else one was lost, and all come with the next result
                self._journal([mail.line])

    def _journal(self, lines: Sequence[EpochLine]) -> None:
        for line in lines:
            running = self._running.get(line["trial"])
            if running is None:
                continue
            if line["epoch"] <= running.epochs:
                self._compare(running, line)
                continue
            running.epochs, running.known = line["epoch"], ()
            if running.score is None:
                running.metrics = line["metrics"]
            self._listeners.epoch_ended(line["trial"], line | {"time": round(self._clock.time(), 3)})

    def _compare(self, running: _Running, line: Mapping[str, Any]) -> None:
        """An epoch that is journalled already was trained again: the same seed should give the same numbers."""
        before = running.known[line["epoch"] - 1] if line["epoch"] <= len(running.known) else {}
        for name in before.keys() & line["metrics"].keys() - {"samples_per_s"}:
            was, now = before[name], line["metrics"][name]
            if not self._differs and not math.isclose(was, now, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
                self._differs = True
                logger.warning(
                    "Epoch %d of trial %d, trained again after the interruption, gives %s %.6g where it gave %.6g: the arithmetic here is "
                    "not the same every time, or not that of before. The journal keeps the first. This is said once.",
                    line["epoch"], line["trial"], name, now, was,
                )  # fmt: skip

    def _end(self, number: int, state: str) -> None:
        running = self._running.pop(number)
        for_good = state == "stopped" and number in self._requests.trials
        end = TrialEnd(
            trial=number,
            state=state,
            config=running.config,
            score=None if state in ("collapsed", "diverged") else running.score,
            metrics=running.metrics,
            epochs=running.epochs,
            seconds=running.before + self._clock.monotonic() - running.started,
            reason="stopped by `tuner stop --trial`" if for_good else running.reason,
            traceback=running.traceback,
            asked_for=running.asked_for,
            for_good=for_good,
            configuration=running.configuration,
        )
        self._over.add(number)
        self._listeners.trial_ended(end)
        self._ended(end)
        self._count(end)

    def _count(self, end: TrialEnd) -> None:
        """Gives the search up where its first trials all fail for the same reason: so would the others."""
        if self._failures is None or end.state == "stopped":
            return
        if end.state != "failed" or end.reason is None:
            self._failures = None
            return
        self._failures.append(re.sub(r"0x[0-9a-f]+|\d+", "#", end.reason))
        if len(set(self._failures)) > 1:
            self._failures = None
        elif len(self._failures) == ALIKE:
            self._requests.give_up(f"the first {ALIKE} trials all failed for the same reason: {end.reason}")

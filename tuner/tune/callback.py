"""Tune's events as ours: for each trial its start, its epochs without a gap, and how it ended."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from tuner.model import load_model
from tuner.runs.events import Listeners, OpenTrial, Past, TrialEnd
from tuner.runs.records import EpochLine
from tuner.runs.trial_logs import TrialLogs
from tuner.space.spec import Spec
from tuner.training.trial import planned_epochs

from .failures import failure_of
from .mailbox import MailboxReader
from .quarantine import Quarantine
from .stopper import StopWhenAsked

logger = logging.getLogger("tuner")
ALIKE = 4  # so many trials that fail alike, before any other ended, and the search is hopeless
_ROUNDING = 1e-6  # of a metric, between two trainings of one epoch; it is not worth telling


@dataclass(kw_only=True)
class _Running:
    """What is known of a trial that has not ended."""

    config: dict[str, Any]
    asked_for: bool = False  # by a person
    started: float = field(default_factory=time.monotonic)
    epochs: int = 0
    score: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)  # of the epoch that the score is of
    ended: str | None = None
    reason: str | None = None
    traceback: str | None = None
    before: float = 0.0  # seconds that it ran under an earlier driver
    known: Sequence[Mapping[str, float]] = ()  # the metrics of the epochs that an earlier driver journalled


class TuneCallback(tune.Callback):
    """Tells `listeners`, and after them `ended` of every trial's end. `past`: what was journalled before."""

    def __init__(self, spec: Spec, mailbox: str, listeners: Listeners, ended: Callable[[TrialEnd], None], past: Past | None = None) -> None:
        self._spec, self._listeners, self._ended = spec, listeners, ended
        self._mailbox = MailboxReader(mailbox)
        self._model = load_model(spec.model)
        self._running: dict[int, _Running] = {}
        self._open: dict[int, OpenTrial] = {} if past is None else dict(past.open)
        hopeful = past is not None and any(end.state != "failed" for end in past.ends)
        self._failures: list[str] | None = None if hopeful else []  # the first ones; None once a trial has ended otherwise
        self._differs = self._troubled = False  # whether it was said
        self.hopeless: str | None = None  # why the search was given up
        self._told: set[int] = set()  # trials whose end was told
        self.take_orders: Callable[[], None] = lambda: None
        self.stopper = StopWhenAsked()
        self.quarantine: Quarantine  # the search's, before it begins
        self.logs: TrialLogs  # likewise
        self.error: BaseException | None = None  # what went wrong in here: Tune would only pass on its text

    # --- Tune's events ---

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.stopper.trials = trials
        self._guarded(lambda: self._journal(self._mailbox.look()))
        self._guarded(self.take_orders)

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._guarded(lambda: self._start(trial.config))

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any) -> None:
        self.quarantine.reported(result["node"], ended=result["ended"] is not None)
        said = result.pop("said")
        self._guarded(lambda: self.logs.add(trial.config["trial"], said))
        if "line" in result:
            self._guarded(lambda: self._result(result))
        else:  # it was stopped in its pre-training
            self._guarded(lambda: self._journal(result.pop("before")))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = trial.config["trial"]
        # Nobody else but the scheduler stops a trial that has not ended.
        ended = self._running[number].ended or ("stopped" if number in self.stopper.unwanted else "pruned")
        self._guarded(lambda: self._end(number, ended))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        def failed() -> None:
            running = self._begin(trial.config)
            running.reason, running.traceback, said = failure_of(trial)
            self._journal(self._mailbox.look(now=True))
            self.logs.add(trial.config["trial"], said)
            self._end(trial.config["trial"], "failed")

        self._guarded(failed)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        def again() -> None:
            self._journal(self._mailbox.look(now=True))
            if self.stopper.asked.is_set():  # its process was ended with the search
                return
            number, nth, (reason, _, said) = trial.config["trial"], trial.run_metadata.num_failures, failure_of(trial)
            logger.warning("Trial %d is tried again, %d of %d times: %s", number, nth, self._spec.retries, reason)
            self.logs.add(number, said)
            self.logs.note(number, "WARNING", f"is tried again, {nth} of {self._spec.retries} times: {reason}")

        self._guarded(again)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore them; nobody restores

    # --- ours ---

    def stop(self, trial: int) -> None:
        """Ends a trial with the epoch that it is in."""
        self.stopper.unwanted.add(trial)
        self._mailbox.stop(trial)

    def withdraw(self, asked: Mapping[str, Any]) -> None:
        """Ends a trial that was never begun."""
        self.stopper.unwanted.add(asked["trial"])
        self._begin(asked)
        self._end(asked["trial"], "stopped")

    def close(self, trials: Sequence[Mapping[str, Any]], state: str, reason: str | None) -> None:
        """Ends what has not: of all configurations that Tune was given, those that nothing was heard of since."""
        with contextlib.suppress(ray.exceptions.RayError):  # where Ray itself is gone, so is what lay in the mailbox
            self._journal(self._mailbox.look(now=True))
        for config in trials:
            if config["trial"] not in self._told:
                self._begin(config).reason = reason
                self._end(config["trial"], state)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self.error = self.error or error
            raise

    def _begin(self, asked: Mapping[str, Any]) -> _Running:
        """What is known of the trial; from earlier, where it goes on."""
        number, config = asked["trial"], asked["config"]
        if number not in self._running:
            running = self._running[number] = _Running(config=config, asked_for=asked.get("asked_for", False))
            before = self._open.pop(number, None)
            if before is not None:
                running.epochs, running.known, running.before = len(before.metrics), before.metrics, before.seconds
                running.score, running.metrics = before.score, dict(before.shown)
        return self._running[number]

    def _start(self, asked: Mapping[str, Any]) -> None:
        if asked["trial"] in self._running:  # it is tried again
            return
        planned, clustering = planned_epochs(self._model, self._spec.hyper(asked["config"]))
        if planned > clustering:
            self._mailbox.open()
        if asked["trial"] in self.stopper.unwanted:
            self._mailbox.stop(asked["trial"])
        self._begin(asked)
        self._listeners.trial_started(asked["trial"], asked["config"])

    def _result(self, result: dict[str, Any]) -> None:
        before, line = result.pop("before"), result.pop("line")  # Tune keeps statistics of all that it finds in a result
        running = self._running[line["trial"]]
        self._journal(before)
        running.ended, running.reason = result["ended"], result["reason"]
        if result["trouble"] is not None and not self._troubled:
            self._troubled = True
            logger.warning(
                "A checkpoint could not be written (%s). Trials go on without; one that is interrupted then goes on from an older one, or "
                "begins anew. This is said once.", result["trouble"],
            )  # fmt: skip
        bad = running.ended in ("collapsed", "diverged")
        if line["epoch"] > running.epochs or running.ended:  # else it was trained once more, to go on from there
            if not bad:
                running.score = result["score"]
            if self._spec.score != "max" or bad or line["metrics"].get(self._spec.metric.name) == running.score:
                running.metrics = line["metrics"]
        self._journal([line])

    def _journal(self, lines: Sequence[dict[str, Any]]) -> None:
        for line in lines:
            if "said" in line:
                self.logs.add(line["trial"], line.pop("said"))
            running = self._running.get(line["trial"])
            if running is None:
                continue
            if line["epoch"] <= running.epochs:
                self._compare(running, line)
                continue
            running.epochs, running.known = line["epoch"], ()
            if running.score is None:
                running.metrics = line["metrics"]
            self._listeners.epoch_ended(line["trial"], cast("EpochLine", line | {"time": round(time.time(), 3)}))

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
        for_good = state == "stopped" and number in self.stopper.unwanted
        end = TrialEnd(
            trial=number,
            state=state,
            config=running.config,
            score=None if state in ("collapsed", "diverged") else running.score,
            metrics=running.metrics,
            epochs=running.epochs,
            seconds=running.before + time.monotonic() - running.started,
            reason="it was told to" if for_good else running.reason,
            traceback=running.traceback,
            asked_for=running.asked_for,
            for_good=for_good,
        )
        self._told.add(number)
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
            self.hopeless = f"the first {ALIKE} trials all failed for the same reason: {end.reason}"
            self.stopper.asked.set()

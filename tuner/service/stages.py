"""A run from the moment its folder is open to its end: wire the parts, run the executor, close.

The searcher picks the next configuration. Only the scheduler stops trials early. The training decides how a trial ends by itself.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ray.tune.schedulers import TrialScheduler

from tuner.runs.events import Listener, Listeners, Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.orders import Inbox, Order
from tuner.runs.paths import CHECKPOINTS, remove_torn
from tuner.runs.trial_logs import TrialLogs
from tuner.runs.winner import Winner
from tuner.search.stopping import StopRules
from tuner.tune.callback import Orders, Receivers, TuneCallback
from tuner.tune.executor import Executor, Letters, Parts
from tuner.tune.quarantine import Quarantine
from tuner.tune.searcher import StudySearch
from tuner.tune.stopper import SearchControl, StopRequests

from .steering import Steering


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run that can start: its lock is held and its files are open. `listeners`: beside the journal and the trials' logs.

    `keeper`: what is kept of the trials that end. `orders`: who takes those of people, and the folder that they come to; None: `Steering`,
    in the run's folder.
    """

    run: Run
    files: RunFiles
    executor: Executor
    scheduler: TrialScheduler
    listeners: Sequence[Listener]
    keeper: Callable[[Run, RunFiles], Keeper] = Winner
    orders: OrdersTo | None = None


class Keeper(Protocol):
    """Keeps something of the trials that end, such as weights."""

    def trial_ended(self, end: TrialEnd) -> None: ...

    def finish(self) -> None:
        """The search is done."""


@dataclass(frozen=True, kw_only=True)
class OrdersTo:
    """`take`: does what an order says, and returns the answer; a `UserError` refuses it."""

    folder: Path
    take: Callable[[Order, TuneCallback], str]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a search ended. `status`: done | stopped | failed. `reason`: why it was given up."""

    status: str
    reason: str | None = None


def drive(opened: Opened) -> Ended:
    """Runs a search from start to end, and tells all listeners how it ended.

    Raises:
        UserError: the run's files cannot be written any more.
    """
    run, files = opened.run, opened.files
    logs, keeper, requests = TrialLogs(run, files), opened.keeper(run, files), StopRequests()
    journal, rules = Journal(files, opened.executor.clock), StopRules.of(run, opened.executor.clock)
    listeners = Listeners(journal, [logs, *opened.executor.listeners(), *opened.listeners])
    receivers = Receivers(listeners=listeners, logs=logs, trial_ended=_both(keeper.trial_ended, rules.add))
    ended = Ended(status="failed")
    listeners.search_started(run)
    try:
        _end_pruned(run, receivers)
        reason = _search(opened, receivers, requests, rules)
        ended = Ended(status="failed" if reason else "done", reason=reason)
        if ended.status == "done" and not requests.search.is_set():
            keeper.finish()
    finally:
        if requests.search.is_set() and ended.reason is None:
            ended = Ended(status="stopped")
        with contextlib.suppress(OSError):
            remove_torn(run.folder)
            (run.folder / CHECKPOINTS).rmdir()  # if it is empty, and only now: a trial may be about to write there
        journal.because = rules.because if ended.status == "done" or (ended.status == "stopped" and rules.out_of_time) else None
        listeners.search_ended(ended.status)
    return ended


def _end_pruned(run: Run, receivers: Receivers) -> None:
    """Journals the ends that the last driver did not live to write."""
    for end in run.past.pruned if run.past else ():
        receivers.listeners.trial_started(end.trial, dict(end.config))
        receivers.listeners.trial_ended(end)
        receivers.trial_ended(end)


def _search(opened: Opened, receivers: Receivers, requests: StopRequests, rules: StopRules) -> str | None:
    """Runs the executor, and ends what is open then. Gives why the search was given up; None where it was not."""
    run, files = opened.run, opened.files
    with _signals(requests.search), opened.executor.session(run, files) as session:
        control = SearchControl(requests=requests, quarantine=Quarantine(session.share), rules=rules)
        wired = _wired(opened, receivers, control, session.letters)
        try:
            session.run(run, wired.parts)
        except BaseException as error:
            ours = wired.callback.error or files.error
            if ours is not None:
                raise ours from error
            raise
        finally:
            reason = None if requests.search.is_set() else "the search ended before it did"
            wired.callback.close(wired.parts.searcher.open_trials(), "stopped", reason)
            wired.parts.searcher.stop("stopped")
    return requests.hopeless


@dataclass(frozen=True, kw_only=True)
class _Wired:
    """What the executor calls, and of it what ends with the search."""

    parts: Parts
    callback: TuneCallback


def _wired(opened: Opened, receivers: Receivers, control: SearchControl, letters: Letters) -> _Wired:
    """Each part is made of those before it."""
    run = opened.run
    searcher = StudySearch(run.spec, run.folder, run.name, opened.files, control)
    callback = TuneCallback(run, receivers, control, letters, opened.executor.clock)
    to = opened.orders
    steering = Steering(run, searcher, callback).take
    inbox = Inbox(run.folder, steering) if to is None else Inbox(to.folder, lambda order: to.take(order, callback))
    orders = Orders(callback, lambda: _look(inbox, control))
    parts = Parts(searcher=searcher, scheduler=opened.scheduler, callbacks=(callback, orders), control=control)
    return _Wired(parts=parts, callback=callback)


def _both(first: Callable[[TrialEnd], None], then: Callable[[TrialEnd], None]) -> Callable[[TrialEnd], None]:
    def told(end: TrialEnd) -> None:
        first(end)
        then(end)

    return told


def _look(inbox: Inbox, control: SearchControl) -> None:
    """Before every step: at orders of people, and at the time."""
    inbox.look()
    if control.rules is not None and control.rules.time_is_up() and not control.requests.search.is_set():
        control.rules.end_in_time()
        control.requests.search.set()


@contextlib.contextmanager
def _signals(asked: threading.Event) -> Iterator[None]:
    """While it lasts, SIGINT, SIGTERM and a closed terminal's SIGHUP ask for the end; a second one insists."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores it: the search outlives its terminal
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

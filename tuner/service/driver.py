"""Runs a search: Optuna proposes, Ray Tune runs the trials, ASHA stops them, the journal keeps what happened.

Who decides what: the searcher which configuration is next, the scheduler and nobody else which trial stops early, the training
how a trial ends by itself. Tune keeps no state that anybody reads again: the run's folder has it all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.machines import probe
from tuner.machines.cluster import Share, join
from tuner.machines.versions import provenance
from tuner.runs import orders
from tuner.runs.events import Listener, Listeners, Run
from tuner.runs.journal import Journal
from tuner.runs.lock import RunLock
from tuner.runs.new_run import check_place, open_run
from tuner.runs.results import Results, read_run
from tuner.tune.run import Parts, fit, training

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

    from tuner.search.trainer import Trainer
    from tuner.space.spec import Spec
    from tuner.stores.uploads import Sent

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is said of a search beside its space. `name`: of the run; by default the space's, numbered where it is taken.

    `uri`: the place in a store that the runs in `out` are sent to. `wandb`: W&B's mode, for whoever resumes the run.
    """

    name: str | None = None
    out: Path = Path("runs")
    uri: str | None = None
    address: str | None = None
    data_root: Path | None = None
    wandb: str | None = None
    listeners: Sequence[Listener] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search ended. `reason`: why it was given up. `ran`: whether there was anything to do. `sent`: what its store has of it."""

    run: Run
    status: str  # done | stopped | failed
    folder: Path
    results: Results
    reason: str | None = None
    ran: bool = True
    sent: Sent | None = None


def search(spec: Spec, options: SearchOptions = SearchOptions()) -> Outcome:
    """Runs the whole search. Ctrl-C, SIGTERM and SIGHUP end it with everything finished kept.

    Raises:
        UserError: it cannot start. Nothing has been written then.
    """
    check_place(options.name, options.out)
    from tuner.machines.doctor import check_nodes
    from tuner.stores.uploads import place_of_runs, uploading
    from tuner.tune.asha import scheduler
    from tuner.tune.pack_client import chosen_width
    from tuner.tune.run import within_reach

    store = place_of_runs(options.uri, options.name)
    cluster = join(options.address)
    try:
        if cluster.address is not None:
            check_nodes(cluster, None if options.uri else options.out)
        share = cluster.share(spec.resources)
        trainer = _trainer(spec, share, options.data_root)
        width = chosen_width(spec, trainer, share)
        given = {
            "checkpoints": _disk(spec, options, min(spec.trials, width * share.slots)),
            "options": dict(spec.options),
            "dataset_at": spec.dataset.located(options.data_root).name,
            "data_root": options.data_root and str(options.data_root.expanduser().absolute()),
            "wandb": options.wandb,
            "id": secrets.token_hex(8),
        }
        run = open_run(spec, options.name, options.out, provenance(cluster, share) | {"pack": width} | given, store)
        with RunLock(run.folder), uploading(run.folder, run.info["uri"]) as uploads, within_reach(trainer, run) as trainer:
            ended = _run(run, trainer, (share, width), options.listeners, scheduler(spec))
    finally:
        cluster.close()
    return replace(_outcome(run, *ended), sent=uploads.sent() if uploads else None)


def _disk(spec: Spec, options: SearchOptions, at_once: int) -> int:
    """The bytes that checkpoints take at most. Says where there is less room."""
    from tuner.data import datasets
    from tuner.search import budget

    root = options.data_root
    needed = budget.sizes(spec, datasets.describe(spec.dataset.located(root), root)).of_search(spec, at_once)
    short = budget.too_little(options.out.expanduser().absolute(), needed)
    if short is not None:
        logger.warning("%s", short)
    return needed


def _outcome(run: Run, status: str, reason: str | None) -> Outcome:
    return Outcome(run=run, status=status, reason=reason, folder=run.files.now, results=read_run(run.files.now))


def _run(
    run: Run, trainer: Trainer, room: tuple[Share, int], others: Sequence[Listener], scheduler: TrialScheduler
) -> tuple[str, str | None]:
    """Runs Tune from start to end, and tells everybody how it ended: gives the status, and the reason of a search that was given up.
    `room`: what a trial is given, and how many train as one."""
    from ray import cloudpickle

    from tuner.runs.paths import CHECKPOINTS, remove_torn
    from tuner.runs.trial_logs import TrialLogs
    from tuner.runs.winner import Winner
    from tuner.trackers.prometheus import RayMetrics
    from tuner.tune.actor import SearchContext
    from tuner.tune.callback import Orders, Receivers, TuneCallback
    from tuner.tune.quarantine import Quarantine
    from tuner.tune.searcher import StudySearch
    from tuner.tune.stopper import SearchControl, StopRequests

    from .steering import Steering

    logs = TrialLogs(run)
    listeners = Listeners(Journal(run.folder), [logs, RayMetrics(), *others])
    trainer = replace(trainer, spill=run.files.spill)
    listeners.search_started(run)
    status, requests = "failed", StopRequests()
    try:
        winner = Winner(run)
        for end in run.past.pruned if run.past else ():
            listeners.trial_started(end.trial, dict(end.config))
            listeners.trial_ended(end)
            winner.trial_ended(end)
        mailbox = f"mailbox of {run.name} {os.getpid()}.{time.time_ns()}"
        try:
            with _signals(requests.search), training(run, trainer, *room) as (share, train):
                given = {"mailbox": mailbox, "trainer": cloudpickle.dumps(train), "code": probe.versions()}
                context = SearchContext(name=run.name, cpu=share.cpu, gpu=share.gpu, **given)
                control = SearchControl(requests=requests, quarantine=Quarantine(share))
                searcher = StudySearch(run.spec, run.folder, run.name, run.files, control)
                receivers = Receivers(listeners=listeners, logs=logs, trial_ended=winner.trial_ended)
                callback = TuneCallback(run, receivers, control, mailbox)
                inbox = Orders(callback, orders.Inbox(run.folder, Steering(run, searcher, callback).take).look)
                try:
                    parts = Parts(searcher=searcher, scheduler=scheduler, callbacks=(callback, inbox), control=control)
                    fit(context, run, share.slots, parts)
                except BaseException as error:
                    ours = callback.error or run.files.error
                    if ours is not None:
                        raise ours from error
                    raise
                finally:
                    why = None if requests.search.is_set() else "the search ended before it did"
                    callback.close(searcher.open_trials(), "stopped", why)
                    searcher.stop("stopped")
            status = "done"
        finally:
            if requests.search.is_set():
                status = "stopped" if requests.hopeless is None else "failed"
            with contextlib.suppress(OSError):
                remove_torn(run.folder)
                (run.folder / CHECKPOINTS).rmdir()  # if it is empty, and only now: a trial may be about to write there
    finally:
        listeners.search_ended(status)
        run.files.close()
    return status, requests.hopeless


def _trainer(spec: Spec, share: Share, root: Path | None) -> Trainer:
    """What trains the trials of a search, before it has a folder."""
    from tuner.data.raw import data_root
    from tuner.search import trainer
    from tuner.search.proposals import worst

    return trainer.Trainer(
        spec=spec,
        folder=Path(),
        dataset=spec.dataset.located(root),
        data_root=data_root(root),
        device="cuda" if share.gpu else "cpu",
        threads=share.threads,
        worst=worst(spec.metric),
        checkpoint_every=trainer.CHECKPOINT_EVERY_S,
    )


@contextlib.contextmanager
def _signals(asked: threading.Event) -> Iterator[None]:
    """While it lasts, SIGINT, SIGTERM and a closed terminal's SIGHUP ask for the end; a second one of them insists."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # by nohup, who wants it to outlive its terminal
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Runs a search: Optuna proposes, Ray Tune runs the trials, ASHA stops them, the journal keeps what happened.

Who decides what: the searcher which configuration is next, the scheduler and nobody else which trial stops early, the training
how a trial ends by itself. Tune keeps no state that anybody reads again: the run's folder has it all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import orders, probe
from .errors import UserError
from .lock import RunLock
from .provenance import provenance
from .ray_cluster import Share, join
from .record import SPEC, STUDY, Journal, Listener, Listeners, Results, Run, read_run, write_atomically
from .run_folder import check_place, open_run
from .spill import bring_back

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

    from .packed import PackedTrainer
    from .searcher import StudySearch
    from .space import Spec
    from .trial import Job, Trainer
    from .tune_callback import TuneCallback
    from .uploads import Sent

PACKS = "packs.json"
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
class ResumeOptions:
    """What is said when a run goes on; what is not said is as it was. `trials`: `80` in all, or `+50` for 50 more. `address`: of a Ray
    cluster, or `local` for one in this process."""

    trials: str | None = None
    address: str | None = None
    data_root: Path | None = None
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
    from .distant import within_reach
    from .doctor import check_nodes
    from .packed import chosen_width
    from .scheduler import scheduler
    from .uploads import place_of_runs, uploading

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


def resume(folder: Path, options: ResumeOptions = ResumeOptions()) -> Outcome:
    """Goes on with a run that was interrupted, or that is to have more trials.

    Raises:
        UserError: it cannot go on: another driver has it, or what is in its folder is damaged. Nothing has been changed then.
    """
    from .uploads import uploading

    folder = folder.expanduser().absolute()
    uri = read_run(folder).spec_json.get("uri")
    with RunLock(folder), uploading(folder, uri) as uploads:
        outcome = _resume(folder, options)
    return replace(outcome, sent=uploads.sent() if uploads else None)


def _resume(folder: Path, options: ResumeOptions) -> Outcome:
    from .distant import within_reach
    from .doctor import check_nodes
    from .resumable import ahead
    from .resume import asked_in, check_asked, past_of, spec_of, write_study
    from .scheduler import Halving, scheduler
    from .searcher import Proposals
    from .trial import CHECKPOINTS
    from .winner import Winner

    about = read_run(folder).spec_json
    bring_back(folder, str(about.get("id", about["name"])))
    root = options.data_root or (Path(about["data_root"]) if about.get("data_root") else None)
    spec = spec_of(folder, options.trials, root)
    name = str(about["name"])  # the folder may have been moved
    asked, rungs = asked_in(folder, name), scheduler(spec)
    check_asked(asked, spec, folder / STUDY)
    judge = rungs.replay if isinstance(rungs, Halving) else lambda *_: False
    past, scores = past_of(folder, spec, asked, judge)
    over = len(past.ends) + len(past.pruned)
    if spec.trials < over + len(past.open):
        raise UserError(f"{name} has {over + len(past.open)} trials already. Say --trials +50 for 50 more.")
    proposals = Proposals(spec)
    proposals.add_all(asked)
    run = Run(name=name, folder=folder, spec=spec, info=about, past=past)
    if not past.open and not past.pruned and (over == spec.trials or (proposals.exhausted() and not orders.waiting(folder))):
        status = _finish(run)
        return Outcome(run=run, status=status, folder=folder, results=read_run(folder), ran=False)
    useless = [*ahead(folder, spec, past.open, root), *folder.glob(f"{CHECKPOINTS}/.*")]
    cluster = join(None if options.address == "local" else options.address or about.get("address"))
    try:
        if cluster.address is not None:
            check_nodes(cluster, None if about.get("uri") else folder.parent)
        share = cluster.share(spec.resources)
        trainer = _trainer(spec, share, root)
        info = provenance(cluster, share) | {"pack": _same_width(about, share, spec, trainer, spec.trials - over)}
        _tell_of_changes(name, about, info)
        write_study(folder, run, asked, scores)
        for path in useless:
            path.unlink(missing_ok=True)
        run = replace(run, info=_note_resumed(run, info))
        Winner(run).catch_up(past.ends)
        with within_reach(trainer, run) as trainer:
            ended = _run(run, trainer, (share, info["pack"]), options.listeners, rungs)
    finally:
        cluster.close()
    return _outcome(run, *ended)


def _disk(spec: Spec, options: SearchOptions, at_once: int) -> int:
    """The bytes that checkpoints take at most. Says where there is less room."""
    from . import data, disk

    root = options.data_root
    needed = disk.sizes(spec, data.describe(spec.dataset.located(root), root)).of_search(spec, at_once)
    short = disk.too_little(options.out.expanduser().absolute(), needed)
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

    from .quarantine import Quarantine
    from .ray_metrics import RayMetrics
    from .searcher import StudySearch
    from .steering import Steering
    from .trial import CHECKPOINTS, Job, remove_torn
    from .trial_logs import TrialLogs
    from .tune_callback import TuneCallback
    from .winner import Winner

    logs = TrialLogs(run)
    listeners = Listeners(Journal(run.folder), [logs, RayMetrics(), *others])
    trainer = replace(trainer, spill=run.files.spill)
    listeners.search_started(run)
    status = "failed"
    try:
        winner = Winner(run)
        for end in run.past.pruned if run.past else ():
            listeners.trial_started(end.trial, dict(end.config))
            listeners.trial_ended(end)
            winner.trial_ended(end)
        mailbox = f"mailbox of {run.name} {os.getpid()}.{time.time_ns()}"
        searcher = StudySearch(run.spec, run.folder, run.name, run.files)
        callback = TuneCallback(run.spec, mailbox, listeners, winner.trial_ended, run.past)
        callback.take_orders = orders.Inbox(run.folder, Steering(run, searcher, callback).take).look
        callback.logs = logs
        asked = callback.stopper.asked
        try:
            with _signals(asked), _training(run, trainer, room) as (share, train):
                given = {"mailbox": mailbox, "trainer": cloudpickle.dumps(train), "code": probe.versions()}
                job = Job(name=run.name, cpu=share.cpu, gpu=share.gpu, **given)
                searcher.quarantine = callback.quarantine = Quarantine(share)
                _fit(job, run, share.slots, (searcher, scheduler, callback))
            status = "done"
        except BaseException as error:
            ours = callback.error or run.files.error
            if ours is not None:
                raise ours from error
            raise
        finally:
            if asked.is_set():
                status = "stopped" if callback.hopeless is None else "failed"
            callback.close(searcher.open_trials(), "stopped", None if asked.is_set() else "the search ended before it did")
            searcher.stop("stopped")
            with contextlib.suppress(OSError):
                remove_torn(run.folder)
                (run.folder / CHECKPOINTS).rmdir()  # if it is empty, and only now: a trial may be about to write there
    finally:
        listeners.search_ended(status)
        run.files.close()
    return status, callback.hopeless


def _trainer(spec: Spec, share: Share, root: Path | None) -> Trainer:
    """What trains the trials of a search, before it has a folder."""
    from . import trial
    from .data_raw import data_root
    from .searcher import worst

    return trial.Trainer(
        spec=spec,
        folder=Path(),
        dataset=spec.dataset.located(root),
        data_root=data_root(root),
        device="cuda" if share.gpu else "cpu",
        threads=share.threads,
        worst=worst(spec.metric),
        checkpoint_every=trial.CHECKPOINT_EVERY_S,
    )


@contextlib.contextmanager
def _training(run: Run, trainer: Trainer, room: tuple[Share, int]) -> Iterator[tuple[Share, Trainer | PackedTrainer]]:
    """What trains a trial, and a trial's share: each trial in its own process, or in the packs of hosts, which live as long as this."""
    share, width = room
    if width == 1:
        yield share, trainer
        return
    from .packed import start_hosts

    hosts = start_hosts(trainer, share, run.name, width)
    try:
        yield hosts.share, hosts.trainer()
        run.files.write(PACKS, json.dumps(hosts.occupancy(), indent=1) + "\n")
    finally:
        hosts.close()


def _fit(job: Job, run: Run, slots: int, ours: tuple[StudySearch, TrialScheduler, TuneCallback]) -> None:
    """Hands the search to Tune, and returns when it is over."""
    from ray import tune

    from .clean import scratch_prefix
    from .trial import trainable
    from .tune_callback import only_the_trial_is_lost

    searcher, scheduler, callback = ours
    over = 0 if run.past is None else len(run.past.ends) + len(run.past.pruned)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(run.name)) as scratch, only_the_trial_is_lost(callback.quarantine):
        tune.Tuner(
            trainable(job),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=run.spec.trials - over,
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=lambda trial: job.trial_name(trial.config["trial"]),
                trial_dirname_creator=lambda trial: job.trial_name(trial.config["trial"]),
            ),
            run_config=tune.RunConfig(
                name=job.name,
                storage_path=scratch,  # Tune insists on one; what it writes there nobody reads
                callbacks=[callback],
                stop=callback.stopper,
                failure_config=tune.FailureConfig(max_failures=run.spec.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()


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


# --- a run that goes on ------------------------------------------------------------------------------------------------


def _finish(run: Run) -> str:
    """Notes that a run is done whose driver died before it could."""
    from .winner import Winner

    assert run.past is not None
    if read_run(run.folder).status != "done":
        Winner(run).catch_up(run.past.ends)
        journal = Journal(run.folder)
        journal.search_started(run)
        journal.search_ended("done")
        run.files.close()
    return "done"


def _same_width(about: Mapping[str, Any], share: Share, spec: Spec, trainer: Trainer, trials: int) -> int:
    """As wide as before, where that was on the same kind of device; no wider than there are trials for."""
    from .packed import chosen_width

    before = about.get("pack")
    same = isinstance(before, int) and about.get("share", {}).get("gpu") == share.gpu
    width = int(before or 1) if same else chosen_width(spec, trainer, share)
    return max(1, min(width, -(-trials // share.slots)))


def _tell_of_changes(name: str, about: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Says which code differs from that of the run's last driver: its results may, too."""
    before = (about.get("resumed") or [about])[-1]
    old, new = before.get("versions", {}), info["versions"]
    changes = [f"{package} {old.get(package)} → {new.get(package)}" for package in {**old, **new} if old.get(package) != new.get(package)]
    if before.get("commit") != info["commit"]:
        changes.append(f"commit {before.get('commit')} → {info['commit']}")
    if changes:
        logger.warning("%s goes on with other code than before: %s. Its trials may not be comparable.", name, ", ".join(changes))


def _note_resumed(run: Run, info: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to the run's `spec.json` with what it goes on, and gives all of it."""
    about = {**run.info, "trials": run.spec.trials}
    about["resumed"] = [*about.get("resumed", []), {**info, "trials": run.spec.trials}]
    write_atomically(run.folder / SPEC, json.dumps(about, indent=2, default=str) + "\n")
    return about | {"dashboard": info["dashboard"], "pack": info["pack"]}

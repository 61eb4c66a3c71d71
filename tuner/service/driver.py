"""Runs a search: Optuna proposes, Ray Tune runs the trials, ASHA stops them, the journal keeps what happened.

Who decides what: the searcher which configuration is next, the scheduler and nobody else which trial stops early, the training
how a trial ends by itself. Tune keeps no state that anybody reads again: the run's folder has it all.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.data import datasets
from tuner.data.cache import load_once
from tuner.data.raw import data_root
from tuner.errors import UserError
from tuner.machines.cluster import join
from tuner.machines.doctor import check_nodes
from tuner.machines.versions import provenance
from tuner.runs.events import Listener, Run
from tuner.runs.files import RunFiles
from tuner.runs.lock import RunLock
from tuner.runs.new_run import check_place, open_run
from tuner.runs.results import Results, read_run
from tuner.search import budget
from tuner.search.earlier import warm_started
from tuner.space.spec import Spec
from tuner.stores.uploads import Sent, place_of_runs, uploading
from tuner.training.room import check_room
from tuner.tune.asha import scheduler
from tuner.tune.pack_client import chosen_width
from tuner.tune.run import OnRay, Packing, within_reach

from .confirm import ConfirmOptions, ConfirmOutcome, confirm_at_end
from .page import Page, page_at_end
from .stages import Ended, Opened, drive
from .trackers import asked_for
from .trainers import new_trainer

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is said of a search beside its space. `name`: of the run; by default the space's, numbered where it is taken.

    `uri`: the place in a store that the runs in `out` are sent to. `wandb`: W&B's mode, for whoever resumes the run.
    `confirm_listeners`: hear of the trainings of the confirmation, where the space asks for one. `report`: whether a page may be written at
    the end, which the space decides then. `earlier`: the folders of runs that the sampler is told of.
    """

    name: str | None = None
    out: Path = Path("runs")
    uri: str | None = None
    address: str | None = None
    data_root: Path | None = None
    wandb: str | None = None
    listeners: Sequence[Listener] = ()
    confirm_listeners: Sequence[Listener] = ()
    report: bool = False
    earlier: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a search ended. `reason`: why it was given up. `ran`: whether there was anything to do. `sent`: what its store has of it.
    `confirmed`: what its confirmation found, if it had one; `status` and `reason` are then that one's. `page`: what was
    written about it."""

    run: Run
    status: str  # done | stopped | failed
    folder: Path
    results: Results
    reason: str | None = None
    ran: bool = True
    sent: Sent | None = None
    confirmed: ConfirmOutcome | None = None
    page: Page | None = None

    def confirmed_by(self, confirm: Callable[[], ConfirmOutcome | None]) -> Outcome:
        """The search with its confirmation. Ctrl-C before that trains anything is an interruption of the whole.

        Raises:
            UserError: the confirmation cannot begin; the search is kept, and that is said.
        """
        try:
            confirmed = confirm()
        except KeyboardInterrupt:
            return replace(self, status="stopped", ran=True)
        except UserError as error:
            name = self.run.name
            raise UserError(f"{name} is done, and kept: tuner show {name}. But it cannot be confirmed: {error}") from error
        if confirmed is None:
            return self
        return replace(self, status=confirmed.status, reason=confirmed.reason, ran=self.ran or confirmed.ran, confirmed=confirmed)


def search(spec: Spec, options: SearchOptions = SearchOptions()) -> Outcome:
    """Runs the whole search. Ctrl-C, SIGTERM and SIGHUP end it with everything finished kept.

    Raises:
        UserError: it cannot start. Nothing has been written then.
    """
    check_place(options.name, options.out)
    spec = warm_started(spec, options.earlier)
    heard = [*options.listeners, *asked_for(spec)]
    store = place_of_runs(options.uri, options.name)
    with contextlib.closing(join(options.address)) as cluster:
        if cluster.address is not None:
            check_nodes(cluster, None if options.uri else options.out)
        share = cluster.share(spec.resources)
        data = load_once(spec.dataset.located(options.data_root), data_root(options.data_root))
        if cluster.address is None:
            check_room(spec.loaded(), budget.largest(spec), data.spec)
        identity = data.identity
        trainer = new_trainer(spec, share, options.data_root, identity)
        packing = Packing(share=share, width=chosen_width(spec, trainer, share))
        given = _given(spec, options, packing) | {"data": identity.written()}
        info = provenance(cluster, share) | {"pack": packing.width} | given
        run = open_run(spec, options.name, options.out, info, store)
        with RunLock(run.folder), uploading(run.folder, run.info["uri"]) as uploads, within_reach(trainer, run) as trainer:
            with opened_files(run) as files:
                asha = scheduler(spec)
                ended = drive(
                    Opened(run=run, files=files, executor=OnRay(trainer=trainer, packing=packing), scheduler=asha, listeners=heard)
                )
            outcome = outcome_of(run, files, ended)
            if outcome.status == "done" and outcome.folder == run.folder:
                more = ConfirmOptions(data_root=options.data_root, listeners=options.confirm_listeners)
                outcome = outcome.confirmed_by(lambda: confirm_at_end(run, cluster, more))
                if options.report:
                    page = page_at_end(outcome.folder, outcome.status, options.data_root, wandb=options.wandb)
                    outcome = replace(outcome, page=page)
    return replace(outcome, sent=uploads.sent() if uploads else None)


def _given(spec: Spec, options: SearchOptions, packing: Packing) -> dict[str, Any]:
    """What a run's `spec.json` keeps of the command line, and what a resumed run is known by."""
    return {
        "checkpoints": _disk(spec, options, min(spec.most_trials, packing.width * packing.share.slots)),
        "options": dict(spec.options),
        "dataset_at": spec.dataset.located(options.data_root).name,
        "data_root": options.data_root and str(options.data_root.expanduser().absolute()),
        "wandb": options.wandb,
        "id": secrets.token_hex(8),
    }


def _disk(spec: Spec, options: SearchOptions, at_once: int) -> int:
    """The bytes that checkpoints take at most. Warns where the disk has less room."""
    root = options.data_root
    needed = budget.sizes(spec, datasets.describe(spec.dataset.located(root), root)).of_search(spec, at_once)
    short = budget.too_little(options.out.expanduser().absolute(), needed)
    if short is not None:
        logger.warning("%s", short)
    return needed


def outcome_of(run: Run, files: RunFiles, ended: Ended) -> Outcome:
    return Outcome(run=run, status=ended.status, reason=ended.reason, folder=files.now, results=read_run(files.now))


@contextlib.contextmanager
def opened_files(run: Run) -> Iterator[RunFiles]:
    """The run's files, for its one driver; at the end everything is brought to the run's folder, if that can be written."""
    files = RunFiles.of(run)
    try:
        yield files
    finally:
        files.close()

"""A run that goes on: it was interrupted, or is to have more trials."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.schedulers import TrialScheduler

from tuner.atomic import write_whole
from tuner.data.fingerprint import Fingerprint
from tuner.machines.cluster import Share, address_again, join
from tuner.machines.doctor import check_nodes
from tuner.machines.versions import provenance
from tuner.own_models import Source
from tuner.runs import orders
from tuner.runs.events import Listener, Past, Run
from tuner.runs.files import bring_back
from tuner.runs.journal import Journal
from tuner.runs.lock import RunLock
from tuner.runs.paths import CHECKPOINTS, SPEC
from tuner.runs.results import read_run
from tuner.runs.winner import Winner
from tuner.search.checkpoints import ahead
from tuner.search.history import Scores
from tuner.search.proposals import Proposals
from tuner.search.saved import check_brought, spec_of
from tuner.search.study import keep_foreign_trials, write_study
from tuner.search.trainer import Trainer
from tuner.stores.uploads import uploading
from tuner.tune.pack_client import chosen_width
from tuner.tune.run import OnRay, Packing, within_reach

from .confirm import ConfirmOptions, confirm_at_end, confirm_held
from .driver import Outcome, opened_files, outcome_of
from .going_on import GoesOn, goes_on
from .known_data import same_data
from .page import page_at_end
from .stages import Opened, drive
from .trackers import asked_for
from .trainers import new_trainer

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """What is said when a run goes on; what is not said is as it was. `trials`: `80` in all, or `+50` for 50 more. `hours`: it may take so
    many from now on. `address`: of a Ray
    cluster, or `local` for one in this process. `dataset`: the run's data under another name, such as `npz:PATH`.
    `models`: the file of the run's model, which must be what the run began with. `report`: whether a page may be written at the end;
    `wandb`: W&B's mode, for a report there."""

    trials: str | None = None
    hours: float | None = None
    address: str | None = None
    data_root: Path | None = None
    dataset: str | None = None
    models: Sequence[str | Path | type | Source] = ()
    listeners: Sequence[Listener] = ()
    confirm_listeners: Sequence[Listener] = ()
    report: bool = False
    wandb: str | None = None

    def for_confirmation(self) -> ConfirmOptions:
        """The same for the trainings that come after the search."""
        return ConfirmOptions(address=self.address, data_root=self.data_root, dataset=self.dataset, listeners=self.confirm_listeners)


def resume(folder: Path, options: ResumeOptions = ResumeOptions()) -> Outcome:
    """Goes on with a run that was interrupted, or that is to have more trials.

    Raises:
        UserError: it cannot go on: another driver has it, or what is in its folder is damaged. Nothing has been changed then.
    """
    folder = folder.expanduser().absolute()
    uri = read_run(folder).spec_json.get("uri")
    with RunLock(folder), uploading(folder, uri) as uploads:
        found = _read(folder, options)
        outcome = _finish(found) if found.is_over else _go_on(found, options)
        if found.is_over and found.run.spec.confirm is not None and outcome.results.best() is not None:
            outcome = outcome.confirmed_by(lambda: confirm_held(folder, options.for_confirmation()))
        if options.report and outcome.ran and outcome.folder == folder:
            page = page_at_end(folder, outcome.status, options.data_root, wandb=options.wandb)
            outcome = replace(outcome, page=page)
    return replace(outcome, sent=uploads.sent() if uploads else None)


@dataclass(frozen=True, kw_only=True)
class _Interrupted:
    """A run as it was left. `asked`: the trials of its study; `scores`: theirs, by clustering epoch; `useless`: checkpoints to remove;
    `data_root`: where data files lie now."""

    run: Run
    past: Past
    asked: Sequence[FrozenTrial]
    scores: Scores
    scheduler: TrialScheduler
    useless: Sequence[Path]
    data_root: Path | None
    is_over: bool
    going: GoesOn
    identity: Fingerprint | None  # of the data; None where the run is over

    @property
    def left(self) -> int:
        """How many trials have not ended."""
        return self.run.spec.most_trials - len(self.past.ends) - len(self.past.pruned)


def _read(folder: Path, options: ResumeOptions) -> _Interrupted:
    """Reads and checks everything; changes nothing but that it brings over what the last driver had to keep elsewhere."""
    about = read_run(folder).spec_json
    bring_back(folder, str(about.get("id", about["name"])))
    root = options.data_root or (Path(given) if (given := about.get("data_root")) else None)
    check_brought(folder, options.models)
    hours = options.hours
    going = goes_on(
        folder, lambda trials: spec_of(folder, trials, root, options.dataset, hours), options.trials, new_hours=hours is not None
    )
    name, spec, left = str(about["name"]), going.spec, going.left
    past, plan = left.past, left.plan
    proposals = Proposals(spec)
    proposals.add_all(left.asked)
    none_left = proposals.exhausted() and not orders.waiting(folder)
    all_begun = going.because is not None or plan.configurations == spec.trials or none_left
    nothing_to_try = all_begun and plan.due(last=True) is None
    is_over = not past.open and not past.pruned and nothing_to_try
    return _Interrupted(
        run=Run(name=name, folder=folder, spec=spec, info=about, past=past),
        past=past,
        asked=left.asked,
        scores=left.scores,
        scheduler=left.scheduler,
        useless=[] if is_over else [*ahead(folder, spec, past.open, root), *folder.glob(f"{CHECKPOINTS}/.*")],
        data_root=root,
        is_over=is_over,
        going=going,
        identity=None if is_over else same_data(name, about, spec.dataset.located(root), root),
    )


def _go_on(found: _Interrupted, options: ResumeOptions) -> Outcome:
    """Joins the cluster, makes the study agree with the journal, and runs the rest."""
    run, about = found.run, found.run.info
    with contextlib.closing(join(address_again(options.address, about))) as cluster:
        if cluster.address is not None:
            check_nodes(cluster, None if about.get("uri") else run.folder.parent)
        share = cluster.share(run.spec.resources)
        assert found.identity is not None, "a run that goes on knows its data"
        trainer = new_trainer(run.spec, share, found.data_root, found.identity)
        width = _same_width(about, share, trainer, found.left)
        info = provenance(cluster, share) | {"pack": width}
        about = {**about, "data": found.identity.written(), "dataset_at": run.spec.dataset.located(found.data_root).name}
        about |= found.going.about()
        _warn_of_changes(run.name, about, info)
        keep_foreign_trials(run.folder, run.name)
        write_study(run.folder, run, found.asked, found.scores)
        for path in found.useless:
            path.unlink(missing_ok=True)
        run = replace(run, info=_note_resumed(replace(run, info=about), info))
        with within_reach(trainer, run) as trainer, opened_files(run) as files:
            Winner(run, files).catch_up(found.past.ends)
            packing = Packing(share=share, width=width)
            rungs, listeners = found.scheduler, [*options.listeners, *asked_for(run.spec)]
            ended = drive(
                Opened(run=run, files=files, executor=OnRay(trainer=trainer, packing=packing), scheduler=rungs, listeners=listeners)
            )
        outcome = outcome_of(run, files, ended)
        if outcome.status == "done" and outcome.folder == run.folder:
            outcome = outcome.confirmed_by(lambda: confirm_at_end(run, cluster, options.for_confirmation()))
    return outcome


def _finish(found: _Interrupted) -> Outcome:
    """Notes that a run is done whose driver died before it could."""
    run = found.run
    if read_run(run.folder).status != "done":
        with opened_files(run) as files:
            winner = Winner(run, files)
            winner.catch_up(found.past.ends)
            winner.finish()
            journal = Journal(files)
            journal.because = found.going.because
            journal.search_started(run)
            journal.search_ended("done")
    return Outcome(run=run, status="done", folder=run.folder, results=read_run(run.folder), ran=False)


def _same_width(about: Mapping[str, Any], share: Share, trainer: Trainer, trials: int) -> int:
    """As wide as before, where that was on the same kind of device; no wider than there are trials for."""
    before = about.get("pack")
    same = isinstance(before, int) and about.get("share", {}).get("gpu") == share.gpu
    width = int(before or 1) if same else chosen_width(trainer.spec, trainer, share)
    return max(1, min(width, -(-trials // share.slots)))


def _warn_of_changes(name: str, about: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Says which code differs from that of the run's last driver: its results may, too."""
    before = (about.get("resumed") or [about])[-1]
    old, new = before.get("versions", {}), info["versions"]
    changes = [f"{package} {version} → {new.get(package)}" for package, version in old.items() if version != new.get(package)]
    if before.get("commit") != info["commit"]:
        changes.append(f"commit {before.get('commit')} → {info['commit']}")
    if changes:
        logger.warning("%s goes on with other code than before: %s. Its trials may not be comparable.", name, ", ".join(changes))


def _note_resumed(run: Run, info: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to the run's `spec.json` with what it goes on, and gives all of it."""
    about = {**run.info, "trials": run.spec.trials}
    about["resumed"] = [*about.get("resumed", []), {**info, "trials": run.spec.trials}]
    write_whole(run.folder / SPEC, json.dumps(about, indent=2, default=str) + "\n")
    return about | {"dashboard": info["dashboard"], "pack": info["pack"]}

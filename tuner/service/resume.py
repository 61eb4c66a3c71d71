"""A run that goes on: it was interrupted, or is to have more trials."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.atomic import write_whole
from tuner.errors import UserError
from tuner.machines.cluster import Share, join
from tuner.machines.versions import provenance
from tuner.runs import orders
from tuner.runs.events import Listener, Run
from tuner.runs.files import bring_back
from tuner.runs.journal import Journal
from tuner.runs.lock import RunLock
from tuner.runs.paths import SPEC, STUDY
from tuner.runs.results import read_run

from .driver import Outcome, _outcome, _run, _trainer

if TYPE_CHECKING:
    from tuner.search.trainer import Trainer
    from tuner.space.spec import Spec

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """What is said when a run goes on; what is not said is as it was. `trials`: `80` in all, or `+50` for 50 more. `address`: of a Ray
    cluster, or `local` for one in this process."""

    trials: str | None = None
    address: str | None = None
    data_root: Path | None = None
    listeners: Sequence[Listener] = ()


def resume(folder: Path, options: ResumeOptions = ResumeOptions()) -> Outcome:
    """Goes on with a run that was interrupted, or that is to have more trials.

    Raises:
        UserError: it cannot go on: another driver has it, or what is in its folder is damaged. Nothing has been changed then.
    """
    from tuner.stores.uploads import uploading

    folder = folder.expanduser().absolute()
    uri = read_run(folder).spec_json.get("uri")
    with RunLock(folder), uploading(folder, uri) as uploads:
        outcome = _resume(folder, options)
    return replace(outcome, sent=uploads.sent() if uploads else None)


def _resume(folder: Path, options: ResumeOptions) -> Outcome:
    from tuner.machines.doctor import check_nodes
    from tuner.runs.paths import CHECKPOINTS
    from tuner.runs.winner import Winner
    from tuner.search.checkpoints import ahead
    from tuner.search.history import past_of
    from tuner.search.proposals import Proposals
    from tuner.search.saved import spec_of
    from tuner.search.study import asked_in, check_asked, write_study
    from tuner.tune.asha import Halving, scheduler
    from tuner.tune.run import within_reach

    about = read_run(folder).spec_json
    bring_back(folder, str(about.get("id", about["name"])))
    root = options.data_root or (Path(given) if (given := about.get("data_root")) else None)
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


# --- a run that goes on ------------------------------------------------------------------------------------------------


def _finish(run: Run) -> str:
    """Notes that a run is done whose driver died before it could."""
    from tuner.runs.winner import Winner

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
    from tuner.tune.pack_client import chosen_width

    before = about.get("pack")
    same = isinstance(before, int) and about.get("share", {}).get("gpu") == share.gpu
    width = int(before or 1) if same else chosen_width(spec, trainer, share)
    return max(1, min(width, -(-trials // share.slots)))


def _tell_of_changes(name: str, about: Mapping[str, Any], info: Mapping[str, Any]) -> None:
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

"""Trains a search's best configurations, and the model's default, again on fresh seeds: a search whose proposals are a list.

What it trains stands in the folder `confirm` of the run, which has the files of a run: its journal, its study, its logs. So the search's
own journal is what it was, and whoever reads that finds the search alone. The list is in `plan.json`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.atomic import write_whole
from tuner.data.cache import load_once
from tuner.data.fingerprint import Fingerprint
from tuner.data.raw import data_root
from tuner.errors import UserError
from tuner.evidence import baselines
from tuner.evidence.kept import KeptWeights, write_winner
from tuner.evidence.plan import Plan, planned, read_plan, with_request
from tuner.evidence.report import Confirmation, Confirmed, confirmation_of
from tuner.machines.cluster import Cluster, Share, address_again, join
from tuner.machines.doctor import check_nodes
from tuner.machines.versions import provenance
from tuner.runs.events import Listener, Past, Run, TrialEnd
from tuner.runs.files import RunFiles, bring_back
from tuner.runs.lock import RunLock
from tuner.runs.orders import Order
from tuner.runs.paths import CHECKPOINTS, CONFIRM, SPEC
from tuner.runs.results import Results, read_run
from tuner.search.checkpoints import ahead
from tuner.search.history import Scores, past_of
from tuner.search.saved import check_brought, spec_of
from tuner.search.study import given_trial, write_study
from tuner.search.trainer import Trainer
from tuner.space.confirming import Confirm
from tuner.space.earlier import Earlier
from tuner.space.seeding import Seeds
from tuner.space.spec import Spec
from tuner.space.stopping import Stop
from tuner.stores.uploads import Sent, uploading
from tuner.tune.asha import scheduler
from tuner.tune.callback import TuneCallback
from tuner.tune.pack_client import chosen_width, shape
from tuner.tune.run import OnRay, Packing, within_reach

from .known_data import same_data
from .page import Page, page_at_end
from .stages import Ended, Opened, OrdersTo, drive
from .trainers import new_trainer

logger = logging.getLogger("tuner")

USUAL = Confirm(top=5, seeds=10)  # what `tuner confirm` does where nothing else was said


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """What is said of a confirmation. `top`: how many of the best configurations; `seeds`: how many fresh seeds; None: as before, as the
    space says, or `USUAL`. `report`: whether the page is written anew. The rest is that of a search that goes on."""

    top: int | None = None
    seeds: int | None = None
    address: str | None = None
    data_root: Path | None = None
    dataset: str | None = None
    listeners: Sequence[Listener] = ()
    report: bool = False


@dataclass(frozen=True, kw_only=True)
class ConfirmOutcome:
    """How it ended: `status` is done | stopped | failed. `ran`: whether there was anything to train. `page`: the page that was written."""

    status: str
    results: Results  # of the search
    found: Confirmation
    reason: str | None = None
    ran: bool = True
    sent: Sent | None = None
    page: Page | None = None


def confirm(folder: Path, options: ConfirmOptions = ConfirmOptions()) -> ConfirmOutcome:
    """Confirms a run, or goes on with that. Ctrl-C, SIGTERM and SIGHUP end it with everything finished kept.

    Raises:
        UserError: it cannot be done: the search runs, has no complete trial, or has other data now. Nothing has been changed then.
    """
    folder = folder.expanduser().absolute()
    with RunLock(folder), uploading(folder, read_run(folder).spec_json.get("uri")) as uploads:
        check_brought(folder, ())  # its file may say something else by now; the run's copy trains
        outcome = confirm_held(folder, options)
        outcome = replace(outcome, page=page_at_end(folder, outcome.status, options.data_root) if options.report else None)
    return replace(outcome, sent=uploads.sent() if uploads else None)


def confirm_held(folder: Path, options: ConfirmOptions) -> ConfirmOutcome:
    """The same for a run whose lock is held; joins a cluster only where something is to be trained."""
    found = prepare(folder, options)
    if not found.left:
        return finish(found, None)
    about = found.run.info
    with contextlib.closing(join(address_again(options.address, about))) as cluster:
        if cluster.address is not None:
            check_nodes(cluster, None if about.get("uri") else folder.parent)
        return run_confirmation(found, cluster, options.listeners)


def confirm_at_end(run: Run, cluster: Cluster, options: ConfirmOptions) -> ConfirmOutcome | None:
    """What the space's key `confirm` asks for, of a search that is done, on its cluster. None where it asks for nothing, or no trial is
    complete."""
    if run.spec.confirm is None or read_run(run.folder).best() is None:
        return None
    found = prepare(run.folder, options)
    return run_confirmation(found, cluster, options.listeners) if found.left else finish(found, None)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A confirmation that can begin or go on. `run`: the search's; `spec`: its space; `left`: how many trainings are to be run."""

    run: Run
    plan: Plan
    data_root: Path | None
    identity: Fingerprint
    left: int

    @property
    def folder(self) -> Path:
        return self.run.folder / CONFIRM


def prepare(folder: Path, options: ConfirmOptions) -> Prepared:
    """Reads and checks everything, and writes the plan. `folder`: the run's, whose lock is held."""
    results = read_run(folder)
    about = results.spec_json
    root = options.data_root or (Path(given) if (given := about.get("data_root")) else None)
    spec = spec_of(folder, None, root, options.dataset)
    before = read_plan(folder)
    request = with_request(before, options.top, options.seeds, spec.confirm or USUAL)
    plan = planned(before, results, spec, request)
    identity = same_data(str(about["name"]), about, spec.dataset.located(root), root)
    run = Run(name=str(about["name"]), folder=folder, spec=spec, info=about)
    (folder / CONFIRM).mkdir(exist_ok=True)
    if (folder / CONFIRM / SPEC).exists():
        bring_back(folder / CONFIRM, str(read_run(folder / CONFIRM).spec_json.get("id", about["name"])))
    plan.write(folder)
    over = _over(folder / CONFIRM)
    return Prepared(run=run, plan=plan, data_root=root, identity=identity, left=sum(n not in over for n in plan.requested()))


def _over(folder: Path) -> set[int]:
    """The trainings that have ended for good."""
    return {end.trial for end in read_run(folder).trials if end.is_over} if (folder / SPEC).exists() else set()


def run_confirmation(found: Prepared, cluster: Cluster, listeners: Sequence[Listener]) -> ConfirmOutcome:
    """Trains what is left, on a cluster that was joined."""
    spec = confirming(found.run.spec, found.plan)
    share = cluster.share(spec.resources)
    trainer = new_trainer(spec, share, found.data_root, found.identity)
    width = _width(found, trainer, share)
    run = opened(found, spec, {**provenance(cluster, share), "pack": width})
    run, scores = _with_past(run, found.plan)
    assert run.past is not None
    fresh = not run.past.ends and not any(trial.metrics for trial in run.past.open.values())
    for path in (*ahead(run.folder, spec, run.past.open, found.data_root), *run.folder.glob(f"{CHECKPOINTS}/.*")):
        path.unlink(missing_ok=True)
    write_study(run.folder, run, [given_trial(n, found.plan.config(n)) for n in range(spec.trials)], scores)
    if fresh:
        run = replace(run, past=None)
    with within_reach(trainer, run) as trainer, contextlib.closing(RunFiles.of(run)) as files:
        ended = drive(
            Opened(
                run=run,
                files=files,
                executor=OnRay(trainer=trainer, packing=Packing(share=share, width=width)),
                scheduler=scheduler(spec),
                listeners=listeners,
                keeper=lambda run, files: KeptWeights(run, files, found.plan),
                orders=OrdersTo(folder=found.run.folder, take=lambda order, callback: _take(order, callback, found.run.name)),
            )
        )
    return finish(found, ended)


def confirming(spec: Spec, plan: Plan) -> Spec:
    """The search that trains the plan: it proposes nothing, and stops nothing early."""
    proposes_nothing = replace(spec, parameters=(), switches=frozenset(), method="random")
    return replace(proposes_nothing, trials=len(plan.trainings), seeds=Seeds(), early_terminate=None, stop=Stop(), earlier=Earlier())


def _width(found: Prepared, trainer: Trainer, share: Share) -> int:
    """As wide as before, else what the space says, else as wide as the search, on the same kind of device: what pays was measured then,
    and a few trainings of several shapes fill no wider pack. On another device: what pays there."""
    ours = read_run(found.folder).spec_json if (found.folder / SPEC).exists() else {}
    chosen = found.run.info if found.run.spec.resources.pack == "auto" else {}
    for about in (ours, chosen):
        if isinstance(about.get("pack"), int) and about.get("share", {}).get("gpu") == share.gpu:
            return max(1, int(about["pack"]))
    spec, plan = replace(found.run.spec, trials=found.left, seeds=Seeds()), found.plan
    kinds = len({shape(spec, plan.configurations[place].config) for place in plan.chosen})
    return max(1, chosen_width(spec, replace(trainer, spec=spec), share, kinds))


def opened(found: Prepared, spec: Spec, info: dict[str, Any]) -> Run:
    """The confirmation as a run, in a folder of its own, whose `spec.json` says what it is."""
    about, folder = found.run.info, found.folder
    known = read_run(folder).spec_json if (folder / SPEC).exists() else {}
    name = f"{found.run.name[:90]}-confirm"
    content = {
        **spec.resolved(), **info, "name": name, "confirms": found.run.name, "id": known.get("id", secrets.token_hex(8)),
        "data": found.identity.written(), "uri": about.get("uri") and f"{about['uri']}/{CONFIRM}", "address": info.get("address"),
    }  # fmt: skip
    write_whole(folder / SPEC, json.dumps(content, indent=2, default=str) + "\n")
    return Run(name=name, folder=folder, spec=spec, info=content)


def _with_past(run: Run, plan: Plan) -> tuple[Run, Scores]:
    """With what an earlier driver trained. What no request asks for any more counts as ended: it is not handed out."""
    given = [given_trial(n, plan.config(n)) for n in range(len(plan.trainings))]
    past, scores = past_of(run.folder, run.spec, given, lambda *_: False)
    over, asked = {end.trial for end in past.ends}, set(plan.requested())
    left_out = [n for n in range(len(plan.trainings)) if n not in over and n not in asked]
    ends = (*past.ends, *(TrialEnd(trial=n, state="stopped", config=plan.config(n)) for n in left_out))
    open_ = {n: trial for n, trial in past.open.items() if n in asked}
    return replace(run, past=Past(ends=ends, pruned=(), open=open_, seconds=past.seconds)), scores


def _take(order: Order, callback: TuneCallback, name: str) -> str:
    if order.do != "stop" or order.trial is not None:
        raise UserError(f"{name} confirms its best configurations now, and takes no other order than: tuner stop {name}")
    callback.stop_search()
    return f"The confirmation of {name} ends. Everything finished is kept; tuner confirm {name} goes on."


def finish(found: Prepared, ended: Ended | None) -> ConfirmOutcome:
    """Computes what stands beside the winner, and names it. `ended`: None where there was nothing to train."""
    run, results = found.run, read_run(found.run.folder)
    confirmed = _confirmation(results)
    status = "done" if ended is None else ended.status
    reason = None if ended is None else ended.reason
    if not confirmed.left and confirmed.winner is not None:
        write_winner(run, confirmed)
        try:
            _beside(found, confirmed.winner)
        except KeyboardInterrupt:  # minutes, with large data
            status = "stopped"
        confirmed = _confirmation(results)
    return ConfirmOutcome(status=status, results=results, found=confirmed, reason=reason, ran=ended is not None)


def _confirmation(results: Results) -> Confirmation:
    found = confirmation_of(results)
    assert found is not None, "its plan was written"
    return found


def _beside(found: Prepared, winner: Confirmed) -> None:
    """Computes k-means beside the winner, on its seeds."""
    run = found.run
    data = load_once(run.spec.dataset.located(found.data_root), data_root(found.data_root))
    configs = [{**winner.configuration.config, "seed": seed, "pretrain_seed": seed} for seed in found.plan.seeds]
    baselines.compute(run.folder, run.spec, winner.name, configs, data)

"""Hands a search to Ray Tune: the trainer within reach of all nodes, the packs' hosts, and the run itself."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray

from tuner.clock import SYSTEM, Clock
from tuner.machines import probe
from tuner.machines.cluster import Share
from tuner.runs.events import Listener, Run
from tuner.runs.paths import PACKS

from .remote_folder import Distant, Keeper

if TYPE_CHECKING:
    from tuner.runs.files import RunFiles
    from tuner.search.trainer import Trainer

    from .actor import SearchContext
    from .executor import Letters, Parts
    from .pack_client import PackedTrainer


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What a trial is given, and how many train as one at most."""

    share: Share
    width: int


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """What trains a trial, and the share of it that the trial's own process takes."""

    share: Share
    trainer: Trainer | PackedTrainer


@contextlib.contextmanager
def within_reach(trainer: Trainer, run: Run) -> Iterator[Trainer]:
    """The trainer of this run's trials, wherever on the cluster they are."""
    trainer = replace(trainer, folder=run.folder)
    if not run.info.get("uri") or run.info.get("address") is None:
        yield trainer
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node, name = ray.get_runtime_context().get_node_id(), f"folder of {run.name} {time.time_ns()}"
    where = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    restarted: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1}
    keeper: Any = ray.remote(Keeper).options(name=name, num_cpus=0, scheduling_strategy=where, **restarted).remote(run.folder)
    try:
        yield replace(trainer, distant=Distant(node=node, keeper=name, uri=str(run.info["uri"])))
    finally:
        ray.kill(keeper)


@contextlib.contextmanager
def training(trainer: Trainer, files: RunFiles, packing: Packing, name: str) -> Iterator[Hosted]:
    """What trains the trials of the run `name`: each in its own process, or in packs, whose hosts live as long as this."""
    if packing.width == 1:
        yield Hosted(share=packing.share, trainer=trainer)
        return
    from .pack_client import start_hosts

    hosts = start_hosts(trainer, packing.share, name, packing.width)
    try:
        yield Hosted(share=hosts.share, trainer=hosts.trainer())
        files.write(PACKS, json.dumps(hosts.occupancy(), indent=1) + "\n")
    finally:
        hosts.close()


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """The executor that trains on the cluster which was joined."""

    trainer: Trainer
    packing: Packing
    clock: Clock = SYSTEM

    def listeners(self) -> Sequence[Listener]:
        from tuner.trackers.prometheus import RayMetrics

        return [RayMetrics()]

    @contextlib.contextmanager
    def session(self, run: Run, files: RunFiles) -> Iterator[RaySession]:
        from .actor import SearchContext
        from .mailbox import MailboxReader

        trainer = replace(self.trainer, fallback=files.fallback)
        with training(trainer, files, self.packing, run.name) as hosted:
            context = SearchContext(
                name=run.name,
                cpu=hosted.share.cpu,
                gpu=hosted.share.gpu,
                mailbox=f"mailbox of {run.name} {os.getpid()}.{time.time_ns()}",
                trainer=ray.cloudpickle.dumps(hosted.trainer),
                code=probe.versions(),
            )
            yield RaySession(context=context, share=hosted.share, letters=MailboxReader(context.mailbox))


@dataclass(frozen=True, kw_only=True)
class RaySession:
    """A search in Ray Tune, which can begin."""

    context: SearchContext
    share: Share
    letters: Letters

    def run(self, run: Run, parts: Parts) -> None:
        fit(self.context, run, self.share.slots, parts)


def fit(context: SearchContext, run: Run, slots: int, parts: Parts) -> None:
    """Hands the search to Tune, and returns when it is over."""
    from ray import tune

    from tuner.runs.clean import scratch_prefix

    from .actor import trainable
    from .failures import Failures
    from .patches import callbacks_uncounted, only_the_trial_is_lost
    from .reporter import Silent

    over = 0 if run.past is None else len(run.past.ends) + len(run.past.pruned)
    with (
        tempfile.TemporaryDirectory(prefix=scratch_prefix(run.name)) as scratch,
        only_the_trial_is_lost(Failures(parts.control.quarantine)),
        callbacks_uncounted(),
    ):
        tune.Tuner(
            trainable(context),
            tune_config=tune.TuneConfig(
                search_alg=parts.searcher,
                scheduler=parts.scheduler,
                num_samples=run.spec.most_trials - over,
                max_concurrent_trials=slots,
                reuse_actors=True,
                trial_name_creator=lambda trial: context.trial_name(trial.config["trial"]),
                trial_dirname_creator=lambda trial: context.trial_name(trial.config["trial"]),
            ),
            run_config=tune.RunConfig(
                name=context.name,
                storage_path=scratch,  # Tune insists on one; what it writes there nobody reads
                callbacks=list(parts.callbacks),
                stop=parts.control.requests,
                failure_config=tune.FailureConfig(max_failures=run.spec.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                progress_reporter=Silent(),
                verbose=0,
            ),
        ).fit()

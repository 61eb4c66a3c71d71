"""Hands a search to Ray Tune: the trainer within reach of all nodes, the packs' hosts, and the run itself."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray

from tuner.machines.cluster import Share
from tuner.runs.events import Run
from tuner.runs.paths import PACKS

from .remote_folder import Distant, Keeper

if TYPE_CHECKING:
    from ray import tune
    from ray.tune.schedulers import TrialScheduler

    from tuner.runs.files import RunFiles
    from tuner.search.trainer import Trainer

    from .actor import SearchContext
    from .pack_client import PackedTrainer
    from .searcher import StudySearch
    from .stopper import SearchControl


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


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What Tune calls in the course of a search."""

    searcher: StudySearch
    scheduler: TrialScheduler
    callbacks: Sequence[tune.Callback]
    control: SearchControl


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


def fit(context: SearchContext, run: Run, slots: int, parts: Parts) -> None:
    """Hands the search to Tune, and returns when it is over."""
    from ray import tune

    from tuner.runs.clean import scratch_prefix

    from .actor import trainable
    from .failures import Failures
    from .patches import only_the_trial_is_lost
    from .reporter import Silent

    over = 0 if run.past is None else len(run.past.ends) + len(run.past.pruned)
    with (
        tempfile.TemporaryDirectory(prefix=scratch_prefix(run.name)) as scratch,
        only_the_trial_is_lost(Failures(parts.control.quarantine)),
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

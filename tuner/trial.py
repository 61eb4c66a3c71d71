"""One Ray trial: a process that trains one configuration after another, and reports every epoch.

`Trainer` is the training side: one trial in this process. `TrialActor` is Tune's side: it knows no model and no tensor, and
imports no torch, for the training side may be another process.
"""

from __future__ import annotations

import logging
import pickle
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ray
from ray import tune

from .errors import UserError
from .said import Line, Said, hand_over, heard_by
from .same_code import check_code

if TYPE_CHECKING:
    from .checkpoint import Snapshot
    from .data import Data, DatasetSpec
    from .distant import Distant
    from .loop import Epoch
    from .space import Spec

logger = logging.getLogger("tuner")

CHECKPOINT_EVERY_S = 60.0
CHECKPOINTS = "checkpoints"  # in the run's folder
PRETRAINED = ".pretrained"  # beside the runs' folders
BEST_WEIGHTS = "best.safetensors"  # the winner's, in the run's folder


@dataclass(frozen=True, kw_only=True)
class Job:
    """What Tune's side of all trials of a search shares."""

    name: str  # the run's
    cpu: float
    gpu: float
    mailbox: str  # the name of the actor that takes pre-training epochs
    trainer: bytes  # pickled: `(trial, config) -> Iterator[Report]`
    code: Mapping[str, str | None]  # the driver's

    def trial_name(self, trial: int) -> str:
        return f"{self.name}-{trial:03d}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One epoch, in plain values. `score`: of the trial so far; None in pre-training."""

    line: dict[str, Any]  # the journal's, but for the time
    score: float | None
    ended: str | None
    reason: str | None
    trouble: str | None = None  # what could not be written
    said: Sequence[Line] = ()  # in another process than the one that passes this on


def weights_file(folder: Path, trial: int) -> Path:
    """Where the weights lie that a complete trial's score is of; with `score: max`, before that, the best ones up to its checkpoint."""
    return folder / CHECKPOINTS / f"{trial:03d}.safetensors"


def checkpoint_file(folder: Path, trial: int) -> Path:
    """Where the state lies that a trial goes on from when it, or the search, was interrupted."""
    return folder / CHECKPOINTS / f"{trial:03d}.resume.safetensors"


def begun_file(folder: Path, trial: int) -> Path:
    """There while a trial pre-trains, or has pre-trained, by itself: if it is tried again it does so again, and its epochs have no gap."""
    return folder / CHECKPOINTS / f"{trial:03d}.begun"


def remove_torn(folder: Path) -> None:
    """Removes files in which a process was writing a checkpoint when it was killed: ours, and those that safetensors writes first."""
    for part in (folder / CHECKPOINTS).glob(".*"):
        part.unlink(missing_ok=True)


class Mailbox:
    """Takes what should reach the driver before the next `tune.report`, which brings it again. A Ray actor."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._unwanted: set[int] = set()

    def put(self, line: dict[str, Any]) -> bool:
        """Whether the trial is to go on."""
        self._lines.append(line)
        return line["trial"] not in self._unwanted

    def stop(self, trial: int) -> None:
        """A trial is not to go on with its pre-training."""
        self._unwanted.add(trial)

    def take(self) -> list[dict[str, Any]]:
        """All that came since the last time, in its order."""
        lines, self._lines = self._lines, []
        return lines


_seen: set[Path] = set()  # the runs' folders that this process has seen


# --- the training side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains one trial at a time in this process. Paths are absolute: a worker's current folder is another."""

    spec: Spec
    folder: Path  # the run's
    dataset: DatasetSpec
    data_root: Path
    device: str
    threads: int
    worst: float  # the score of a trial that collapsed or diverged
    checkpoint_every: float = CHECKPOINT_EVERY_S
    distant: Distant | None = None  # the way to the folder from other machines; None: they all see it
    spill: Path | None = None  # where the weights of a complete trial go while the run's folder cannot be written

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        """The trial's epochs, as they end: from its last checkpoint on where there is one. Whoever asks for the next has taken in the
        one before."""
        from .loop import train
        from .model import load_model

        spec, seed = self.spec, int(config["seed"])
        self.reset_process(seed)
        reports = self.reports(trial, config)
        how: dict[str, Any] = {"seed": seed, "pretrain_seed": spec.pretrain_seed, "start": reports.start, "device": self.device}
        how["metric"] = spec.metric.name
        for epoch in train(load_model(spec.model), spec.hyper(config), self.data(), **how):
            yield reports.of(epoch)
            reports.settle(epoch.index)

    def reports(self, trial: int, config: Mapping[str, Any]) -> Reports:
        """For one trial's epochs from its last checkpoint on, from the end of a pre-training that is known, or its beginning.

        Raises:
            RuntimeError: the run's folder cannot be seen from here.
        """
        if self.distant is not None and not self.distant.is_here():
            with self.distant.fetched(trial) as folder:
                return Reports(replace(self, folder=folder), trial, config, self.distant.hand_in)
        if self.folder.is_dir():
            _seen.add(self.folder)
        elif self.folder not in _seen:  # else it is away, and may come back
            raise RuntimeError(f"this node does not see the run's folder {self.folder}: --out must lie where all nodes can write")
        return Reports(self, trial, config)

    def data(self) -> Data:
        """On the device; read once per machine."""
        return _data(self.dataset, self.data_root, self.device)

    def reset_process(self, seed: int) -> None:
        """A trial must not feel who had its process before."""
        import numpy as np
        import torch

        from .engine import set_precision

        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        set_precision(self.spec.precision, self.device)
        torch.backends.cudnn.benchmark = False
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


class Reports:
    """Makes reports of a trial's epochs, and keeps its state: at most once a minute while it runs, to go on from; when it is
    complete, the weights that its score is of. `start`: where it goes on; None at its beginning. `hand_in` is told of every file that
    was written."""

    def __init__(
        self, trainer: Trainer, trial: int, config: Mapping[str, Any], hand_in: Callable[[Path], None] = lambda path: None
    ) -> None:
        from .disk import Budget
        from .model import load_model
        from .pretraining_cache import PretrainingCache

        self._spec, self._worst, self._trial, self._hand_in = trainer.spec, trainer.worst, trial, hand_in
        self._weights, self._checkpoint = weights_file(trainer.folder, trial), checkpoint_file(trainer.folder, trial)
        self._written, self._every = time.monotonic(), trainer.checkpoint_every
        self.start = _stored(self._checkpoint)
        self._values = list(self.start.values) if self.start else []  # the metric at the epochs that count
        best = _stored(self._weights) if self.start and self._spec.score == "max" else None
        # One that is newer than the checkpoint comes again.
        self._best = best if best and self.start and best.index <= self.start.index else None
        spec, cache = trainer.spec, PretrainingCache(folder=trainer.folder.parent / PRETRAINED, precision=trainer.spec.precision)
        about = load_model(spec.model), spec.hyper(config), trainer.data()
        self._pretraining = cache.entry(*about, seed=int(config["seed"]), pretrain_seed=spec.pretrain_seed)
        self._spill = trainer.spill
        self._budget = Budget(checkpoints=self._weights.parent, winner=trainer.folder / BEST_WEIGHTS, gb=spec.checkpoint_gb)
        self._trouble: str | None = None
        begun = begun_file(trainer.folder, trial)
        if self._pretraining is not None and self.start is None and not begun.exists():
            self.start = self._pretraining.start()
            if self.start is None:
                self._wrote(lambda: self._begin(begun))
        self._unsettled: tuple[Snapshot, Snapshot | None] | None = None  # where to go on from, and the best so far
        logger.info("trained here, from epoch %d on", 1 if self.start is None else self.start.index + 1)

    def of(self, epoch: Epoch) -> Report:
        """To be called for every epoch, before the next one is trained."""
        spec, metrics = self._spec, {name: float(value) for name, value in epoch.metrics.items()}
        line = {
            "trial": self._trial,
            "epoch": epoch.index,
            "phase": epoch.phase,
            "cluster_epoch": epoch.cluster_epoch,
            "metrics": metrics,
        }
        score = None
        if epoch.ended in ("collapsed", "diverged"):
            score = self._worst
        elif epoch.cluster_epoch is not None:
            if spec.metric.name not in metrics:
                raise RuntimeError(f"epoch {epoch.index} ({epoch.phase}) measured no '{spec.metric.name}', which the search goes by")
            self._values.append(metrics[spec.metric.name])
            score = spec.score_of(self._values)
            if spec.score == "max" and self._values[-1] == score:
                self._best = epoch.snapshot()
        self._keep(epoch)
        report = Report(line=line, score=score, ended=epoch.ended, reason=epoch.reason, trouble=self._trouble)
        if score is not None:  # the others go into the mailbox, which takes lines only
            self._trouble = None
        return report

    def _keep(self, epoch: Epoch) -> None:
        if self._pretraining is not None and epoch.ended is None and epoch.index == self._pretraining.length:
            entry, state = self._pretraining, epoch.snapshot()
            self._wrote(lambda: entry.keep(state))
        if epoch.ended == "complete":
            final = self._best if self._best is not None else epoch.snapshot()
            weights = replace(final, tensors=final.weights())
            self._wrote(lambda: self._store_somewhere(weights))
        elif epoch.ended is None and time.monotonic() - self._written >= self._every:
            self._unsettled = replace(epoch.snapshot(), values=list(self._values)), self._best
            self._written = time.monotonic()

    def settle(self, done: int) -> None:
        """Epochs up to `done` have been journalled: only then may a checkpoint say that they need not be trained again."""
        if self._unsettled is None or self._unsettled[0].index > done:
            return
        (state, best), self._unsettled = self._unsettled, None
        kept = None if best is None else replace(best, tensors=best.weights())
        if kept is None or self._wrote(lambda: self._store(kept, self._weights)):
            self._wrote(lambda: self._store(state, self._checkpoint))

    def _begin(self, begun: Path) -> None:
        begun.parent.mkdir(exist_ok=True)  # not the run's folder, which may be away: where it was another disk is now
        begun.touch()
        self._hand_in(begun)

    def _store(self, snapshot: Snapshot, path: Path) -> None:
        self._budget.fit(path, snapshot.size)
        _save(snapshot, path)
        self._hand_in(path)

    def _store_somewhere(self, weights: Snapshot) -> None:
        self._budget.make_room(self._weights, weights.size)
        try:
            _save(weights, self._weights)
            self._hand_in(self._weights)
        except OSError:
            if self._spill is None:
                raise
            spilt = weights_file(self._spill, self._trial)
            spilt.parent.mkdir(parents=True, exist_ok=True)
            _save(weights, spilt)

    def _wrote(self, write: Callable[[], None]) -> bool:
        """A file that cannot be written costs the file, not the trial; the next report tells of it."""
        try:
            write()
        except OSError as error:
            self._trouble = f"{error.strerror or error}, in trial {self._trial}"
            return False
        return True


def _save(snapshot: Snapshot, path: Path) -> None:
    from . import checkpoint

    path.parent.mkdir(exist_ok=True)
    checkpoint.save(snapshot, path)


def _stored(path: Path) -> Snapshot | None:
    from . import checkpoint

    try:
        return checkpoint.load(path) if path.exists() else None
    except (OSError, UserError) as error:
        logger.warning("%s The trial begins anew.", error)
        return None


@lru_cache(maxsize=1)
def _data(dataset: DatasetSpec, root: Path, device: str) -> Data:
    from .data_cache import load_once

    return load_once(dataset, root).to(device)


# --- Tune's side -------------------------------------------------------------------------------------------------------


class TrialActor(tune.Trainable):
    """Trains trial after trial: Tune reuses it, for a process that imports torch costs 5 s."""

    job: ClassVar[Job]
    _trainer: Callable[[int, Mapping[str, Any]], Iterator[Report]] | None
    _reports: Iterator[Report] | None
    _before: list[dict[str, Any]]  # lines of epochs that Tune has not heard of

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        from .quarantine import placement

        return placement(cls.job.cpu, cls.job.gpu, config["outside"])

    def setup(self, config: dict[str, Any]) -> None:
        self._trainer = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._reports = None
        self._before = []
        self._said = Said()
        self._number, self._config = new_config["trial"], new_config["config"]
        return True

    def __repr__(self) -> str:
        """What the dashboard's list of actors shows; it asks once, when the first trial begins."""
        return f"{self.job.name}, trials from {self._number:03d} on"

    def step(self) -> dict[str, Any]:
        """Trains to the end of the next clustering epoch, and tells what was said meanwhile."""
        try:
            with heard_by(self._said):
                result = self._trained()
        except Exception as error:
            hand_over(self._said, error)
            raise
        return result | {"said": self._said.take()}

    def _trained(self) -> dict[str, Any]:
        """Pre-training epochs go to the mailbox as they end."""
        _show_as(self.job.trial_name(self._number))
        if self._reports is None:  # not in `setup`: what goes wrong is this trial's failure, not the process's
            if self._trainer is None:
                check_code(self.job.code)
                self._trainer = pickle.loads(self.job.trainer)
            self._reports = self._trainer(self._number, self._config)
        for report in self._reports:
            if report.score is None:
                mailbox: Any = ray.get_actor(self.job.mailbox)
                told = report.line | {"said": self._said.take()}
                wanted = ray.get(mailbox.put.remote(told))  # waits: what is trained next may be saved, and this must be known then
                self._before.append(report.line)
                if wanted:
                    continue
                return {"before": self._before, "ended": "stopped", "done": True, "node": ray.get_runtime_context().get_node_id()}
            before, self._before = self._before, []
            return {
                "score": report.score,
                "cluster_epoch": report.line["cluster_epoch"] or 0,
                "before": before,
                "line": report.line,
                "ended": report.ended,
                "reason": report.reason,
                "trouble": report.trouble,
                "node": ray.get_runtime_context().get_node_id(),
                "done": report.ended is not None,
            }
        raise RuntimeError("the training ended without saying how")

    def cleanup(self) -> None:
        self._reports = None


def _show_as(title: str) -> None:
    """Names the process in the dashboard's list of workers, and in `ps`, while it works."""
    ray._raylet.setproctitle(f"ray::{title}")  # type: ignore[attr-defined]  # what Ray itself names processes with


def trainable(job: Job) -> type[TrialActor]:
    """The class that Tune runs. The dashboard shows its name."""
    return type(job.name, (TrialActor,), {"job": job})

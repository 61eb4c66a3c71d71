"""The training side of a trial: trains it, scores its epochs, and keeps the state that it goes on from."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.capture import Line
from tuner.errors import UserError
from tuner.runs.paths import BEST_WEIGHTS, begun_file, checkpoint_file, pretrained_folder, warm_file, weights_file
from tuner.runs.records import EpochLine
from tuner.runs.states import STATES
from tuner.space.warm import WarmStart

from .run_folder import RunFolder

if TYPE_CHECKING:
    from tuner.data.datasets import Data, DatasetSpec
    from tuner.data.fingerprint import Fingerprint
    from tuner.data.holdout import Holdout, Parts
    from tuner.space.spec import Spec
    from tuner.training.checkpoint import Snapshot
    from tuner.training.loop import Epoch


logger = logging.getLogger("tuner")

CHECKPOINT_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """One epoch, in plain values. `score`: of the trial so far; None in pre-training."""

    line: EpochLine  # the journal's, but for the time
    score: float | None
    ended: str | None
    reason: str | None
    trouble: str | None = None  # what could not be written
    said: Sequence[Line] = ()  # in another process than the one that passes this on


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
    checkpoint_every: float = CHECKPOINT_EVERY_S
    identity: Fingerprint | None = None  # of the data that the search began with
    distant: RunFolder | None = None  # the way to the folder from other machines; None: they all see it
    fallback: Path | None = None  # where the weights of a complete trial go while the run's folder cannot be written

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        """The trial's epochs, as they end: from its last checkpoint on where there is one. Whoever asks for the next has taken in the
        one before."""
        from tuner.training.loop import train

        spec, seed = self.spec, int(config["seed"])
        self.reset_process(seed)
        reports = self.reports(trial, config)
        how: dict[str, Any] = {"seed": seed, "pretrain_seed": spec.pretrain_seed_of(config), "start": reports.start, "device": self.device}
        how["metric"] = spec.objectives
        for epoch in train(spec.loaded(), spec.hyper(config), self.data(), **how):
            yield reports.of(epoch)
            reports.settle(epoch.epoch)

    def reports(self, trial: int, config: Mapping[str, Any]) -> Reports:
        """For one trial's epochs from its last checkpoint on, from the end of a pre-training that is known, or its beginning.

        Raises:
            RuntimeError: the run's folder cannot be seen from here.
        """
        if self.distant is not None and not self.distant.is_here():
            warm = WarmStart.of(config)
            more = () if warm is None else (str(warm_file(Path(), warm.weights)),)
            with self.distant.fetched(trial, *more) as folder:
                return Reports(replace(self, folder=folder), trial, config, self.distant.hand_in)
        if self.folder.is_dir():
            _seen.add(self.folder)
        elif self.folder not in _seen:  # else it is away, and may come back
            raise RuntimeError(f"this node does not see the run's folder {self.folder}: --out must lie where all nodes can write")
        return Reports(self, trial, config)

    def data(self) -> Data:
        """What the trials train on, on the device; read once per machine.

        Raises:
            UserError: they are not the data that the search began with.
        """
        return self.parts().kept

    def parts(self) -> Parts:
        """That, and the part that is held out. Raises what `data` does."""
        return _parts(self.dataset, self.data_root, self.device, self.identity, self.spec.key("holdout"))

    def reset_process(self, seed: int) -> None:
        """A trial must not feel who had its process before."""
        import numpy as np
        import torch

        from tuner.training.engine import set_precision

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
    complete, the weights that its score is of, and what they make of a fixed subsample. `start`: where it goes on; None at its
    beginning. `hand_in` is told of every file that was written."""

    def __init__(
        self, trainer: Trainer, trial: int, config: Mapping[str, Any], hand_in: Callable[[Path], None] = lambda path: None
    ) -> None:
        from tuner.training.pretraining import PretrainingCache

        from .budget import Budget
        from .completed import KeptCourse, Place, Setup
        from .scores import TrialScore
        from .warm import begun_warm

        self._spec, self._trial, self._hand_in = trainer.spec, trial, hand_in
        self._place = Place(folder=trainer.folder, fallback=trainer.fallback, trial=trial, hand_in=hand_in)
        self._weights, self._checkpoint = weights_file(trainer.folder, trial), checkpoint_file(trainer.folder, trial)
        self._written, self._every = time.monotonic(), trainer.checkpoint_every
        self.start = _stored(self._checkpoint)
        self._score = TrialScore(self._spec, self.start.values if self.start else ())
        best = _stored(self._weights) if self.start and self._spec.score == "max" else None
        # One that is newer than the checkpoint comes again.
        self._best = best if best and self.start and best.epoch <= self.start.epoch else None
        spec, cache = trainer.spec, PretrainingCache(folder=pretrained_folder(trainer.folder), precision=trainer.spec.precision)
        self._parts = trainer.parts()
        self._setup = Setup(spec.loaded(), spec.hyper(config), self._parts.kept)
        self._warm, seed, pretrain_seed = WarmStart.of(config), int(config["seed"]), spec.pretrain_seed_of(config)
        known = None if self._warm is not None else cache.entry(*self._setup, seed=seed, pretrain_seed=pretrain_seed)
        self._pretraining = known  # what trials share began cold
        self._fallback = trainer.fallback
        self._budget = Budget(checkpoints=self._weights.parent, winner=trainer.folder / BEST_WEIGHTS, gb=spec.checkpoint_gb)
        self._course = KeptCourse(self._place, self._setup, self._budget)
        self._trouble: str | None = None
        begun = begun_file(trainer.folder, trial)
        if self._warm is not None and self.start is None:
            self.start = begun_warm(trainer.folder, self._warm, self._setup, seed=seed, pretrain_seed=pretrain_seed)
        if self._pretraining is not None and self.start is None and not begun.exists():
            self.start = self._pretraining.start()
            if self.start is None:
                self._wrote(lambda: self._begin(begun))
        self._course.go_on_from(self.start.cluster_epoch if self.start else 0)
        self._unsettled: tuple[Snapshot, Snapshot | None] | None = None  # where to go on from, and the best so far
        logger.info("trained here, from epoch %d on", 1 if self.start is None else self.start.epoch + 1)

    def of(self, epoch: Epoch) -> Report:
        """To be called for every epoch, before the next one is trained."""
        from tuner.training.held import held_metrics

        spec, metrics = self._spec, {name: float(value) for name, value in epoch.metrics.items()}
        line: EpochLine = {
            "trial": self._trial,
            "epoch": epoch.epoch,
            "phase": epoch.phase,
            "cluster_epoch": epoch.cluster_epoch,
            "metrics": metrics,
        }
        if self._warm is not None:
            line["warm"] = self._warm.trial
        if epoch.ended is not None:
            line["ended"] = epoch.ended
        score = None
        if epoch.ended is not None and STATES[epoch.ended].worst:
            score = spec.metric.worst
        elif epoch.cluster_epoch is not None:
            for name in spec.objectives:
                if name not in metrics:
                    raise RuntimeError(f"epoch {epoch.epoch} ({epoch.phase}) measured no '{name}', which the search goes by")
            newest = self._score.add(metrics[spec.metric.name])
            score = self._score.value
            if spec.score == "max" and newest:
                self._best = epoch.snapshot()
        if epoch.ended == "complete" and self._parts.held is not None:
            metrics |= held_metrics(self._setup.model, self._setup.h, self._parts, self._scored(epoch))
        self._keep(epoch)
        report = Report(line=line, score=score, ended=epoch.ended, reason=epoch.reason, trouble=self._trouble)
        if score is not None:  # the others go into the mailbox, which takes lines only
            self._trouble = None
        return report

    def _scored(self, last: Epoch) -> Snapshot:
        """What the score of a trial is of that ends with this epoch."""
        return self._best if self._best is not None else last.snapshot()

    def _keep(self, epoch: Epoch) -> None:
        from .completed import keep_partition

        self._course.see(epoch)
        if self._pretraining is not None and epoch.ended is None and self._pretraining.takes(epoch):
            entry, state = self._pretraining, epoch.snapshot()
            self._wrote(lambda: entry.keep(epoch.phase, state))
        if epoch.ended == "complete":
            final = self._scored(epoch)
            weights = replace(final, tensors=final.weights())
            self._wrote(lambda: self._store_somewhere(weights))
            self._wrote(lambda: keep_partition(self._place, self._setup, final))
        elif epoch.ended is None and time.monotonic() - self._written >= self._every:
            self._unsettled = replace(epoch.snapshot(), values=list(self._score.values)), self._best
            self._written = time.monotonic()

    def settle(self, done: int) -> None:
        """Epochs up to `done` have been journalled: only then may a checkpoint say that they need not be trained again."""
        if self._unsettled is not None and self._unsettled[0].epoch <= done:
            (state, best), self._unsettled = self._unsettled, None
            kept = None if best is None else replace(best, tensors=best.weights())
            if kept is None or self._wrote(lambda: self._store(kept, self._weights)):
                self._wrote(lambda: self._store(state, self._checkpoint))
        self._course.settle(done)  # it takes what room is left

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
            if self._fallback is None:
                raise
            path = weights_file(self._fallback, self._trial)
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(weights, path)

    def _wrote(self, write: Callable[[], None]) -> bool:
        """A file that cannot be written costs the file, not the trial; the next report tells of it."""
        try:
            write()
        except OSError as error:
            self._trouble = f"{error.strerror or error}, in trial {self._trial}"
            return False
        return True


def _save(snapshot: Snapshot, path: Path) -> None:
    from tuner.training import checkpoint

    path.parent.mkdir(exist_ok=True)
    checkpoint.save(snapshot, path)


def _stored(path: Path) -> Snapshot | None:
    from tuner.training import checkpoint

    try:
        return checkpoint.load(path) if path.exists() else None
    except (OSError, UserError) as error:
        logger.warning("%s The trial begins anew.", error)
        return None


@lru_cache(maxsize=1)
def _parts(dataset: DatasetSpec, root: Path, device: str, identity: Fingerprint | None, holdout: Holdout | None) -> Parts:
    from tuner.data.cache import load_once
    from tuner.data.holdout import parts

    data = load_once(dataset, root)
    differences = identity.differences(data.identity) if identity else []
    if differences:
        raise UserError(f"{dataset.name} is not what the search began with: it has {' and '.join(differences)}.")
    return parts(data.to(device), holdout)

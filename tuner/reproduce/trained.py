"""The trainings of a recipe: done one after another, kept in files, and gone on with where they were killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import __version__
from tuner.atomic import write_whole
from tuner.errors import UserError
from tuner.plain_json import load_json
from tuner.runs.course import Moment, read_course, write_course
from tuner.search.completed import Setup, moment_of
from tuner.training import checkpoint
from tuner.training.engine import PRECISIONS, best_device, set_precision
from tuner.training.loop import Epoch, train
from tuner.training.pretraining import PretrainingCache

from .recipe import Job

if TYPE_CHECKING:
    from tuner.data.datasets import Data
    from tuner.inference.clustered import Clustered
    from tuner.training.checkpoint import Snapshot

CHECKPOINT_S = 60.0  # between two states that a killed training goes on from
_OVER = ("complete", "collapsed", "diverged")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training came to. `lines`: of each epoch `epoch`, `phase`, `cluster_epoch` and its `metrics`; `ended`: complete | collapsed |
    diverged; `seconds`: of all its attempts."""

    job: Job
    lines: Sequence[Mapping[str, Any]]
    ended: str
    seconds: float

    def value(self, metric: str, epoch: int | None = None) -> float | None:
        """After a clustering epoch, or at the end; None where it was not measured. An error is that on the published test split, where
        there is one."""
        scored = [line for line in self.lines if line["cluster_epoch"] is not None]
        line = next((one for one in scored if one["cluster_epoch"] == epoch), None) if epoch else (scored[-1] if scored else None)
        found = {} if line is None else line["metrics"]
        return found.get(f"{metric}_test", found.get(metric))

    def course(self, metric: str) -> dict[int, float]:
        """By clustering epoch."""
        found = {line["cluster_epoch"]: line["metrics"].get(metric) for line in self.lines if line["cluster_epoch"] is not None}
        return {epoch: value for epoch, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """The files of one training in a recipe's folder. `pictured`: with its weights and maps, of which pictures are made."""

    folder: Path
    job: Job
    data: Data
    pictured: bool = False
    about: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """`about`: what decides the result; files that say otherwise are another training's."""
        said = {
            "model": self.job.model.name,
            "config": dict(self.job.hyper().flat()),
            "seed": self.job.seed,
            "data": self.data.identity.written(),
        }
        object.__setattr__(self, "about", json.loads(json.dumps(said)))

    def file(self, ending: str) -> Path:
        return self.folder / "trainings" / f"{self.job.stem}.{ending}"

    def read(self) -> Mapping[str, Any] | None:
        """What was written of this training so far; None where nothing was, or of another configuration or other data."""
        try:
            found = load_json(self.file("json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("about") == self.about else None

    def result(self) -> Result | None:
        """None where it is not over, or its pictures lack something."""
        found = self.read()
        if found is None or found["ended"] not in _OVER:
            return None
        if self.pictured and found["ended"] != "diverged" and not self.file("safetensors").is_file():
            return None
        return Result(job=self.job, lines=found["lines"], ended=found["ended"], seconds=found["seconds"])

    def write(self, going: Going, ended: str | None) -> None:
        text = {"about": self.about, "tuner": __version__, "ended": ended, "seconds": going.seconds, "lines": going.lines}
        write_whole(self.file("json"), json.dumps(text) + "\n")
        if self.pictured:
            write_course(self.file("course.safetensors"), going.moments)

    def clustered(self) -> Clustered | None:
        """What pictures are made of; None where it diverged."""
        from tuner.inference.assign import Assigner
        from tuner.inference.clustered import clustered

        if not self.file("safetensors").is_file():
            return None
        snapshot = checkpoint.load(self.file("safetensors"))
        moments = [one for one in read_course(self.file("course.safetensors")) if one.epoch < snapshot.cluster_epoch]
        found = clustered(Assigner(snapshot, device=best_device(), model=self.job.model), self.data, moments)
        return replace(found, epoch=snapshot.cluster_epoch)


@dataclass(kw_only=True)
class Going:
    """A training under way. `start`: where it goes on."""

    lines: list[Mapping[str, Any]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    seconds: float = 0.0
    start: Snapshot | None = None


def gone_on(kept: Kept) -> Going:
    """What an attempt that was killed left, up to its checkpoint; nothing where there is none."""
    found, resume = kept.read(), kept.file("resume.safetensors")
    if found is None or not resume.is_file():
        return Going()
    try:
        start = checkpoint.load(resume)
    except UserError:
        return Going()
    lines = [line for line in found["lines"] if line["epoch"] <= start.epoch]
    moments = [one for one in read_course(kept.file("course.safetensors")) if one.epoch <= start.cluster_epoch]
    return Going(lines=lines, moments=moments, seconds=found["seconds"], start=start)


def train_one(kept: Kept, tell: Callable[[Epoch], None], every_s: float = CHECKPOINT_S) -> Result:
    """Trains from where an earlier attempt was, and writes as it goes. `tell`: hears of every epoch. `every_s`: seconds between two
    checkpoints.

    Raises:
        UserError: the model does not fit the data.
        OSError: the folder cannot be written.
    """
    kept.file("json").parent.mkdir(parents=True, exist_ok=True)
    going = gone_on(kept)
    if going.start is None:  # what is there is another configuration's: it must not stand beside this one's lines
        for ending in ("resume.safetensors", "safetensors", "course.safetensors"):
            kept.file(ending).unlink(missing_ok=True)
    setup = Setup(kept.job.model, kept.job.hyper(), kept.data.to(best_device()))
    ended, began, saved = None, time.monotonic() - going.seconds, time.monotonic()
    for epoch in _epochs(kept, going):
        going.lines.append({"epoch": epoch.epoch, "phase": epoch.phase, "cluster_epoch": epoch.cluster_epoch, "metrics": epoch.metrics})
        if kept.pictured and (moment := moment_of(setup, epoch)):
            going.moments.append(moment)
        going.seconds, ended = round(time.monotonic() - began, 1), epoch.ended
        if ended is None and time.monotonic() - saved >= every_s:
            kept.write(going, None)  # before the checkpoint: lines that lie behind it are done again, lines that lack would be missed
            checkpoint.save(epoch.snapshot(), kept.file("resume.safetensors"))
            saved = time.monotonic()
        if ended is not None and kept.pictured and ended != "diverged":
            final = epoch.snapshot()
            checkpoint.save(replace(final, tensors=final.weights()), kept.file("safetensors"))
        tell(epoch)
    assert ended is not None, "a training that is not interrupted ends"
    kept.write(going, ended)
    kept.file("resume.safetensors").unlink(missing_ok=True)
    return Result(job=kept.job, lines=going.lines, ended=ended, seconds=going.seconds)


def _epochs(kept: Kept, going: Going) -> Iterator[Epoch]:
    """Trainings that begin with the same pre-training take it from each other."""
    job, device = kept.job, best_device()
    set_precision(PRECISIONS[0], device)
    data, h, start = kept.data.to(device), job.hyper(), going.start
    cache = PretrainingCache(folder=kept.folder / "pretrained")
    entry = cache.entry(job.model, h, data, seed=job.seed, pretrain_seed=job.seed)
    if start is None and entry is not None:
        start = entry.start()
    for epoch in train(job.model, h, data, seed=job.seed, start=start, device=device):
        if entry is not None and entry.takes(epoch):
            entry.keep(epoch.phase, epoch.snapshot())
        yield epoch

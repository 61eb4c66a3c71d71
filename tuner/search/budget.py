"""The disk that a search's checkpoints take: estimated before it starts, and kept within the space's `checkpoint_gb` while it runs.

What pre-training came to lies beside the runs and is not counted: later searches use it, too.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuner.model import DataSpec, Descend, Hyper
from tuner.space.spec import Spec
from tuner.training.engine import trained

_MOMENTS = 2  # of each trained number, with the optimiser that keeps most


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """In bytes. `weights`: what a model is used with; `state`: what a trial goes on from, optimisers included."""

    weights: int
    state: int

    def of_search(self, spec: Spec, at_once: int) -> int:
        """What a search takes at most, with so many trials at once: their states and, with `score: max`, their best weights; one
        trial's last weights; the winner's; and those of seeds whose configuration is undecided."""
        running = self.state + (self.weights if spec.score == "max" else 0)
        most = at_once * running + (2 + _undecided(spec, at_once)) * self.weights
        return most if spec.checkpoint_gb is None else min(most, int(spec.checkpoint_gb * 1e9))


def _undecided(spec: Spec, at_once: int) -> int:
    """How many complete trials' weights are kept at most until it is known which is the winner's."""
    seeds = spec.seeds
    if seeds.race is None:
        return at_once * (seeds.repeat - 1)
    found, going = spec.trials, spec.trials
    for before, level in pairwise(seeds.levels):
        going = max(1, going // seeds.reduction)
        found += going * (level - before)
    return found


def largest(spec: Spec) -> Hyper:
    """Every number of the space at its highest."""
    chosen: dict[str, Any] = {}
    for found in spec.searched():
        if spec.active(found, chosen):
            values = found.options or (found.max,)
            chosen[found.name] = max(values) if all(isinstance(value, int | float) for value in values) else values[0]
    return spec.hyper(spec.config(chosen))


def sizes(spec: Spec, data: DataSpec) -> Sizes:
    """An estimate, for the largest networks of the space, on meta tensors."""
    model, h = spec.loaded(), largest(spec)
    with torch.device("meta"):
        networks, tensors = model.networks(h, data), dict(model.tensors(h, data))
    weights = _bytes([*tensors.values(), *(t for net in networks.values() for t in net.state_dict().values())])
    moved = [
        _bytes(t for update in phase.updates if isinstance(update, Descend)
               for name in update.rates() for t in trained(name, networks, tensors).values())
        for phase in model.phases(h)
    ]  # fmt: skip
    return Sizes(weights=weights, state=weights + _MOMENTS * max(moved, default=0))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def too_little(out: Path, needed: int) -> str | None:
    """What to say where `out` has less room than a search may need."""
    near = next(path for path in (out, *out.parents) if path.exists())
    free = shutil.disk_usage(near).free
    if free >= needed:
        return None
    return (
        f"--out {out} has {free / 1e9:.3g} GB free, and the checkpoints of this search may take {needed / 1e9:.3g} GB. Make room, choose "
        "another --out, or let the space say 'checkpoint_gb': what does not fit is not written, and costs a trial only what it trained "
        "since its last checkpoint, should it be interrupted."
    )


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run's checkpoints may take: the files in its folder `checkpoints`, and the winner's weights beside it. Trials on several
    machines look at it by themselves, so that it may be passed by what they write at the same moment."""

    checkpoints: Path
    winner: Path
    gb: float | None

    def fit(self, path: Path, size: int) -> None:
        """For a checkpoint of a trial that goes on: each keeps its last one, and whoever comes when nothing is left gets none.

        Raises:
            OSError: it does not fit.
        """
        if self._over(path, size) > 0:
            raise OSError(f"checkpoint_gb, {self.gb:g}, is reached")

    def make_room(self, path: Path, size: int) -> None:
        """For the weights of a trial that is complete, which may be the winner's: the oldest states that others would go on from are
        removed, as many as it takes."""
        with contextlib.suppress(OSError):  # another trial's, which has ended meanwhile
            others = sorted(self.checkpoints.glob("*.resume.safetensors"), key=lambda other: other.stat().st_mtime)
            while others and self._over(path, size) > 0:
                others.pop(0).unlink(missing_ok=True)

    def _over(self, path: Path, size: int) -> float:
        """By how many bytes the budget would be passed, with a file of that size at `path`."""
        if self.gb is None:
            return 0.0
        taken = 0
        for file in (*self.checkpoints.glob("*.safetensors"), self.winner):
            if file != path:
                with contextlib.suppress(FileNotFoundError):
                    taken += file.stat().st_size
        return taken + size - self.gb * 1e9

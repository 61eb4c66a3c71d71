"""A trial that starts from the weights of another one, where names and shapes allow.

It takes each tensor that has the same name and shape. Where all that pre-training moves was taken, it begins with its first clustering
phase; else it trains that, too. What a phase does at its start, such as k-means for the centres, is done where it sets something that was
not taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.model import DataSpec, Hyper, Model, Phase

from .checkpoint import Snapshot
from .engine import State, build, state_of
from .pretraining import moved
from .trial import initial_seed, start_trial


@dataclass(frozen=True, kw_only=True)
class Taken:
    """`names`: of the tensors that were taken; `left`: of the others a line each, which says why."""

    names: frozenset[str]
    left: tuple[str, ...]

    @staticmethod
    def of(theirs: State, ours: State) -> Taken:
        """`theirs`: weights that are there; `ours`: those that are asked for. A tensor that is not finite is left, too."""
        left, names = [], set[str]()
        for name, t in ours.items():
            other = theirs.get(name)
            if other is None:
                left.append(f"{name} {_shape(t)} is not there")
            elif other.shape != t.shape:
                left.append(f"{name} is {_shape(other)} there, {_shape(t)} here")
            elif other.dtype.is_floating_point != t.dtype.is_floating_point or not other.isfinite().all():
                left.append(f"{name} {_shape(t)} cannot be used")
            else:
                names.add(name)
        return Taken(names=frozenset(names), left=tuple(left))

    def in_words(self, most: int = 6) -> str:
        """Which tensors were taken and which were not, with their shapes."""
        count = f"{len(self.names)} of {len(self.names) + len(self.left)} tensors"
        if not self.left:
            return f"all {len(self.names)} tensors taken"
        more = f"; and {len(self.left) - most} more" if len(self.left) > most else ""
        return f"{count} taken; not taken: {'; '.join(self.left[:most])}{more}"


def _shape(t: Tensor) -> str:
    return "×".join(map(str, t.shape)) or "a number"


def fitting(model: Model, h: Hyper, data: DataSpec, weights: State) -> Taken:
    """What a trial of this configuration could take of these weights."""
    return Taken.of(weights, state_of(*build(model, h, data, torch.empty(()), seed=0)))


@dataclass(frozen=True, kw_only=True)
class Warm:
    """`start`: what the trial begins from."""

    start: Snapshot
    taken: Taken


def warm(model: Model, h: Hyper, data: Data, weights: State, *, seed: int, pretrain_seed: int) -> Warm:
    """A trial at its beginning, with these weights. What it does not take is what it would have begun with.

    Shapes are the model's. The snapshot stands behind pre-training where that need not be done, as where its outcome was known.
    """
    trial, phases = start_trial(model, h, seed=seed, pretrain_seed=pretrain_seed), model.phases(h)
    initial = state_of(*build(model, h, data.spec, data.x_ND, initial_seed(model, trial)))
    taken, before = Taken.of(weights, initial), pretraining_of(phases)
    skipped = before if moved(before, initial).keys() <= taken.names else ()
    epoch = sum(int(getattr(h, phase.epochs)) for phase in skipped)
    start = Snapshot(
        model=model.name, config=h.flat(), seed=trial.seed, pretrain_seed=trial.pretrain_seed, phase=len(skipped), epoch=epoch,
        phase_epoch=0, phase_batches=0, cluster_epoch=0, one_cluster_epochs=0,
        tensors={name: (weights[name] if name in taken.names else t).to(t) for name, t in initial.items()}, warm=taken.names,
    )  # fmt: skip
    return Warm(start=start, taken=taken)


def pretraining_of(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """The phases before the first that clusters."""
    return tuple(takewhile(lambda phase: not phase.clusters, phases))

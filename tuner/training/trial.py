"""A trial's place in its training: where it begins, how long it is, and whether it can be trained on a data set at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tuner.data.datasets import Data
from tuner.data.labels import labelled_of
from tuner.draws import Draws, seed_of
from tuner.errors import UserError
from tuner.model import Hyper, Model, Phase

from .checkpoint import Snapshot
from .engine import terms_on


@dataclass(kw_only=True)
class Trial:
    """A trial's place in its training."""

    h: Hyper
    seed: int
    pretrain_seed: int
    on: frozenset[str]  # the terms that weigh anything in some epoch
    phase: int = 0
    phase_epoch: int = 0  # finished epochs of this phase
    phase_batches: int = 0  # finished batches of this phase
    epoch: int = 0  # finished epochs of all phases
    cluster_epoch: int = 0  # finished clustering epochs
    one_cluster_epochs: int = 0  # how many of the last clustering epochs used one cluster only
    warm: frozenset[str] = frozenset()  # the tensors that it took of other weights, while it is in the phase that it began with

    def draws(self, phase: Phase, purpose: str, like: Tensor) -> Draws:
        """The generator for one purpose in the running epoch. A phase that trials may share draws from the shared seed."""
        seed = self.pretrain_seed if phase.depends else self.seed
        return Draws(seed, phase.name, self.phase_epoch + 1, purpose, like=like)

    def advance(self, phases: Sequence[Phase]) -> bool:
        """Moves to the phase in which the next epoch lies. False: the trial is over."""
        while self.phase < len(phases) and self.phase_epoch >= getattr(self.h, phases[self.phase].epochs):
            self.next_phase()
        return self.phase < len(phases)

    def next_phase(self) -> None:
        self.phase, self.phase_epoch, self.phase_batches, self.warm = self.phase + 1, 0, 0, frozenset()


def start_trial(model: Model, h: Hyper, *, seed: int, pretrain_seed: int | None = None, start: Snapshot | None = None) -> Trial:
    """A trial at its beginning, or where a snapshot left it.

    Raises:
        UserError: the snapshot is of another model, configuration or seed.
    """
    trial = Trial(h=h, seed=seed, pretrain_seed=seed if pretrain_seed is None else pretrain_seed, on=terms_on(model, h))
    if start is None:
        return trial
    for what, theirs, ours in (("model", start.model, model.name), ("configuration", start.config, h.flat()), ("seed", start.seed, seed)):
        if theirs != ours:
            raise UserError(f"The checkpoint is of {what} {theirs}, not of {ours}.")
    trial.phase, trial.phase_epoch, trial.phase_batches, trial.epoch = start.phase, start.phase_epoch, start.phase_batches, start.epoch
    trial.cluster_epoch, trial.one_cluster_epochs, trial.pretrain_seed = start.cluster_epoch, start.one_cluster_epochs, start.pretrain_seed
    trial.warm = start.warm
    return trial


def initial_seed(model: Model, trial: Trial) -> int:
    """Seeds the initial state. Where trials may share a phase's outcome they share what it starts from."""
    shared = any(phase.depends for phase in model.phases(trial.h))
    return seed_of(trial.pretrain_seed if shared else trial.seed, "init")


def planned_epochs(model: Model, h: Hyper) -> tuple[int, int]:
    """How many epochs a trial has, and how many of them cluster: at most, where a phase may end by a condition."""
    lengths = [(getattr(h, phase.epochs), phase.clusters) for phase in model.phases(h)]
    return sum(n for n, _ in lengths), sum(n for n, clusters in lengths if clusters)


def can_take(epochs: int, phases: Sequence[Phase], h: Hyper) -> bool:
    """Whether these phases may be over after so many epochs: as long as they are, or shorter where a condition may end one."""
    lengths = [int(getattr(h, phase.epochs)) for phase in phases]
    least = sum(min(1, length) if phase.until else length for length, phase in zip(lengths, phases, strict=True))
    return least <= epochs <= sum(lengths)


def check_fits(model: Model, h: Hyper, data: Data) -> None:
    """Raises UserError where this configuration cannot be trained on this data set."""
    part = " before its test split" if model.labels == "partial" and data.test else ""
    for name in ("batch_size", "n_clusters"):
        size, n_samples = getattr(h, name, 1), data.n_train if model.labels == "partial" else data.spec.n_samples
        if size > n_samples:
            raise UserError(f"'{name}' is {size}, but {data.name} has {n_samples} samples{part}. Set {name}={n_samples} or less.")
    if model.labels == "partial":
        labelled_of(data, h)
    if model.rebuilds_pixels and not data.spec.unit_range:
        raise UserError(
            f"{model.name} rebuilds its input as pixels in [0, 1], but {data.name} has other values. Use the data set's 'scale: minmax'."
        )

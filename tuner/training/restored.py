"""A trained model from a snapshot: its networks and tensors, and the values with which training evaluated them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tuner.errors import UserError
from tuner.model import DataSpec, Hyper, Model, Net, Values
from tuner.nn import Modes

from .checkpoint import Snapshot
from .engine import Settings, build, state_of, terms_on, views


@dataclass(frozen=True, kw_only=True, eq=False)
class Restored:
    """A model's trained networks and tensors by name, and the values that were in force when they were evaluated."""

    networks: dict[str, nn.Module]
    tensors: dict[str, Tensor]
    values: Values

    def evaluating(self) -> Net:
        """The view in which training evaluates."""
        modes = {name: Modes(network) for name, network in self.networks.items()}
        return views(lambda name, mode: modes[name].wrap(mode, self.networks[name]), list(self.networks), self.tensors)["eval"]


@torch.no_grad()
def restored(model: Model, h: Hyper, data: DataSpec, snapshot: Snapshot, like: Tensor) -> Restored:
    """What a snapshot holds, on the device and in the precision of `like`. `data`: that the trial was trained on.

    Raises:
        UserError: the tensors are not those of the model.
    """
    networks, tensors = build(model, h, data, like, seed=0)
    for name, t in state_of(networks, tensors).items():
        if name not in snapshot.tensors or snapshot.tensors[name].shape != t.shape:
            theirs = tuple(snapshot.tensors[name].shape) if name in snapshot.tensors else "absent"
            raise UserError(f"The weights are of another version of {model.name}: '{name}' should be {tuple(t.shape)}, but is {theirs}.")
        t.copy_(snapshot.tensors[name])
    for network in networks.values():
        network.requires_grad_(False)
    settings = Settings(model, h, terms_on(model, h), _scheduled(model, h, snapshot))
    return Restored(networks=networks, tensors=tensors, values=settings.values(like))


def _scheduled(model: Model, h: Hyper, snapshot: Snapshot) -> dict[str, float]:
    """The values that the schedule had in the snapshot's last epoch: they hold in `assign`, too."""
    phases = [(phase, int(getattr(h, phase.epochs))) for phase in model.phases(h)]
    phase, epoch = snapshot.phase, snapshot.phase_epoch
    while epoch == 0 and phase > 0:  # a phase that a condition ended: its trial stands before the next one
        phase -= 1
        epoch = min(phases[phase][1], snapshot.epoch - sum(length for _, length in phases[:phase])) if phases[phase][1] else 0
    schedule = phases[min(phase, len(phases) - 1)][0].schedule
    return schedule(h, max(1, epoch)) if schedule else {}

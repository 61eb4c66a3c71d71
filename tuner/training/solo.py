"""One trial as an engine with one slot: ordinary eager modules and fused optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tuner.model import Batch, DataSpec, Descend, Hyper, Model, Net, Phase, Replace
from tuner.nn import Modes

from .engine import Parts, Settings, State, build, owned_terms, state_of, trained, views
from .optimizers import MOMENTS, move, rate_type


class SoloStep:
    """One `Descend` of the running phase, with what its optimiser remembers."""

    def __init__(self, update: Descend, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self.update = update
        parts = {name: trained(name, networks, tensors) for name in update.rates()}
        self.leaves = [p for part in parts.values() for p in part.values()]
        names = MOMENTS[type(update.optimizer)]
        self.moments = {m: {k: torch.zeros_like(p) for part in parts.values() for k, p in part.items()} for m in names}
        # What a step moves, network by network: the parameters, and for each moment a tensor like each of them.
        self.moved = {
            name: (list(part.values()), [[moment[key] for key in part] for moment in self.moments.values()]) for name, part in parts.items()
        }
        self.count = torch.zeros((), dtype=torch.float32, device=self.leaves[0].device)

    def set(self, settings: Settings) -> None:
        o = self.update.optimizer
        device = self.count.device
        self.lr = {
            name: torch.tensor(settings.number(rate), dtype=rate_type(device), device=device) for name, rate in self.update.rates().items()
        }
        self.numbers = {field: settings.number(getattr(o, field)) for field in o.__dataclass_fields__}
        self.clip = settings.number(self.update.clip) if self.update.clip else None

    @torch.no_grad()
    def apply(self, grads: Sequence[Tensor]) -> None:
        if self.clip is not None:
            scale = (self.clip / (nn.utils.get_total_norm(grads) + 1e-6)).clamp(max=1.0)
            grads = [grad * scale for grad in grads]
        self.count += 1
        left = iter(grads)
        for name, (params, moments) in self.moved.items():
            own = [next(left) for _ in params]
            move(self.update.optimizer, params, own, moments, self.count, lr=self.lr[name], numbers=self.numbers)

    def state(self) -> State:
        """Moments and step count, as `optimizer/<update>/<tensor>/<moment>`."""
        if self.count == 0:
            return {}
        at = f"optimizer/{self.update.name}"
        moments = {f"{at}/{key}/{m}": t.clone() for m, moment in self.moments.items() for key, t in moment.items()}
        return moments | {f"{at}/step": self.count.double().cpu()}

    def load(self, state: State) -> None:
        at = f"optimizer/{self.update.name}"
        if f"{at}/step" in state:
            self.count.copy_(state[f"{at}/step"])
        for m, moment in self.moments.items():
            for key, t in moment.items():
                if f"{at}/{key}/{m}" in state:
                    t.copy_(state[f"{at}/{key}/{m}"])


class Trace:
    """One loss after the other, in few pieces: a small tensor that is kept after every step lies between the large ones that are freed,
    and the heap grows by what no longer fits in the gaps, 1 MB and more a step."""

    PIECE = 64

    def __init__(self) -> None:
        self.pieces: list[Tensor] = []
        self.last: list[Tensor] = []

    def append(self, loss: Tensor) -> None:
        self.last.append(loss)
        if len(self.last) == self.PIECE:
            self.pieces.append(torch.stack(self.last))
            self.last = []

    def mean(self) -> Tensor:
        return torch.cat([*self.pieces, torch.stack(self.last)] if self.last else self.pieces).mean()


class Solo:
    """An engine with one slot."""

    slots = 1

    def __init__(self, model: Model, h: Hyper, data: DataSpec, like: Tensor, *, seed: int) -> None:
        self.like = like
        self.networks, self.tensors = build(model, h, data, like, seed)
        self.owned = owned_terms(model, h, data, Parts(networks=self.networks, tensors=self.tensors), like)
        modes = {name: Modes(network) for name, network in self.networks.items()}
        self.views = views(lambda name, mode: modes[name].wrap(mode, self.networks[name]), list(self.networks), self.tensors)
        self.recording: list[Tensor] = []
        for network in self.networks.values():
            network.requires_grad_(False)

    def open(self, phase: Phase, slot: int = 0) -> None:
        """Fresh optimisers for a phase."""
        self.updates = [SoloStep(u, self.networks, self.tensors) if isinstance(u, Descend) else u for u in phase.updates]

    def begin(self, settings: Sequence[Settings | None]) -> None:
        """`settings[slot]` is in force until the next call."""
        (only,) = settings
        assert only is not None
        self.settings, self.values = only, only.values(self.like)
        self.losses: dict[str, Trace] = {}
        for step in self.updates:
            if isinstance(step, SoloStep):
                step.set(only)

    def step(self, batch: Batch, noise: Mapping[str, Tensor]) -> None:
        """All updates on one batch. Every tensor has a leading axis of slots."""
        batch = Batch(batch.x_BD[0], batch.rows_B[0], tuple(t[0] for t in batch.labelled))
        draws, net = Net({k: v[0] for k, v in noise.items()}), self.views["training"]
        weights = self.settings.weights
        for step in self.updates:
            if isinstance(step, Replace):
                with torch.no_grad():
                    self.put(0, step.values(net, batch, self.values, draws))
                continue
            if not self.settings.takes(self.owned[step.update.name]):
                continue
            self._record(step.leaves)
            total: Tensor | None = None
            for term, loss in step.update.losses(net, batch, self.values, draws).items():
                weight = weights[term]
                if weight != 0:  # 0 x inf is NaN
                    self.losses.setdefault(term, Trace()).append(loss.detach())
                    loss = loss if weight == 1 else weight * loss
                    total = loss if total is None else total + loss
            assert total is not None, f"{step.update.name} returned none of its terms"
            step.apply(torch.autograd.grad(total, step.leaves, allow_unused=True, materialize_grads=True))

    def _record(self, leaves: list[Tensor]) -> None:
        """Only what the running update trains records a graph."""
        if self.recording is not leaves:
            for p in self.recording:
                p.requires_grad_(False)
            for p in leaves:
                p.requires_grad_(True)
            self.recording = leaves

    def measured(self, slot: int = 0) -> dict[str, float]:
        """The epoch's mean of each term, unweighted."""
        means = torch.stack([losses.mean() for losses in self.losses.values()]).tolist() if self.losses else []
        return dict(zip(self.losses, means, strict=True))

    @contextmanager
    def view(self, slot: int = 0) -> Iterator[Net]:
        """The evaluating view, without gradients."""
        with torch.no_grad():
            yield self.views["eval"]

    @torch.no_grad()
    def put(self, slot: int, values: Mapping[str, Any]) -> None:
        """Overwrites tensors, and networks by state dicts."""
        for name, value in values.items():
            if name in self.networks:
                self.networks[name].load_state_dict(value)
            else:
                self.tensors[name].copy_(value)

    def state(self, slot: int = 0) -> State:
        """Parameters, buffers and tensors, by dotted name; not a copy."""
        return state_of(self.networks, self.tensors)

    def moments(self, slot: int = 0) -> State:
        """What the running phase's optimisers remember."""
        return {k: v for step in self.updates if isinstance(step, SoloStep) for k, v in step.state().items()}

    @torch.no_grad()
    def load(self, slot: int, state: State) -> None:
        """Takes over what `state` and `moments` of any engine gave."""
        for name, t in self.state().items():
            t.copy_(state[name])
        for step in self.updates:
            if isinstance(step, SoloStep):
                step.load(state)

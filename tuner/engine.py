"""One trial: ordinary eager modules and torch's own optimisers, data resident on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .draws import Draws
from .model import SGD, Adam, Batch, DataSpec, Descend, Hyper, Model, Net, Optimizer, Phase, Replace, RMSprop, Values
from .nn import Modes

Views = dict[str, Net]
State = dict[str, Tensor]

# The names under which torch keeps an optimiser's moments: a snapshot uses them, whichever engine wrote it.
MOMENTS: dict[type, tuple[str, ...]] = {Adam: ("exp_avg", "exp_avg_sq"), SGD: ("momentum_buffer",), RMSprop: ("square_avg",)}


def build(model: Model, h: Hyper, data: DataSpec, like: Tensor, seed: int) -> tuple[dict[str, nn.Module], dict[str, Tensor]]:
    """Fresh networks and tensors in the device and precision of `like`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks, tensors = model.networks(h, data), model.tensors(h, data)
    place = partial(torch.Tensor.to, device=like.device)
    return (
        {name: network.to(like.device, like.dtype) for name, network in networks.items()},
        {name: place(t, dtype=like.dtype) if t.is_floating_point() else place(t) for name, t in tensors.items()},
    )


def state_of(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> State:
    """Parameters, buffers and tensors, by dotted name; not a copy."""
    parts = {f"{name}.{k}": t.detach() for name, network in networks.items() for k, t in network.state_dict().items()}
    return {name: t.detach() for name, t in tensors.items()} | parts


def views(call: Callable[[str, str], Callable[..., Any]], networks: Sequence[str], tensors: Mapping[str, Tensor]) -> Views:
    """The three views of one trial's state. `call(name, mode)` gives the function that runs a network in a mode."""
    nets = {mode: Net({name: call(name, mode) for name in networks} | dict(tensors)) for mode in ("training", "still", "eval")}
    for net in nets.values():
        net.still, net.eval = nets["still"], nets["eval"]
    return nets


class Settings:
    """What holds for one trial in one epoch: its numbers and its terms' weights after `schedule`."""

    def __init__(self, model: Model, h: Hyper, on: frozenset[str], scheduled: Mapping[str, float]) -> None:
        self.static, self.numbers, self.on = h.static(), h.dynamic(), on
        self.weights = {term: h.weights.get(term, 1.0) for term in model.terms}
        for name, value in scheduled.items():
            term = name.removeprefix("weights.")
            assert name in self.numbers or term in self.weights, f"schedule sets '{name}', which {model.name} does not have"
            if name in self.numbers:
                self.numbers[name] = value
            else:
                self.weights[term] = value

    def takes(self, terms: Sequence[str]) -> bool:
        """Whether an update with these terms is taken: not if all weigh 0."""
        return any(term in self.on and self.weights[term] != 0 for term in terms)

    def tensors(self, like: Tensor) -> dict[str, Tensor]:
        """The numbers as 0-d tensors; whole ones keep a whole type."""
        return {
            name: torch.tensor(value, device=like.device, dtype=torch.int64 if isinstance(value, int) else like.dtype)
            for name, value in self.numbers.items()
        }

    def values(self, like: Tensor) -> Values:
        return Values(self.static, self.tensors(like), self.on)

    def number(self, name_or_value: float | str) -> float:
        """A rate, a momentum, a norm: given as it is, or as the name of a hyper-parameter."""
        return float(self.numbers[name_or_value]) if isinstance(name_or_value, str) else name_or_value


def terms_on(model: Model, h: Hyper) -> frozenset[str]:
    """The terms whose weight is not 0 in some epoch. The others are not computed."""
    on = {term for term in model.terms if h.weights.get(term, 1.0) != 0}
    for phase in model.phases(h):
        if phase.schedule:
            for epoch in range(1, getattr(h, phase.epochs) + 1):
                scheduled = phase.schedule(h, epoch)
                on |= {name.removeprefix("weights.") for name, value in scheduled.items() if name.startswith("weights.") and value != 0}
    return frozenset(on)


def optimizer_for(optimizer: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """torch's optimiser of that name; its numbers are set at the start of every epoch."""
    if isinstance(optimizer, Adam):
        return torch.optim.Adam(groups, lr=1.0, fused=True)
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(groups, lr=1.0, fused=True)
    return torch.optim.RMSprop(groups, lr=1.0, foreach=True)


def trained(name: str, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a network, or a tensor, by dotted name."""
    return {f"{name}.{k}": p for k, p in networks[name].named_parameters()} if name in networks else {name: tensors[name]}


class SoloStep:
    """One `Descend` of the running phase, with its optimiser."""

    def __init__(self, update: Descend, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self.update = update
        parts = {name: trained(name, networks, tensors) for name in update.rates()}
        self.params = {k: p for part in parts.values() for k, p in part.items()}
        self.leaves = list(self.params.values())
        groups = [{"params": list(parts[name].values()), "rate": rate} for name, rate in update.rates().items()]
        self.optimizer = optimizer_for(update.optimizer, groups)

    def set(self, settings: Settings) -> None:
        o = self.update.optimizer
        for group in self.optimizer.param_groups:
            group["lr"] = settings.number(group["rate"])
            if isinstance(o, Adam):
                group["betas"], group["eps"] = (settings.number(o.beta1), settings.number(o.beta2)), settings.number(o.eps)
            elif isinstance(o, RMSprop):
                group["alpha"], group["eps"] = settings.number(o.alpha), settings.number(o.eps)
            else:
                group["momentum"] = settings.number(o.momentum)
        self.clip = settings.number(self.update.clip) if self.update.clip else None

    def apply(self, grads: Sequence[Tensor]) -> None:
        for p, grad in zip(self.leaves, grads, strict=True):
            p.grad = grad
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.leaves, self.clip)
        self.optimizer.step()
        for p in self.leaves:
            p.grad = None

    def state(self) -> State:
        """Moments and step count, as `optimizer/<update>/<tensor>/<moment>`."""
        out: State = {}
        for name, p in self.params.items():
            kept = self.optimizer.state.get(p, {})
            at = f"optimizer/{self.update.name}/{name}"
            out |= {f"{at}/{m}": kept[m].clone() for m in MOMENTS[type(self.update.optimizer)] if kept.get(m) is not None}
            if "step" in kept:
                out[f"optimizer/{self.update.name}/step"] = kept["step"].detach().to("cpu", torch.float64)
        return out

    def load(self, state: State) -> None:
        at = f"optimizer/{self.update.name}"
        for name, p in self.params.items():
            kept = {m: state[f"{at}/{name}/{m}"].to(p) for m in MOMENTS[type(self.update.optimizer)] if f"{at}/{name}/{m}" in state}
            if kept and f"{at}/step" in state:
                kept["step"] = state[f"{at}/step"].to(p.device, torch.float32)
            if kept:
                self.optimizer.state[p] = kept


class Solo:
    """An engine with one slot. `owned`: the terms of each update, by the update's name."""

    slots = 1

    def __init__(self, model: Model, h: Hyper, data: DataSpec, like: Tensor, *, seed: int, owned: Mapping[str, tuple[str, ...]]) -> None:
        self.like, self.owned = like, owned
        self.networks, self.tensors = build(model, h, data, like, seed)
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
        self.losses: dict[str, list[Tensor]] = {}
        for step in self.updates:
            if isinstance(step, SoloStep):
                step.set(only)

    def step(self, x_LBD: Tensor, rows_LB: Tensor, noise: Mapping[str, Tensor]) -> None:
        """All updates on one batch. Every tensor has a leading axis of slots."""
        batch, draws, net = Batch(x_LBD[0], rows_LB[0]), Net({k: v[0] for k, v in noise.items()}), self.views["training"]
        weights = self.settings.weights
        for step in self.updates:
            if isinstance(step, Replace):
                with torch.no_grad():
                    self.put(0, step.values(net, batch, draws, self.values))
                continue
            if not self.settings.takes(self.owned[step.update.name]):
                continue
            self._record(step.leaves)
            total: Tensor | None = None
            for term, loss in step.update.losses(net, batch, draws, self.values).items():
                weight = weights[term]
                if weight != 0:  # 0 x inf is NaN
                    self.losses.setdefault(term, []).append(loss.detach())
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
        means = torch.stack([torch.stack(losses).mean() for losses in self.losses.values()]).tolist() if self.losses else []
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


def dry_noise(phase: Phase, h: Values, data: DataSpec, size: int) -> dict[str, Tensor]:
    """One step's worth of a phase's noise, for `size` samples on the CPU."""
    if phase.noise is None:
        return {}
    draws = Draws("dry run", like=torch.empty(()), lead=(1,))
    return {k: v[0] for k, v in phase.noise(draws, size, h, data).items()}

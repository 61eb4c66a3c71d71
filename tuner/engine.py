"""One trial: ordinary eager modules, data resident on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .draws import Draws
from .model import Batch, DataSpec, Descend, Hyper, Model, Net, Phase, Replace, Values
from .nn import Modes
from .optimizers import MOMENTS, move, rate_type

Owned = dict[str, tuple[str, ...]]
Views = dict[str, Net]
State = dict[str, Tensor]


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


def trained(name: str, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a network, or a tensor, by dotted name."""
    return {f"{name}.{k}": p for k, p in networks[name].named_parameters()} if name in networks else {name: tensors[name]}


PRECISIONS = ("fp32", "tf32")


def set_precision(precision: str, device: str) -> None:
    """What matrix products are computed in, by the whole process from now on; a CPU has no TF32."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" and device == "cuda" else "highest")


def dry_losses(
    model: Model, h: Hyper, data: DataSpec, parts: tuple[Mapping[str, nn.Module], Mapping[str, Tensor]], like: Tensor
) -> Iterator[tuple[Descend, dict[str, Tensor]]]:
    """Every `Descend` with all the terms that it can return, on a few zeros; `parts`, networks and tensors, stay as they are."""
    networks, tensors = parts
    modes = {name: Modes(network) for name, network in networks.items()}
    net = views(lambda name, mode: modes[name].wrap("eval", networks[name]), list(networks), tensors)["training"]
    settings = Settings(model, h, frozenset(model.terms), {})
    plain, values, size = settings.values(torch.empty(())), settings.values(like), 4
    rows_B = torch.zeros(size, dtype=torch.int64, device=like.device)
    labelled: tuple[Tensor, ...] = ()
    if model.labels == "partial":
        L = settings.static["labelled_batch"]  # what else a model draws for its labelled samples has that many
        labelled = (like.new_zeros(L, data.n_features), rows_B.new_zeros(L))
    batch = Batch(like.new_zeros(size, data.n_features), rows_B, labelled)
    for phase in model.phases(h):
        draws = Draws("dry run", like=torch.empty((), dtype=like.dtype), lead=(1,))
        noise = phase.noise(draws, size, plain, data) if phase.noise else {}
        for update in phase.updates:
            if isinstance(update, Descend):
                yield update, update.losses(net, batch, Net({k: v[0].to(like.device) for k, v in noise.items()}), values)


@torch.no_grad()
def owned_terms(model: Model, h: Hyper, data: DataSpec, parts: tuple[Mapping[str, nn.Module], Mapping[str, Tensor]], like: Tensor) -> Owned:
    """The terms of each `Descend`, by the update's name."""
    return {update.name: tuple(losses) for update, losses in dry_losses(model, h, data, parts, like)}


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


class Solo:
    """An engine with one slot."""

    slots = 1

    def __init__(self, model: Model, h: Hyper, data: DataSpec, like: Tensor, *, seed: int) -> None:
        self.like = like
        self.networks, self.tensors = build(model, h, data, like, seed)
        self.owned = owned_terms(model, h, data, (self.networks, self.tensors), like)
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

    def step(self, batch: Batch, noise: Mapping[str, Tensor]) -> None:
        """All updates on one batch. Every tensor has a leading axis of slots."""
        batch = Batch(batch.x_BD[0], batch.rows_B[0], tuple(t[0] for t in batch.labelled))
        draws, net = Net({k: v[0] for k, v in noise.items()}), self.views["training"]
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

"""One trial: ordinary eager modules, data resident on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tuner.draws import Draws
from tuner.errors import UserError
from tuner.hyper import weighed_term
from tuner.model import Batch, DataSpec, Descend, Hyper, Model, Net, Phase, Values
from tuner.nn import Modes


class Engine(Protocol):
    """What the loop asks of whoever trains: `Solo` or `Pack`."""

    slots: int

    def open(self, phase: Phase, slot: int = 0) -> None: ...
    def begin(self, settings: Sequence[Settings | None]) -> None: ...
    def step(self, batch: Batch, noise: Mapping[str, Tensor]) -> None: ...
    def measured(self, slot: int = 0) -> dict[str, float]: ...
    def view(self, slot: int = 0) -> AbstractContextManager[Net]: ...
    def put(self, slot: int, values: Mapping[str, Any]) -> None: ...
    def state(self, slot: int = 0) -> State: ...
    def moments(self, slot: int = 0) -> State: ...
    def load(self, slot: int, state: State) -> None: ...


Owned = dict[str, tuple[str, ...]]
Views = dict[str, Net]
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What a trial's state is in: a model's networks and tensors, by name."""

    networks: Mapping[str, nn.Module]
    tensors: Mapping[str, Tensor]


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


def tensors_of(values: Mapping[str, Any]) -> set[str]:
    """The names, as `state_of` has them, of what a hook returns: tensors, and networks as state dicts."""
    return {
        full for name, value in values.items() for full in ([name] if isinstance(value, Tensor) else [f"{name}.{key}" for key in value])
    }


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
            term = weighed_term(name)
            assert name in self.numbers or term in self.weights, f"schedule sets '{name}', which {model.name} does not have"
            if name in self.numbers:
                self.numbers[name] = value
            elif term is not None:
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
        """A rate, a momentum, a norm, a switch: given as it is, or as the name of a hyper-parameter."""
        if not isinstance(name_or_value, str):
            return name_or_value
        return float(self.numbers[name_or_value] if name_or_value in self.numbers else self.static[name_or_value])


def terms_on(model: Model, h: Hyper) -> frozenset[str]:
    """The terms whose weight is not 0 in some epoch. The others are not computed."""
    on = {term for term in model.terms if h.weights.get(term, 1.0) != 0}
    for phase in model.phases(h):
        if phase.schedule:
            for epoch in range(1, getattr(h, phase.epochs) + 1):
                scheduled = phase.schedule(h, epoch)
                on |= {term for name, value in scheduled.items() if (term := weighed_term(name)) is not None and value != 0}
    return frozenset(on)


def trained(name: str, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a network, or a tensor, by dotted name."""
    return {f"{name}.{k}": p for k, p in networks[name].named_parameters()} if name in networks else {name: tensors[name]}


PRECISIONS = ("fp32", "tf32")


def best_device() -> str:
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def set_precision(precision: str, device: str) -> None:
    """What matrix products are computed in, by the whole process from now on; a CPU has no TF32."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" and device == "cuda" else "highest")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dry:
    """A step's terms in a dry run, and the hyper-parameters that they were computed with, as 0-d tensors."""

    update: Descend
    losses: dict[str, Tensor]
    numbers: dict[str, Tensor]


def dry_losses(model: Model, h: Hyper, data: DataSpec, parts: Parts, like: Tensor) -> Iterator[Dry]:
    """Every `Descend` with all the terms that it can return, on a few zeros; `parts` stay as they are. Gradients reach the numbers among
    the hyper-parameters, too."""
    networks, tensors = parts.networks, parts.tensors
    modes = {name: Modes(network) for name, network in networks.items()}
    net = views(lambda name, mode: modes[name].wrap("eval", networks[name]), list(networks), tensors)["training"]
    settings = Settings(model, h, frozenset(model.terms), {})
    plain, size = settings.values(torch.empty(())), 4
    numbers = {name: t.requires_grad_(t.is_floating_point() and torch.is_grad_enabled()) for name, t in settings.tensors(like).items()}
    values = Values(settings.static, numbers, settings.on)
    rows_B = torch.zeros(size, dtype=torch.int64, device=like.device)
    labelled: tuple[Tensor, ...] = ()
    if model.labels == "partial":
        L = settings.static["labelled_batch"]  # what else a model draws for its labelled samples has that many
        labelled = (like.new_zeros(L, data.n_features), rows_B.new_zeros(L))
    batch = Batch(like.new_zeros(size, data.n_features), rows_B, labelled)
    for phase in model.phases(h):
        draws = Draws("dry run", like=torch.empty((), dtype=like.dtype), lead=(1,))
        noise = phase.noise(plain, data, size, draws) if phase.noise else {}
        for update in phase.updates:
            if isinstance(update, Descend):
                losses = update.losses(net, batch, values, Net({k: v[0].to(like.device) for k, v in noise.items()}))
                yield Dry(update=update, losses=losses, numbers=numbers)


@torch.no_grad()
def owned_terms(model: Model, h: Hyper, data: DataSpec, parts: Parts, like: Tensor) -> Owned:
    """The terms of each `Descend`, by the update's name."""
    return by_name(model, h, ((dry.update, dry.losses) for dry in dry_losses(model, h, data, parts, like)))


def by_name(model: Model, h: Hyper, losses: Iterable[tuple[Descend, Mapping[str, Tensor]]]) -> Owned:
    """The terms of each `Descend` by its name, which its optimiser's memory has in snapshots, too.

    Raises:
        UserError: two updates have one name.
    """
    advice = "Two updates that one function serves need a name each: Descend(..., name=...)."
    for phase in model.phases(h):
        names = [update.name for update in phase.updates]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"{model.name} has more than one update '{min(twice)}' in its phase '{phase.name}'. {advice}")
    owned: Owned = {}
    for update, terms in losses:
        if owned.setdefault(update.name, tuple(terms)) != tuple(terms):
            raise UserError(
                f"{model.name} has two updates '{update.name}', one with the terms {owned[update.name]}, one with {tuple(terms)}. {advice}"
            )
    return owned

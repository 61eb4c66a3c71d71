"""Many trials in one step: vmap the loss over stacked parameters and buffers, one gradient of the sum, optimisers with a lane axis.

Shapes: a leading L is the axis of lanes, one trial each. Lanes do not interact, so the gradient of the sum of their losses is each
lane's own. A lane is the solo run, whoever its neighbours are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from .engine import MOMENTS, Settings, State, build, views
from .model import Adam, Batch, DataSpec, Descend, Hyper, Model, Net, Phase, Replace, RMSprop, Values
from .nn import Modes

Tree = dict[str, dict[str, Tensor]]  # network -> parameter or buffer -> tensor with a leading axis of lanes


def _wide(a_L: Tensor, like: Tensor) -> Tensor:
    """A number per lane, shaped to multiply a stacked tensor and in its precision."""
    return a_L.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


class PackStep:
    """One `Descend` of the pack's phase: torch's Adam, SGD or RMSprop with a rate and a step count for each lane.

    Rates and bias corrections are kept in float64: float32's 1 - 0.999 is off by 1.3e-5.
    """

    def __init__(self, update: Descend, pack: Pack) -> None:
        self.update = update
        self.keys = [(name, k) for name in update.rates() for k in pack.params.get(name, {"": None})]
        self.leaves = [pack.leaf(*key) for key in self.keys]
        self.moments = {m: [torch.zeros_like(p) for p in self.leaves] for m in MOMENTS[type(update.optimizer)]}
        self.count_L = torch.zeros(pack.slots, dtype=torch.float64, device=pack.like.device)

    def remembered(self) -> list[Tensor]:
        return [self.count_L, *(b for buffers in self.moments.values() for b in buffers)]

    def open(self, slot: int) -> None:
        for b in self.remembered():
            b[slot].zero_()

    def set(self, settings: Sequence[Settings]) -> None:
        def lanes(name_or_value: float | str) -> Tensor:
            return torch.tensor([s.number(name_or_value) for s in settings], dtype=torch.float64, device=self.count_L.device)

        rates = self.update.rates()
        by_rate = {rate: lanes(rate) for rate in rates.values()}
        self.lr = [by_rate[rates[name]] for name, _ in self.keys]
        o = self.update.optimizer
        self.numbers = {field: lanes(getattr(o, field)) for field in o.__dataclass_fields__}
        self.clip_L = lanes(self.update.clip) if self.update.clip else None

    def apply(self, grads: list[Tensor], resting: list[int]) -> None:
        """Moves every lane but the `resting` ones, of which nothing moves."""
        kept = [(b, b[resting]) for b in (*self.leaves, *self.remembered())] if resting else []
        if self.clip_L is not None:
            norm_L = torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
            scale_L = (self.clip_L / (norm_L + 1e-6)).clamp(max=1.0)
            grads = [g * _wide(scale_L, g) for g in grads]
        self.count_L += 1
        for i, (leaf, grad) in enumerate(zip(self.leaves, grads, strict=True)):
            leaf -= self._move(i, grad)
        for b, old in kept:
            b[resting] = old

    def _move(self, i: int, grad: Tensor) -> Tensor:
        """What is subtracted from leaf `i`; moves its moments."""
        o = self.update.optimizer
        n = {field: _wide(a_L, grad) for field, a_L in self.numbers.items()}
        if isinstance(o, Adam):
            m, v = self.moments["exp_avg"][i], self.moments["exp_avg_sq"][i]
            m.mul_(n["beta1"]).addcmul_(grad, _wide(1 - self.numbers["beta1"], grad))
            v.mul_(n["beta2"]).addcmul_(grad * grad, _wide(1 - self.numbers["beta2"], grad))
            rate_L = self.lr[i] / (1 - self.numbers["beta1"] ** self.count_L)
            correction_L = (1 - self.numbers["beta2"] ** self.count_L).sqrt()
            return m * _wide(rate_L, grad) / (v.sqrt() / _wide(correction_L, grad) + n["eps"])
        if isinstance(o, RMSprop):
            v = self.moments["square_avg"][i]
            v.mul_(n["alpha"]).addcmul_(grad * grad, _wide(1 - self.numbers["alpha"], grad))
            return grad * _wide(self.lr[i], grad) / (v.sqrt() + n["eps"])
        m = self.moments["momentum_buffer"][i]
        m.mul_(n["momentum"]).add_(grad)
        return m * _wide(self.lr[i], grad)

    def state(self, slot: int) -> State:
        at = f"optimizer/{self.update.name}"
        names = [".".join(filter(None, key)) for key in self.keys]
        out = {f"{at}/{name}/{m}": b[slot].clone() for m, buffers in self.moments.items() for name, b in zip(names, buffers, strict=True)}
        return out | {f"{at}/step": self.count_L[slot].clone().cpu()} if self.count_L[slot] > 0 else {}

    def load(self, slot: int, state: State) -> None:
        at = f"optimizer/{self.update.name}"
        self.open(slot)
        if f"{at}/step" in state:
            self.count_L[slot] = state[f"{at}/step"]
        for m, buffers in self.moments.items():
            for key, b in zip(self.keys, buffers, strict=True):
                saved = state.get(f"{at}/{'.'.join(filter(None, key))}/{m}")
                if saved is not None:
                    b[slot] = saved.to(b)


class Pack:
    """An engine whose slots hold trials that share the model, the phase, all static values and which terms are on."""

    def __init__(self, model: Model, h: Hyper, data: DataSpec, like: Tensor, *, slots: int, owned: Mapping[str, tuple[str, ...]]) -> None:
        self.slots, self.like, self.owned = slots, like, owned
        self.networks, tensors = build(model, h, data, like, seed=0)
        self.modes = {name: Modes(network) for name, network in self.networks.items()}

        def many(t: Tensor) -> Tensor:
            return t.detach().expand(slots, *t.shape).clone()

        self.params: Tree = {name: {k: many(p) for k, p in network.named_parameters()} for name, network in self.networks.items()}
        self.buffers: Tree = {name: {k: many(b) for k, b in network.named_buffers()} for name, network in self.networks.items()}
        self.tensors = {name: many(t) for name, t in tensors.items()}
        self.updates: list[PackStep | Replace] = []

    def leaf(self, name: str, key: str = "") -> Tensor:
        return self.params[name][key] if key else self.tensors[name]

    def open(self, phase: Phase, slot: int = 0) -> None:
        """A lane enters the pack's phase: fresh moments in its slot."""
        if not self.updates:
            self.updates = [PackStep(u, self) if isinstance(u, Descend) else u for u in phase.updates]
        for step in self.updates:
            if isinstance(step, PackStep):
                step.open(slot)

    def begin(self, settings: Sequence[Settings | None]) -> None:
        """`settings[slot]` is in force until the next call; None for an idle slot, which computes garbage and keeps nothing."""
        some = next(s for s in settings if s)
        filled = [s or some for s in settings]
        self.settings, self.static, self.on = settings, some.static, some.on
        numbers = [s.tensors(self.like) for s in filled]
        self.numbers = {k: torch.stack([n[k] for n in numbers]) for k in numbers[0]}
        weights = {term: [s.weights[term] if s else 0.0 for s in settings] for term in some.weights}
        self.weights = {term: self.like.new_tensor(w) for term, w in weights.items()}
        # A term that weighs 0 in some busy lane only: its gradient is masked apart there, because 0 x inf is NaN.
        self.mixed = {t for t in self.on if len({s.weights[t] != 0 for s in settings if s}) == 2}
        self.losses: dict[str, list[Tensor]] = {}
        for step in self.updates:
            if isinstance(step, PackStep):
                step.set(filled)

    def step(self, x_LBD: Tensor, rows_LB: Tensor, noise: Mapping[str, Tensor]) -> None:
        """All updates on one batch of each lane."""
        for step in self.updates:
            if isinstance(step, Replace):
                with torch.no_grad():
                    self._replace(self._vmap(step.values, self.params, self.tensors, (x_LBD, rows_LB, dict(noise))))
                continue
            resting = [i for i, s in enumerate(self.settings) if s is None or not s.takes(self.owned[step.update.name])]
            if len(resting) < self.slots:
                self._descend(step, (x_LBD, rows_LB, dict(noise)), resting)

    def _descend(self, step: PackStep, batch: tuple[Tensor, Tensor, dict[str, Tensor]], resting: list[int]) -> None:
        buffers = [(b, b[resting]) for bs in self.buffers.values() for b in bs.values()] if resting else []
        leaves = [leaf.detach().requires_grad_() for leaf in step.leaves]
        params, tensors = {name: dict(p) for name, p in self.params.items()}, dict(self.tensors)
        for (name, key), leaf in zip(step.keys, leaves, strict=True):
            if key:
                params[name][key] = leaf
            else:
                tensors[name] = leaf
        losses = self._vmap(lambda *a: {t: loss for t, loss in step.update.losses(*a).items() if t in self.on}, params, tensors, batch)
        grads = self._gradient(losses, leaves)
        with torch.no_grad():
            step.apply(grads, resting)
            for b, old in buffers:
                b[resting] = old
        for term, loss_L in losses.items():
            self.losses.setdefault(term, []).append(loss_L.detach())

    def _gradient(self, losses: Mapping[str, Tensor], leaves: list[Tensor]) -> list[Tensor]:
        mixed = [term for term in losses if term in self.mixed]
        plain = [(self.weights[term] * loss_L).sum() for term, loss_L in losses.items() if term not in self.mixed]
        grads = [torch.zeros_like(leaf) for leaf in leaves]
        if plain:
            total = torch.stack(plain).sum()
            grads = list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True, retain_graph=bool(mixed)))
        for i, term in enumerate(mixed):
            more = torch.autograd.grad(losses[term].sum(), leaves, allow_unused=True, retain_graph=i + 1 < len(mixed))
            for j, g in enumerate(more):
                if g is not None:
                    weight = _wide(self.weights[term], g)
                    grads[j] = grads[j] + torch.where(weight == 0, 0.0, weight * g)
        return grads

    def _vmap(self, f: Callable[..., Any], params: Tree, tensors: Mapping[str, Tensor], batch: tuple[Any, ...]) -> dict[str, Any]:
        def one(params: Tree, buffers: Tree, tensors: dict[str, Tensor], batch: tuple[Any, ...], numbers: dict[str, Tensor]) -> Any:
            x_BD, rows_B, noise = batch
            net = self._bind(params, buffers, tensors)["training"]
            return f(net, Batch(x_BD, rows_B), Net(noise), Values(self.static, numbers, self.on))

        out: dict[str, Any] = vmap(one)(params, self.buffers, dict(tensors), batch, self.numbers)
        return out

    def _bind(self, params: Tree, buffers: Tree, tensors: Mapping[str, Tensor]) -> dict[str, Net]:
        def call(name: str, mode: str) -> Callable[..., Any]:
            return self.modes[name].wrap(mode, lambda *args: functional_call(self.networks[name], (params[name], buffers[name]), args))

        return views(call, list(self.networks), tensors)

    @torch.no_grad()
    def _replace(self, values: Mapping[str, Any]) -> None:
        busy = [i for i, s in enumerate(self.settings) if s]
        for name, value in values.items():
            parts = {name: value} if name in self.tensors else {f"{name}.{k}": t for k, t in value.items()}
            for part, t in parts.items():
                self._named()[part][busy] = t[busy]

    def _named(self) -> dict[str, Tensor]:
        parts = {f"{name}.{k}": t for tree in (self.params, self.buffers) for name, part in tree.items() for k, t in part.items()}
        return self.tensors | parts

    def measured(self, slot: int = 0) -> dict[str, float]:
        """A lane's epoch mean of each term that weighs anything there, unweighted."""
        settings = self.settings[slot]
        assert settings is not None
        means = {
            t: torch.stack([loss_L[slot] for loss_L in losses]).mean() for t, losses in self.losses.items() if settings.weights[t] != 0
        }
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True)) if means else {}

    @contextmanager
    def view(self, slot: int = 0) -> Iterator[Net]:
        """One lane's evaluating view, without gradients, as the solo run sees it."""

        def lane(tree: Tree) -> Tree:
            return {name: {k: t[slot] for k, t in part.items()} for name, part in tree.items()}

        with torch.no_grad():
            yield self._bind(lane(self.params), lane(self.buffers), {name: t[slot] for name, t in self.tensors.items()})["eval"]

    @torch.no_grad()
    def put(self, slot: int, values: Mapping[str, Any]) -> None:
        """Overwrites a lane's tensors, and networks by state dicts."""
        named = self._named()
        for name, value in values.items():
            for part, t in ({name: value} if name in self.tensors else {f"{name}.{k}": v for k, v in value.items()}).items():
                named[part][slot].copy_(t)

    def state(self, slot: int = 0) -> State:
        """A lane's parameters, buffers and tensors, by dotted name; not a copy."""
        return {name: t[slot] for name, t in self._named().items()}

    def moments(self, slot: int = 0) -> State:
        return {k: v for step in self.updates if isinstance(step, PackStep) for k, v in step.state(slot).items()}

    @torch.no_grad()
    def load(self, slot: int, state: State) -> None:
        """Takes over what `state` and `moments` of any engine gave."""
        for name, t in self.state(slot).items():
            t.copy_(state[name])
        for step in self.updates:
            if isinstance(step, PackStep):
                step.load(slot, state)

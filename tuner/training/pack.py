"""Many trials in one step: vmap the loss over stacked parameters and buffers, one gradient of the sum, optimisers with a lane axis.

Shapes: a leading L is the axis of lanes, one trial each. Lanes do not interact, so the gradient of the sum of their losses is each
lane's own. A lane is the solo run, whoever its neighbours are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from tuner.capture import captured_for_slot
from tuner.model import Batch, DataSpec, Descend, Hyper, Model, Net, Phase, Replace, Values
from tuner.nn import Modes

from .engine import Parts, Settings, State, build, owned_terms, views
from .lanes import Layout, PackStep, wide
from .recorded import Recorded

Tree = dict[str, dict[str, Tensor]]  # network -> parameter or buffer -> tensor with a leading axis of lanes


def _copy(old: dict[str, Tensor], new: Mapping[str, Tensor]) -> None:
    """Overwrites the tensors in place, so that a recorded step reads the new values."""
    for name, t in new.items():
        if name in old:
            old[name].copy_(t)
        else:
            old[name] = t


class Pack:
    """An engine whose slots hold trials that share the model, the phase, all static values and which terms are on."""

    def __init__(self, model: Model, h: Hyper, data: DataSpec, like: Tensor, *, slots: int) -> None:
        self.slots, self.like = slots, like
        self.networks, tensors = build(model, h, data, like, seed=0)
        self.owned = owned_terms(model, h, data, Parts(networks=self.networks, tensors=tensors), like)
        self.modes = {name: Modes(network) for name, network in self.networks.items()}
        self.layout = {
            name: Layout({f"{name}.{k}": p.shape for k, p in network.named_parameters()}) for name, network in self.networks.items()
        }
        self.layout |= {name: Layout({name: t.shape}) for name, t in tensors.items()}
        # All parameters of a network in one row for each lane; what the model sees are views of it.
        self.rows_LP = {name: like.new_zeros(slots, sum(self.layout[name].sizes)) for name in self.networks}
        self.rows_LP |= {name: t.flatten().repeat(slots, 1) for name, t in tensors.items()}
        self.buffers: Tree = {
            name: {k: b.expand(slots, *b.shape).clone() for k, b in network.named_buffers()} for name, network in self.networks.items()
        }
        self.updates: list[PackStep | Replace] = []
        # What an epoch reads and sums up; the tensors stay where they are.
        self.numbers: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.busy_L = torch.ones(slots, dtype=torch.bool, device=like.device)
        self.graphs = like.is_cuda
        self.recorded: dict[Hashable, Recorded] = {}

    def open(self, phase: Phase, slot: int = 0) -> None:
        """A lane enters the pack's phase: fresh moments in its slot."""
        if not self.updates:
            self.updates = [PackStep(u, self.rows_LP, self.like) if isinstance(u, Descend) else u for u in phase.updates]
        for step in self.updates:
            if isinstance(step, PackStep):
                step.open(slot)

    def begin(self, settings: Sequence[Settings | None]) -> None:
        """`settings[slot]` is in force until the next call; None for an idle slot, which computes garbage and keeps nothing."""
        some = next(s for s in settings if s)
        filled = [s or some for s in settings]
        self.settings, self.static, self.on = settings, some.static, some.on
        numbers = [s.tensors(self.like) for s in filled]
        _copy(self.numbers, {k: torch.stack([n[k] for n in numbers]) for k in numbers[0]})
        weights = {term: [s.weights[term] if s else 0.0 for s in settings] for term in some.weights}
        _copy(self.weights, {term: self.like.new_tensor(w) for term, w in weights.items()})
        # A term that weighs 0 in some busy lane only: its gradient is masked apart there, because 0 x inf is NaN.
        self.mixed = frozenset(t for t in self.on if len({s.weights[t] != 0 for s in settings if s}) == 2)
        self.busy_L.copy_(torch.tensor([s is not None for s in settings]))
        self.taken: list[bool] = []
        for step in self.updates:
            if isinstance(step, PackStep):
                rests = [s is None or not s.takes(self.owned[step.update.name]) for s in settings]
                step.set(filled, rests)
                self.taken.append(not all(rests))
        self.steps = 0
        for sum_L in self.sums.values():
            sum_L.zero_()

    def step(self, batch: Batch, noise: Mapping[str, Tensor]) -> None:
        """All updates on one batch of each lane. On a GPU they are recorded once for each kind of epoch, and then replayed."""
        self.steps += 1
        inputs = {"x": batch.x_BD, "rows": batch.rows_B} | {f"noise.{name}": t for name, t in noise.items()}
        inputs |= dict(zip(("labelled.x", "labelled.y"), batch.labelled, strict=False))  # empty for a model that sees no label
        if not self.graphs:
            return self._step(inputs)
        resting = [step.resting for step in self.updates if isinstance(step, PackStep)]
        optimizers = [str(step.numbers) for step in self.updates if isinstance(step, PackStep)]  # baked into the kernels' arguments
        key = (tuple(self.taken), tuple(resting), self.mixed, self.on, tuple(optimizers))
        if key not in self.recorded:
            self.recorded[key] = Recorded(self._step, inputs, self._state)
        self.recorded[key].replay(inputs)

    def _state(self) -> list[Tensor]:
        """Everything that a step changes."""
        steps = [step for step in self.updates if isinstance(step, PackStep)]
        return [
            *self.rows_LP.values(),
            *(b for bs in self.buffers.values() for b in bs.values()),
            *(t for step in steps for t in step.remembered()),
            *self.sums.values(),
        ]

    def _step(self, inputs: Mapping[str, Tensor]) -> None:
        noise = {name.removeprefix("noise."): t for name, t in inputs.items() if name.startswith("noise.")}
        labelled = tuple(inputs[name] for name in ("labelled.x", "labelled.y") if name in inputs)
        batch, taken = (inputs["x"], inputs["rows"], labelled, noise), iter(self.taken)
        for step in self.updates:
            if isinstance(step, Replace):
                with torch.no_grad():
                    self._replace(self._vmap(step.values, self.rows_LP, batch))
            elif next(taken):
                self._descend(step, batch)

    def _descend(self, step: PackStep, batch: tuple[Any, ...]) -> None:
        buffers = [(b, b.clone()) for bs in self.buffers.values() for b in bs.values()] if step.resting else []
        leaves = {name: row_LP.detach().requires_grad_() for name, row_LP in step.rows_LP.items()}

        def on(*args: Any) -> dict[str, Tensor]:
            return {term: loss for term, loss in step.update.losses(*args).items() if term in self.on}

        losses = self._vmap(on, self.rows_LP | leaves, batch)
        grads = self._gradient(losses, list(leaves.values()))
        with torch.no_grad():
            step.apply(dict(zip(leaves, grads, strict=True)))
            for b, old in buffers:
                rests = step.rests_L.view(-1, *[1] * (b.dim() - 1)) != 0
                b.copy_(torch.where(rests, old, b))
            for term, loss_L in losses.items():
                if term in self.sums:
                    self.sums[term] += loss_L.detach()
                else:
                    self.sums[term] = loss_L.detach().clone()

    def _gradient(self, losses: Mapping[str, Tensor], leaves: list[Tensor]) -> list[Tensor]:
        """Each lane's gradient of its weighted sum of terms."""
        mixed = [term for term in losses if term in self.mixed]
        plain = [(self.weights[term] * loss_L).sum() for term, loss_L in losses.items() if term not in self.mixed]
        grads = [torch.zeros_like(leaf) for leaf in leaves]
        if plain:
            total = torch.stack(plain).sum()
            grads = list(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True, retain_graph=bool(mixed)))
        for i, term in enumerate(mixed):
            more: tuple[Tensor | None, ...] = torch.autograd.grad(
                losses[term].sum(), leaves, allow_unused=True, retain_graph=i + 1 < len(mixed)
            )
            for j, g in enumerate(more):
                if g is not None:
                    weight = wide(self.weights[term], g)
                    grads[j] = grads[j] + torch.where(weight == 0, 0.0, weight * g)
        return grads

    def _vmap(self, f: Callable[..., Any], rows_LP: Mapping[str, Tensor], batch: tuple[Any, ...]) -> dict[str, Any]:
        def one(parts: dict[str, Tensor], buffers: Tree, batch: tuple[Any, ...], numbers: dict[str, Tensor]) -> Any:
            *seen, noise = batch
            return f(self._bind(parts, buffers)["training"], Batch(*seen), Values(self.static, numbers, self.on), Net(noise))

        # Split outside vmap: the gradient of the pieces is then put together by one concatenation.
        parts = {key: t for name, row_LP in rows_LP.items() for key, t in self.layout[name].parts(row_LP).items()}
        out: dict[str, Any] = vmap(one)(parts, self.buffers, batch, self.numbers)
        return out

    def _bind(self, parts: Mapping[str, Tensor], buffers: Tree) -> dict[str, Net]:
        """One lane's views. `parts`: its parameters and tensors, by dotted name."""
        params = {
            name: {key.removeprefix(f"{name}."): parts[key] for key in self.layout[name].shapes} | buffers[name] for name in self.networks
        }

        def call(name: str, mode: str) -> Callable[..., Any]:
            return self.modes[name].wrap(mode, lambda *args: functional_call(self.networks[name], params[name], args))

        return views(call, list(self.networks), {name: parts[name] for name in self.layout if name not in self.networks})

    @torch.no_grad()
    def _replace(self, values: Mapping[str, Any]) -> None:
        named = self._named()
        for key, t in self._flat(values).items():
            busy = self.busy_L.view(-1, *[1] * (t.dim() - 1))
            named[key].copy_(torch.where(busy, t.to(named[key].dtype), named[key]))

    def _flat(self, values: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tensors by dotted name, from tensors and state dicts by name."""
        return {
            key: t
            for name, value in values.items()
            for key, t in ({f"{name}.{k}": v for k, v in value.items()} if name in self.networks else {name: value}).items()
        }

    def _named(self) -> dict[str, Tensor]:
        """Every parameter, buffer and tensor with its axis of lanes, by dotted name."""
        parts = {key: t for name, row_LP in self.rows_LP.items() for key, t in self.layout[name].parts(row_LP).items()}
        return parts | {f"{name}.{k}": b for name, bs in self.buffers.items() for k, b in bs.items()}

    def measured(self, slot: int = 0) -> dict[str, float]:
        """A lane's epoch mean of each term that weighs anything there, unweighted."""
        settings = self.settings[slot]
        assert settings is not None
        sums = {term: sum_L[slot] for term, sum_L in self.sums.items() if term in self.on and settings.weights[term] != 0}
        return dict(zip(sums, (torch.stack(list(sums.values())) / self.steps).tolist(), strict=True)) if sums and self.steps else {}

    @contextmanager
    def view(self, slot: int = 0) -> Iterator[Net]:
        """One lane's evaluating view, without gradients, as the solo run sees it."""
        with torch.no_grad(), captured_for_slot(slot):
            named = self.state(slot)
            yield self._bind(named, {name: {k: b[slot] for k, b in bs.items()} for name, bs in self.buffers.items()})["eval"]

    @torch.no_grad()
    def put(self, slot: int, values: Mapping[str, Any]) -> None:
        """Overwrites a lane's tensors, and networks by state dicts."""
        named = self.state(slot)
        for key, t in self._flat(values).items():
            named[key].copy_(t)

    def state(self, slot: int = 0) -> State:
        """A lane's parameters, buffers and tensors, by dotted name; not a copy."""
        return {name: t[slot] for name, t in self._named().items()}

    def moments(self, slot: int = 0) -> State:
        return {k: v for step in self.updates if isinstance(step, PackStep) for k, v in step.state(slot, self.layout).items()}

    @torch.no_grad()
    def load(self, slot: int, state: State) -> None:
        """Takes over what `state` and `moments` of any engine gave."""
        for name, t in self.state(slot).items():
            t.copy_(state[name])
        for step in self.updates:
            if isinstance(step, PackStep):
                step.load(slot, state, self.layout)

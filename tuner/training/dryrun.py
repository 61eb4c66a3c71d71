"""What can be learnt of a model without training it: which loss reaches what, on networks that have shapes and graphs but no numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tuner.hyper import weight_name
from tuner.model import DataSpec, Descend, Hyper, Model

from .engine import Parts, by_name, dry_losses, trained

_DATA = DataSpec(n_samples=64, shape=(8, 8), n_classes=4)


@dataclass(frozen=True)
class Reach:
    """Which trained tensors get a gradient from each term of an update."""

    update: Descend
    terms: Mapping[str, frozenset[str]]


def owned_terms(model: Model, h: Hyper, data: DataSpec, device: str = "cpu") -> dict[str, tuple[str, ...]]:
    """The terms of each `Descend`, by the update's name. `device`: here and below, on `meta` what asks a tensor for its value raises."""
    return by_name(model, h, ((update, losses) for update, _, losses in _losses(model, h, data, device)))


def dead_weights(model: Model, h: Hyper, on: frozenset[str], device: str = "cpu") -> dict[str, str]:
    """The weights that change nothing while at most the terms `on` differ from 0, each with the reason and what to search instead.

    A weight is alive where some trained parameter gets gradient from two terms of one step, or where the optimiser heeds the scale
    of the loss: Adam and RMSprop do not.
    """
    dead: dict[str, str] = {}
    reaches = _reaches(model, tuple(h.static().items()), device)
    for reach in reaches:
        if not reach.update.optimizer.scale_invariant:
            continue
        rates = " or ".join(f"'{rate}'" for rate in dict.fromkeys(reach.update.rates().values()))
        optimizer = type(reach.update.optimizer).__name__
        reason = f"it stands alone in the step '{reach.update.name}', and {optimizer} ignores the scale of a loss. Search {rates} instead."
        for term in on & reach.terms.keys():
            others = [own for name, own in reach.terms.items() if name != term and name in on]
            if model.terms[term].weight is not None and not any(reach.terms[term] & other for other in others):
                dead[weight_name(term)] = reason
    for term in on - {term for reach in reaches for term in reach.terms}:
        if model.terms[term].weight is not None:
            dead[weight_name(term)] = "no step of this configuration computes it."
    return dead


def redundant_weights(model: Model, h: Hyper, on: frozenset[str], searched: frozenset[str]) -> list[str]:
    """Notes on steps in which every weight is searched: with a scale-invariant optimiser only their ratios count."""
    notes = []
    for reach in _reaches(model, tuple(h.static().items()), "cpu"):
        names = [weight_name(term) for term in reach.terms if term in on]
        if reach.update.optimizer.scale_invariant and len(names) > 1 and set(names) <= searched:
            notes.append(f"In the step '{reach.update.name}' only the ratio of {' and '.join(names)} counts: one of them could be fixed.")
    return notes


def unreached(model: Model, h: Hyper, device: str = "cpu") -> dict[str, str]:
    """The networks and tensors that an update is to train, by name, where none of its terms has a gradient for them; and the update."""
    found: dict[str, str] = {}
    for reach in _reaches(model, tuple(h.static().items()), device):
        moved: frozenset[str] = frozenset().union(*reach.terms.values())
        found |= {name: reach.update.name for name in reach.update.rates() if not any(k.split(".")[0] == name for k in moved)}
    return found


@lru_cache(maxsize=256)
def _reaches(model: Model, static: tuple[tuple[str, Any], ...], device: str) -> tuple[Reach, ...]:
    h = model.hyper(dict(static))
    return tuple(
        Reach(update, {term: _reached(loss, leaves) for term, loss in losses.items()})
        for update, leaves, losses in _losses(model, h, _DATA, device)
    )


def _reached(loss: Tensor, leaves: dict[str, Tensor]) -> frozenset[str]:
    """The trained tensors in the graph of this loss. No gradient is computed: it would be as large as the networks."""
    names = {id(t): name for name, t in leaves.items()}
    found, seen, ahead = set(), set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(names.get(id(getattr(node, "variable", None))))
        ahead += [before for before, _ in node.next_functions]
    return frozenset(name for name in found if name is not None)


def _losses(model: Model, h: Hyper, data: DataSpec, device: str) -> Iterator[tuple[Descend, dict[str, Tensor], dict[str, Tensor]]]:
    """Every `Descend`, what it trains, and all the terms that it can return."""
    parts = _parts(model, h, data, device)
    for t in parts.tensors.values():
        t.requires_grad_(t.is_floating_point())
    with nullcontext() if device == "meta" else _NoValues():
        dries = list(dry_losses(model, h, data, parts, torch.empty((), device=device)))
    for dry in dries:
        yield dry.update, {k: p for name in dry.update.rates() for k, p in trained(name, parts.networks, parts.tensors).items()}, dry.losses


_VALUES = {getattr(Tensor, name) for name in ("__bool__", "__float__", "__index__", "__int__", "item", "numpy", "tolist")}


class _NoValues(TorchFunctionMode):
    """Within it nobody asks a tensor for its value: on a GPU, too, a step may not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _VALUES:
            raise RuntimeError("here a tensor is asked for its value, by .item(), float() or `if`. `tuner verify FILE` says what to do.")
        return func(*args, **kwargs or {})


def _parts(model: Model, h: Hyper, data: DataSpec, device: str) -> Parts:
    """Networks that take no memory, and tensors as they begin.

    On a CPU each parameter is one number, expanded to its shape. Tensors on `meta` take no memory either, but the first sum of two of them
    imports torch's compiler, which takes two seconds.
    """
    with torch.device("meta"):
        networks = model.networks(h, data)
        if device == "meta":
            return Parts(networks=networks, tensors=dict(model.tensors(h, data)))
    known: dict[Tensor, Tensor] = {}  # what several modules share stays shared
    for module in (module for network in networks.values() for module in network.modules()):
        for name, p in list(module.named_parameters(recurse=False)):
            known.setdefault(p, nn.Parameter(torch.full((), 0.01, dtype=p.dtype).expand(p.shape), requires_grad=p.requires_grad))
            setattr(module, name, known[p])
        for name, t in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.ones((), dtype=t.dtype).expand(t.shape))
    with torch.random.fork_rng(devices=[]):
        return Parts(networks=networks, tensors=dict(model.tensors(h, data)))


def scaled_by(model: Model, h: Hyper, term: str) -> frozenset[str]:
    """The hyper-parameters, numbers alone, that a term's formula holds: they move its value where nothing is learnt."""
    found: set[str] = set()
    for dry in dry_losses(model, h, _DATA, _parts(model, h, _DATA, "cpu"), torch.empty(())):
        numbers = {name: t for name, t in dry.numbers.items() if t.requires_grad}
        if term in dry.losses and dry.losses[term].requires_grad and numbers:
            grads: tuple[Tensor | None, ...] = torch.autograd.grad(dry.losses[term], list(numbers.values()), allow_unused=True)
            found |= {name for name, grad in zip(numbers, grads, strict=True) if grad is not None}
    return frozenset(found)

"""What can be learnt of a model without training it: on meta tensors, which have shapes and graphs but no numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .engine import Settings, dry_noise, trained, views
from .model import Batch, DataSpec, Descend, Hyper, Model, Net
from .nn import Modes

_SIZE = 4  # samples in the dry batch
_DATA = DataSpec(n_samples=64, shape=(8, 8), n_classes=4)


def _losses(
    model: Model, h: Hyper, data: DataSpec, on: frozenset[str], owned: dict[str, tuple[str, ...]] | None = None
) -> Iterator[tuple[Descend, dict[str, Tensor], dict[str, Tensor]]]:
    """Every `Descend` that is taken, what it trains, and the terms that it returns while the terms `on` are on."""
    with torch.device("meta"):
        networks, tensors = model.networks(h, data), dict(model.tensors(h, data))
    modes = {name: Modes(network) for name, network in networks.items()}
    net = views(lambda name, mode: modes[name].wrap(mode, networks[name]), list(networks), tensors)["training"]
    settings = Settings(model, h, on, {})
    plain, meta = settings.values(torch.empty(())), settings.values(torch.empty((), device="meta"))
    batch = Batch(torch.empty(_SIZE, data.n_features, device="meta"), torch.empty(_SIZE, dtype=torch.int64, device="meta"))
    for phase in model.phases(h):
        noise = Net({k: v.to("meta") for k, v in dry_noise(phase, plain, data, _SIZE).items()})
        for update in phase.updates:
            if isinstance(update, Descend) and (owned is None or on & set(owned[update.name])):
                leaves = {k: p.requires_grad_() for name in update.rates() for k, p in trained(name, networks, tensors).items()}
                yield update, leaves, update.losses(net, batch, noise, meta)


def owned_terms(model: Model, h: Hyper, data: DataSpec) -> dict[str, tuple[str, ...]]:
    """The terms of each `Descend`, by the update's name."""
    return {update.name: tuple(losses) for update, _, losses in _losses(model, h, data, frozenset(model.terms))}


def dead_weights(model: Model, h: Hyper, on: frozenset[str]) -> dict[str, str]:
    """The weights that change nothing while at most the terms `on` differ from 0, each with the reason and what to search instead.

    A weight is alive where some trained parameter gets gradient from two terms of one step, or where the optimiser heeds the scale
    of the loss: Adam and RMSprop do not.
    """
    dead: dict[str, str] = {}
    seen: set[str] = set()
    for update, leaves, losses in _losses(model, h, _DATA, on, owned_terms(model, h, _DATA)):
        seen |= losses.keys()
        if not update.optimizer.scale_invariant:
            continue
        reached = {term: _reached(loss, leaves) for term, loss in losses.items() if term in on}
        for term, own in reached.items():
            shared = any(own & other for name, other in reached.items() if name != term)
            if model.terms[term].weight is not None and not shared:
                rates = " or ".join(f"'{rate}'" for rate in dict.fromkeys(update.rates().values()))
                optimizer = type(update.optimizer).__name__
                dead[f"weights.{term}"] = (
                    f"it stands alone in the step '{update.name}', and {optimizer} ignores the scale of a loss. Search {rates} instead."
                )
    for term in on - seen:
        if model.terms[term].weight is not None:
            dead[f"weights.{term}"] = "no step of this configuration computes it."
    return dead


def redundant_weights(model: Model, h: Hyper, on: frozenset[str], searched: frozenset[str]) -> list[str]:
    """Notes on steps in which every weight is searched: with a scale-invariant optimiser only their ratios count."""
    notes = []
    for update, _, losses in _losses(model, h, _DATA, on, owned_terms(model, h, _DATA)):
        names = [f"weights.{term}" for term in losses if term in on]
        if update.optimizer.scale_invariant and len(names) > 1 and set(names) <= searched:
            notes.append(f"In the step '{update.name}' only the ratio of {' and '.join(names)} counts: one of them could be fixed.")
    return notes


def _reached(loss: Tensor, leaves: dict[str, Tensor]) -> set[str]:
    """The trained tensors that get a gradient from this loss."""
    if not loss.requires_grad:
        return set()
    # torch's types do not know that allow_unused returns None for what the loss does not reach.
    grads: tuple[Tensor | None, ...] = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, retain_graph=True)
    return {name for name, grad in zip(leaves, grads, strict=True) if grad is not None}

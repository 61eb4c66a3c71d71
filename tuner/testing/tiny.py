"""A model's shortest trainings, and how far a solo run goes when it is moved by one rounding."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tuner.data.datasets import Data
from tuner.model import Hyper, Model

from .data import DATA
from .runs import apart, run_again, solo


def tiny(model: Model, **more: Any) -> Any:
    """A configuration that trains in a second, with every term that has a weight on."""
    on = {name: p.default or 0.1 for name, p in model.parameters().items() if name.startswith("weights.")}
    return model.hyper(on | dict(model.tiny) | more)


def short(model: Model, **more: Any) -> Any:
    """`tiny`, cut to at most two epochs a phase."""
    lengths = {phase.epochs for phase in model.phases(tiny(model))}
    return tiny(model, **{name: min(2, getattr(tiny(model), name)) for name in lengths} | more)


def few(model: Model, **more: Any) -> Any:
    """`short`, and two steps an epoch: a batch is half of the data."""
    half = {"batch_size": DATA.n_samples // 2} if "batch_size" in model.parameters() else {}
    return short(model, **half | more)


def choices(model: Model) -> list[dict[str, Any]]:
    """Every choice of every hyper-parameter that has choices, one changed at a time."""
    words = [p for p in model.parameters().values() if p.choices]
    return [{}] + [{p.name: choice} for p in words for choice in p.choices or () if choice != p.default]


def yardstick(model: Model, h: Hyper, data: Data, seed: int) -> float:
    """How far a solo run moves when its data moves by one rounding: no two ways to compute it agree better than that."""
    moved = dataclasses.replace(data, x_ND=data.x_ND * (1 - torch.finfo(data.x_ND.dtype).eps))
    return apart(solo(model, h, data, seed), run_again(model, h, moved, seed))


def is_rounding(  # six: what a solo run takes, and two numbers
    gap: float, model: Model, h: Hyper, data: Data, seed: int, least: float = 1e-10
) -> bool:
    """Whether two ways to compute a solo run lie `gap` apart by rounding alone. The yardstick trains twice: only where it decides."""
    return gap <= least or gap <= 100 * yardstick(model, h, data, seed)

"""A model's shortest trainings, and how far a solo run goes when it is moved by one rounding."""

import dataclasses

import torch

from kit.lanes import apart, run_again, solo


def tiny(model, **more):
    """A configuration that trains in a second, with every term that has a weight on."""
    on = {name: p.default or 0.1 for name, p in model.parameters().items() if name.startswith("weights.")}
    return model.hyper(on | dict(model.tiny) | more)


def short(model, **more):
    """`tiny`, cut to at most two epochs a phase."""
    lengths = {phase.epochs for phase in model.phases(tiny(model))}
    return tiny(model, **{name: min(2, getattr(tiny(model), name)) for name in lengths} | more)


def yardstick(model, h, data, seed):
    """How far a solo run moves when its data moves by one rounding: no two ways to compute it agree better than that."""
    moved = dataclasses.replace(data, x_ND=data.x_ND * (1 - torch.finfo(data.x_ND.dtype).eps))
    return apart(solo(model, h, data, seed), run_again(model, h, moved, seed))


def is_rounding(gap, model, h, data, seed, least=1e-10):
    """Whether two ways to compute a solo run lie `gap` apart by rounding alone. The yardstick trains twice: only where it decides."""
    return gap <= least or gap <= 100 * yardstick(model, h, data, seed)

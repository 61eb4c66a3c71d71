"""The three optimisers, as torch's own fused kernels: called without `torch.optim`, one step moves a lane of a pack or a solo trial."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tuner.model import SGD, Adam, Optimizer, RMSprop

# What an optimiser remembers of each parameter, under torch's names.
MOMENTS: dict[type, tuple[str, ...]] = {Adam: ("exp_avg", "exp_avg_sq"), SGD: ("momentum_buffer",), RMSprop: ("square_avg",)}


def rate_type(device: torch.device) -> torch.dtype:
    """The fused optimisers read a rate as a double on a CPU, as a float on a GPU."""
    return torch.float64 if device.type == "cpu" else torch.float32


def move(
    optimizer: Optimizer,
    params: list[Tensor],
    grads: list[Tensor],
    moments: list[list[Tensor]],
    count: Tensor,
    *,
    lr: Tensor,
    numbers: Mapping[str, float],
    rests: Tensor | None = None,
) -> None:
    """One step, in place; computes what torch's optimiser of that name does.

    `moments`: for each of `MOMENTS`, a tensor like each parameter. `count`: steps with this one, 0-d float32, as torch counts them.
    `lr`: 0-d, of `rate_type`. `numbers`: the optimiser's fields. `rests`: 0-d, 1 where nothing may move.
    """
    if isinstance(optimizer, Adam):
        torch._fused_adam_(
            params, grads, moments[0], moments[1], [], [count] * len(params),
            lr=lr, beta1=numbers["beta1"], beta2=numbers["beta2"], eps=numbers["eps"],
            weight_decay=numbers["weight_decay"], amsgrad=False, maximize=False, found_inf=rests,
        )  # fmt: skip
    elif isinstance(optimizer, SGD):
        torch._fused_sgd_(
            params, grads, moments[0] if numbers["momentum"] else [],  # torch refuses a memory that it does not need
            lr=lr, momentum=numbers["momentum"], weight_decay=numbers["weight_decay"], nesterov=bool(numbers["nesterov"]),
            dampening=0.0, maximize=False, is_first_step=False, found_inf=rests,
        )  # fmt: skip
    else:
        for p, grad, v in zip(params, grads, moments[0], strict=True):
            new = v * numbers["alpha"] + (1 - numbers["alpha"]) * grad.square()
            step = lr * grad / (new.sqrt() + numbers["eps"])
            v.copy_(new if rests is None else torch.where(rests == 0, new, v))
            p.sub_(step if rests is None else torch.where(rests == 0, step, 0.0))

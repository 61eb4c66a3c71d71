"""Networks that several models share, and the three modes in which the engine calls a network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def mlp(*sizes: int, norm: bool = False) -> nn.Sequential:
    """Linear layers with a ReLU between each two, behind a BatchNorm if `norm`; the last one is linear."""
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes[:-1]):  # no bias in front of a BatchNorm: it has no gradient but rounding noise
        layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()] if norm else [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def by_rows(f: Callable[[Tensor], Tensor], x_ND: Tensor, rows: int = 16384) -> Tensor:
    """`f` over the whole data set, a slice of rows at a time, so that wide networks do not fill the memory."""
    return f(x_ND) if len(x_ND) <= rows else torch.cat([f(x) for x in torch.split(x_ND, rows)])


class Modes:
    """Calls one network in training, still or evaluating mode. A mode is a flag per submodule, set around the call.

    `training`: as it is. `still`: normalises by the batch and leaves BatchNorm's running statistics alone, because torch hands
    none over while `track_running_stats` is off. `eval`: normalises by the running statistics.
    """

    def __init__(self, network: nn.Module) -> None:
        network.train()
        # Straight into __dict__: nn.Module.__setattr__ would cost more than the layers of a small network.
        self._all = [m.__dict__ for m in network.modules()]
        self._norms = [m.__dict__ for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]

    def wrap(self, mode: str, f: Callable[..., Any]) -> Callable[..., Any]:
        if mode == "training":
            return f
        flag, where = ("track_running_stats", self._norms) if mode == "still" else ("training", self._all)
        if not self._norms:  # nothing in the network tells the modes apart: dropout masks are arguments
            return f

        def call(*args: Any) -> Any:
            for module in where:
                module[flag] = False
            try:
                return f(*args)
            finally:
                for module in where:
                    module[flag] = True

        return call

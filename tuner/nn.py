"""Networks that several models share, and the three modes in which the engine calls a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import UserError
from .model import DataSpec, Hyper, hp


def mlp(*sizes: int, norm: bool = False) -> nn.Sequential:
    """Linear layers with a ReLU between each two, behind a BatchNorm if `norm`; the last one is linear."""
    layers: list[nn.Module] = []
    for i, o in pairwise(sizes[:-1]):  # no bias in front of a BatchNorm: it has no gradient but rounding noise
        layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()] if norm else [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


@dataclass(frozen=True, kw_only=True)
class Network(Hyper):
    """For the models that come with either kind of network; `encoder` and `decoder` heed it."""

    network: str = hp("mlp", choices=("mlp", "conv"), doc="fully connected, or convolutions for images, halved until they are 4 x 4")
    channels: int = hp(16, 1, 1024, static=True, doc="network: conv; of the first layer, and twice as many after every halving")


def encoder(h: Any, data: DataSpec, *sizes: int, norm: bool = False, beside: int = 0) -> nn.Sequential:
    """Features to `sizes[-1]` numbers; the other sizes are an mlp's. `beside`: how many numbers stand behind the features, which
    convolutions see as constant planes."""
    if h.network == "mlp":
        return mlp(data.n_features + beside, *sizes, norm=norm)
    levels, c, n_colours = halvings(data), h.channels, colours(data)
    layers: list[nn.Module] = [Planes(*levels[0], n_colours), *_conv(n_colours + beside, c, norm)]
    for _ in levels[1:]:
        layers += _conv(c, 2 * c, norm, stride=2)
        c *= 2
    return nn.Sequential(*layers, nn.Flatten(-3), nn.Linear(c * math.prod(levels[-1]), sizes[-1]))


def decoder(h: Any, data: DataSpec, *sizes: int, norm: bool = False) -> nn.Sequential:
    """The way back, from `sizes[0]` numbers to features; linear at its end."""
    if h.network == "mlp":
        return mlp(*sizes, data.n_features, norm=norm)
    levels = halvings(data)
    c = h.channels * 2 ** (len(levels) - 1)
    n = c * math.prod(levels[-1])
    first = [nn.Linear(sizes[0], n, bias=False), nn.BatchNorm1d(n)] if norm else [nn.Linear(sizes[0], n)]
    layers: list[nn.Module] = [*first, nn.ReLU(), nn.Unflatten(-1, (c, *levels[-1]))]
    for size in levels[-2::-1]:
        layers += [Double(*size), *_conv(c, c // 2, norm)]
        c //= 2
    return nn.Sequential(*layers, nn.Conv2d(c, colours(data), 3, padding=1), nn.Flatten(-3))


def sides(data: DataSpec, needing: str = "'network: conv'", instead: str = " Say mlp.") -> tuple[int, int]:
    """Rows and columns of an image. `needing`: who needs one, for a message, and what to do instead.

    Raises:
        UserError: the samples are no images.
    """
    if len(data.shape) not in (2, 3):
        raise UserError(f"{needing} needs images of shape (h, w) or (colours, h, w), but a sample's shape is {data.shape}.{instead}")
    return data.shape[-2], data.shape[-1]


def halvings(data: DataSpec) -> list[tuple[int, int]]:
    """The sizes of an image as it is halved, rounding up, until neither side is above 4: 28, 14, 7, 4. Raises what `sides` does."""
    sizes = [sides(data)]
    while max(sizes[-1]) > 4:
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


def is_film(shape: Sequence[int]) -> bool:
    """(T, h, w) or (T, 3, h, w); three planes are the colours of an image."""
    return len(shape) == 4 or (len(shape) == 3 and shape[0] != 3)


def colours(data: DataSpec) -> int:
    """3 of images of shape (3, h, w), 1 of grey ones."""
    return data.shape[0] if len(data.shape) == 3 else 1


def _conv(i: int, o: int, norm: bool, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(i, o, 3, stride, padding=1, bias=not norm)
    return [conv, nn.BatchNorm2d(o), nn.ReLU()] if norm else [conv, nn.ReLU()]


class Planes(nn.Module):
    """(B, C + E, h, w): the image in C colours, and a constant plane for each of the E numbers behind it."""

    def __init__(self, h: int, w: int, n_colours: int = 1) -> None:
        super().__init__()
        self.h, self.w, self.n_colours = h, w, n_colours

    def forward(self, x: Tensor) -> Tensor:
        n = self.n_colours * self.h * self.w
        image, extra = x[..., :n].reshape(*x.shape[:-1], self.n_colours, self.h, self.w), x[..., n:]
        return torch.cat([image, extra[..., None, None].expand(*extra.shape, self.h, self.w)], -3)


class Double(nn.Module):
    """Every pixel four times, cut to (h, w): sides that were rounded up when they were halved."""

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        self.h, self.w = h, w

    def forward(self, x: Tensor) -> Tensor:
        *lead, h, w = x.shape
        return x[..., :, None, :, None].expand(*lead, h, 2, w, 2).reshape(*lead, 2 * h, 2 * w)[..., : self.h, : self.w]


def by_rows(f: Callable[[Tensor], Tensor], x_ND: Tensor, rows: int | None = None) -> Tensor:
    """`f` over the whole data set, a slice of rows at a time, so that wide networks do not fill the memory; on a CPU slices so short
    that what one layer hands to the next stays in the cache, which saves a sixth of the time of a 500-500-2000 encoder."""
    if torch.compiler.is_compiling():  # a program takes any number of rows, so nothing may depend on how many there are
        return f(x_ND)
    return by_slices(lambda part: f(x_ND[part]), len(x_ND), rows or slice_of(x_ND))


def by_slices(f: Callable[[slice], Tensor], n: int, rows: int) -> Tensor:
    """What `f` gives for all of n rows, a slice at a time; of each row one thing, in the first axis. The results go where they stay at
    once: kept by themselves until all are there, they would lie between what `f` takes and frees, and the heap would grow by it."""
    first = f(slice(0, min(rows, n)))
    if n <= rows:
        return first
    whole = first.new_empty(n, *first.shape[1:])
    whole[:rows] = first
    for i in range(rows, n, rows):
        part = slice(i, min(i + rows, n))
        whole[part] = f(part)
    return whole


def slice_of(like: Tensor) -> int:
    """How many rows an ordinary network sees at a time outside of training."""
    return 16384 if like.is_cuda else 512


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

"""What a model is given: facts of the data, a batch, its networks, its hyper-parameters. Models import these names from `model`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class DataSpec:
    """What a model may know of a data set before it sees it. `shape` is one sample's; `unit_range`: all values in [0, 1];
    `n_test`: samples in the published test split; `n_unknown`: those whose label is not known, where others have one."""

    n_samples: int
    shape: tuple[int, ...]
    n_classes: int | None = None
    unit_range: bool = True
    n_test: int = 0
    n_unknown: int = 0

    @property
    def n_features(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Batch:
    """`x_BD`, and `rows_B`: where its samples stand in the data set, for targets kept per sample.

    `labelled`: `(x_LD, y_L)` where the model has `labels = "partial"`, else empty: labelled samples, equally many of each class.
    """

    x_BD: Tensor
    rows_B: Tensor
    labelled: tuple[Tensor, ...] = ()


class Values:
    """`h` in tensor code: static values as they are, the others 0-d tensors; `uses` says which terms are on."""

    def __init__(self, static: Mapping[str, Any], dynamic: Mapping[str, Tensor], on: frozenset[str]) -> None:
        self.__dict__.update(static)
        self.__dict__.update(dynamic)
        self._on = on

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the model's Hyper has no field {name!r}")

    def uses(self, *terms: str) -> bool:
        """Whether any of these terms has a weight other than 0 in some epoch. A plain bool: it guards optional terms."""
        return any(term in self._on for term in terms)


class Net:
    """A view of one trial's state: `net.f(x)` calls network `f` in training mode, `net.still.f(x)` normalises by the batch and
    leaves running statistics alone, `net.eval.f(x)` uses the running statistics, `net.centers_KZ` reads a tensor."""

    still: Net
    eval: Net

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the model declares no network, tensor or draw {name!r}")

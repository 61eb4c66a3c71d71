"""A part of a data set that no trial of a search sees: the search selects on the rest, and reports on it.

The part is the published test split, or a share of the samples, drawn once and the same in all trials and searches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from tuner.draws import Draws

from .datasets import Data

Holdout = float | Literal["test"]
TEST: Literal["test"] = "test"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """`kept`: what trials train on and are selected by. `held`: what is only reported on; None where nothing is held out."""

    kept: Data
    held: Data | None = None


def size_of(holdout: Holdout | None, n_samples: int, n_test: int) -> int:
    """How many samples are held out."""
    if holdout is None:
        return 0
    return n_test if holdout == TEST else round(float(holdout) * n_samples)


def parts(data: Data, holdout: Holdout | None) -> Parts:
    """The two parts of the data, each in the data's order. Both have the scaling of the whole, and its classes."""
    n_samples = data.n_samples
    size = size_of(holdout, n_samples, n_samples - data.n_train)
    if not size:
        return Parts(kept=data)
    held_N = torch.zeros(n_samples, dtype=torch.bool)
    if holdout == TEST:
        held_N[data.test] = True
    else:
        held_N[Draws("holdout", like=torch.empty(())).permutation(n_samples)[:size]] = True
    return Parts(kept=_part(data, ~held_N), held=_part(data, held_N))


def _part(data: Data, of_N: torch.Tensor) -> Data:
    y_N = None if data.y_N is None else data.y_N[of_N]
    return replace(data, x_ND=data.x_ND[of_N.to(data.x_ND.device)], y_N=y_N, test=None, n_classes=data.spec.n_classes)

"""The labelled samples of the semi-supervised models: which they are, and what a step is given of them.

Which samples are labelled follows from `n_labels` and `label_seed` alone, not from the trial's seed: all trials of a search, and all
models on the same data, are given the same ones, and compare. How much the choice matters is seen by setting `label_seed`. More
labels hold the fewer ones. None is of the published test split.
Shapes: N data set, D features, M labelled samples, L those in a step, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tuner.draws import Draws
from tuner.errors import UserError

from .datasets import Data


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """The labelled samples, class after class. `rows_M`: where they stand in the data set; `sizes_C`: how many are of each class."""

    x_MD: Tensor
    y_M: Tensor
    rows_M: Tensor
    sizes_C: Tensor

    def draw(self, g: Draws, size: int) -> tuple[Tensor, Tensor]:
        """`(x_LD, y_L)` with L = `size`, behind the draws' leading axes: equally many of each class, and none twice while there are
        others of its class. Where L is no multiple of C, which classes get one more is drawn anew for every step."""
        n_classes = len(self.sizes_C)
        starts_C = self.sizes_C.cumsum(0) - self.sizes_C
        shuffled_M = (self.y_M + g.uniform(len(self.y_M))).argsort(dim=-1, stable=True)  # within each class
        i_L = torch.arange(size, device=self.y_M.device)
        class_L = (i_L + g.integers(n_classes, 1)) % n_classes
        at_L = starts_C[class_L] + (i_L // n_classes) % self.sizes_C[class_L]
        chosen_L = shuffled_M.gather(-1, at_L)
        return self.x_MD[chosen_L], self.y_M[chosen_L]


def labelled_of(data: Data, h: Any) -> Labelled:
    """The labelled samples of a trial; `h` is a `PartlyLabelled`.

    Raises:
        UserError: the data set has no labels, other classes than the model has clusters, or too few samples of a class.
    """
    return _choose(data, h.n_labels, h.label_seed, h.n_clusters)


@lru_cache(maxsize=32)  # every epoch of every trial asks for it
def _choose(data: Data, n_labels: int, label_seed: int, n_clusters: int) -> Labelled:
    n_classes = data.spec.n_classes
    if data.y_N is None or n_classes is None:
        raise UserError(f"The model learns from some labels, but {data.name} has none.")
    if n_clusters != n_classes:
        raise UserError(
            f"'n_clusters' is {n_clusters}, but {data.name} has {n_classes} classes, and cluster k is class k. Set n_clusters={n_classes}."
        )
    part = " before its test split" if data.test else ""
    order_N = Draws("labelled", label_seed, like=torch.empty(())).permutation(data.n_train)  # on the CPU: the same on every device
    order_N = order_N[data.y_N[order_N] >= 0]
    if not n_classes <= n_labels < len(order_N):
        what = "samples" if len(order_N) == data.n_train else "samples whose label is known"
        raise UserError(
            f"'n_labels' must stay within [{n_classes}, {len(order_N) - 1}], one for each class and fewer than {data.name} has "
            f"{what}{part}, but is {n_labels}."
        )
    y_N = data.y_N[order_N]
    least, more = divmod(n_labels, n_classes)
    sizes = [least + (c < more) for c in range(n_classes)]
    found = torch.bincount(y_N, minlength=n_classes).tolist()
    if any(size > n for size, n in zip(sizes, found, strict=True)):
        c = min(range(n_classes), key=lambda c: found[c] * n_classes + c)
        most = found[c] * n_classes + c
        instead = f"Set n_labels={most} or less." if most >= n_classes else "Leave the class out, or take more of the data."
        raise UserError(f"'n_labels' is {n_labels}, {sizes[c]} of each class, but {data.name} has {found[c]} of class {c}{part}. {instead}")
    rows_M = torch.cat([order_N[y_N == c][:size] for c, size in enumerate(sizes)])
    device = data.x_ND.device
    x_MD, y_M = data.batch(rows_M.to(device)), data.y_N[rows_M].to(device)
    return Labelled(x_MD=x_MD, y_M=y_M, rows_M=rows_M, sizes_C=torch.tensor(sizes, device=device))

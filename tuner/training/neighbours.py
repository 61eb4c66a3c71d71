"""What neighbourhoods in the latent say: how well clusters lie apart, and the error of classifiers by nearest neighbours.

They cost more than the other metrics. So they are measured after a trial's last epoch, and in every clustering epoch only where a
search goes by one of them. In float64, on the device that the codes are on; not by scikit-learn, whose import takes longer than the
work in most trials (0.8 seconds of a core in every process that trains).
Shapes: N data set, Z code, S drawn samples, R references, T held out, M nearest references.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.draws import Draws
from tuner.metrics import METRICS
from tuner.silhouette import WORST, silhouette_in

from .separation import calinski_harabasz, davies_bouldin, description_length

NEIGHBOURHOODS = tuple(name for name, measure in METRICS.items() if measure.of_codes)
SILHOUETTE = "silhouette"
SEPARATION: dict[str, Callable[[Tensor, Tensor], float]] = {
    "davies_bouldin": davies_bouldin,
    "calinski_harabasz": calinski_harabasz,
    "description_length": description_length,
}
KNN_ERRORS = {name: measure.k for name, measure in METRICS.items() if measure.k is not None}  # by their numbers of neighbours
SAMPLES = 2000  # of the silhouette, whose cost is quadratic in them; the mean of so many is off by less than 0.01
SEPARATED = (
    10_000  # samples at most of the indices that cost one pass; the same ones in all trials, for one of them grows with their number
)
REFERENCES, HELD_OUT = 60_000, 10_000  # at most: MNIST's own, some seconds on one core
DISTANCES = 2**23  # at once: 64 MB
ROUNDING = 1e-13  # of two codes' squares, in a product of float64


def neighbourhoods(embed: Callable[[Tensor], Tensor], data: Data, c_N: Tensor, due: Collection[str | None]) -> dict[str, float]:
    """Those of `NEIGHBOURHOODS` that are `due` and that the data can give; the worst that they can be where a code is not finite.

    `embed`: (R,) rows to their codes (R, Z). The samples are drawn alike in all trials, so that they compare.
    """
    found: dict[str, float] = {}
    if SILHOUETTE in due:
        found[SILHOUETTE] = silhouette_of(embed, c_N)
    indices_due = [name for name in SEPARATION if name in due]
    if indices_due:
        rows_S = _order("separation", n=len(c_N))[:SEPARATED]
        z_SZ, c_S = embed(rows_S), c_N.cpu()[rows_S]
        found |= {name: SEPARATION[name](z_SZ, c_S) for name in indices_due}
    errors_due = [name for name in KNN_ERRORS if name in due]
    if errors_due and data.y_N is not None:
        rows_R, rows_T = held_out(data)
        references = Codes(z_NZ=embed(rows_R), y_N=data.y_N[rows_R])
        errors = knn_errors(references, Codes(z_NZ=embed(rows_T), y_N=data.y_N[rows_T]))
        found |= {name: errors[name] for name in errors_due}
    return found


def silhouette_of(embed: Callable[[Tensor], Tensor], c_N: Tensor) -> float:
    """The silhouette of clusters, by a draw of `SAMPLES` of their samples. `embed`: as `neighbourhoods`."""
    rows_S = _order("silhouette", n=len(c_N))[:SAMPLES]
    return silhouette(embed(rows_S), c_N.cpu()[rows_S])


def silhouette(z_SZ: Tensor, c_S: Tensor) -> float:
    """As `silhouette_in` says, by Euclidean distance; the worst, too, where a code is not finite."""
    if not z_SZ.isfinite().all():
        return WORST
    return silhouette_in(_distances(z_SZ.double()).cpu().numpy(), c_S.cpu().numpy())


def _distances(z_SZ: Tensor) -> Tensor:
    """(S, S) Euclidean distances by a product of matrices: for codes of 100 numbers in a tenth of the time that differences take.

    The codes are centred, for far from 0 the product loses digits. What is within its rounding counts as 0, as equal codes are.
    """
    z_SZ = z_SZ - z_SZ.mean(dim=0)
    square_S1 = z_SZ.square().sum(dim=1, keepdim=True)
    one_S1 = torch.ones_like(square_S1)
    left = torch.cat([-2 * z_SZ, (1 - ROUNDING) * square_S1, (1 - ROUNDING) * one_S1], dim=1)
    right = torch.cat([z_SZ, one_S1, square_S1], dim=1)
    return (left @ right.T).clamp_(min=0).sqrt_().fill_diagonal_(0)


def held_out(data: Data) -> tuple[Tensor, Tensor]:
    """The rows that neighbours are looked for among, and those that are classified by them: the published test split or, where there
    is none, a fifth of the samples. The same in all trials, so that they compare. None of them is of a class that is not known."""
    order_N = _order("held out", n=data.n_samples)
    n_before = data.n_train if 0 < data.n_train < len(order_N) else len(order_N) - max(1, len(order_N) // 5)
    if data.y_N is not None:
        order_N = order_N[data.y_N[order_N] >= 0]
    before_N = order_N < n_before
    if before_N.all() or not before_N.any():  # only one part has labels
        before_N = torch.arange(len(order_N)) < len(order_N) - max(1, len(order_N) // 5)
    return order_N[before_N][:REFERENCES], order_N[~before_N][:HELD_OUT]


@dataclass(frozen=True, kw_only=True, eq=False)
class Codes:
    """Samples' codes and their classes."""

    z_NZ: Tensor
    y_N: Tensor


def knn_errors(references: Codes, queries: Codes) -> dict[str, float]:
    """How often the commonest class among the k nearest (Euclidean, equal votes, of equally common classes the first) is wrong.

    `references`: R samples, among which neighbours are looked for; `queries`: T samples, which are classified by them.
    """
    z_RZ, z_TZ = references.z_NZ, queries.z_NZ
    y_R, y_T = references.y_N.to(z_RZ.device), queries.y_N.to(z_RZ.device)
    if not len(y_R) or not (z_RZ.isfinite().all() and z_TZ.isfinite().all()):
        return {name: METRICS[name].worst for name in KNN_ERRORS}
    votes_TM = y_R[_nearest(z_RZ.double(), z_TZ.double(), min(max(KNN_ERRORS.values()), len(y_R)))]
    found = {}
    for name, k in KNN_ERRORS.items():
        nearest_Tk = votes_TM[:, :k]
        counts_TC = nearest_Tk.new_zeros(len(y_T), int(y_R.max()) + 1).scatter_add(1, nearest_Tk, torch.ones_like(nearest_Tk))
        found[name] = float((counts_TC.argmax(1) != y_T).double().mean())
    return found


def _nearest(z_RZ: Tensor, z_TZ: Tensor, most: int) -> Tensor:
    """(T, M) rows of the `most` nearest references, the nearest first."""
    center_Z = z_RZ.mean(dim=0)  # without it codes far from 0 would lose digits in the products
    z_RZ, z_TZ = z_RZ - center_Z, z_TZ - center_Z
    square_R = z_RZ.square().sum(dim=1)
    parts = torch.split(z_TZ, max(1, DISTANCES // len(z_RZ)))
    return torch.cat([torch.addmm(square_R, part_BZ, z_RZ.T, alpha=-2).topk(most, largest=False).indices for part_BZ in parts])


def _order(*key: object, n: int) -> Tensor:
    """All rows in a fixed random order, the same on every device."""
    return Draws(*key, like=torch.empty(())).permutation(n)

"""How well clusters lie apart in the latent, without labels: indices that cost one pass over the samples.

The silhouette, whose cost is quadratic, is in `tuner/training/neighbours.py`. Both are of the codes, in float64; these on the CPU.
Shapes: S samples, Z code, K clusters that have a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tuner.metrics import METRICS

EXACT = 0.01  # of a number's standard deviation: how exactly a description gives it, or clusters that are points would cost nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class _Groups:
    """Samples by cluster. `k_S`: each one's cluster, numbered without gaps; `n_K`, `center_KZ`: sizes and means."""

    z_SZ: Tensor
    k_S: Tensor
    n_K: Tensor
    center_KZ: Tensor


def _grouped(z_SZ: Tensor, c_S: Tensor) -> _Groups | None:
    """None where there is nothing to compare: one cluster, one for each sample, or a code that is not finite."""
    z_SZ = z_SZ.double().cpu()
    k_S, n_K = torch.unique(c_S.cpu(), return_inverse=True, return_counts=True)[1:]
    if not 1 < len(n_K) < len(k_S) or not z_SZ.isfinite().all():
        return None
    center_KZ = torch.zeros(len(n_K), z_SZ.shape[1], dtype=torch.float64).index_add(0, k_S, z_SZ) / n_K[:, None]
    return _Groups(z_SZ=z_SZ, k_S=k_S, n_K=n_K, center_KZ=center_KZ)


def davies_bouldin(z_SZ: Tensor, c_S: Tensor) -> float:
    """The mean over the clusters of their likeness to the cluster most like them: the mean distances to both means, over the distance
    of the means (Davies & Bouldin 1979). 0 is best; the worst value where there is nothing to compare, or two means coincide."""
    worst = METRICS["davies_bouldin"].worst
    found = _grouped(z_SZ, c_S)
    if found is None:
        return worst
    distance_S = (found.z_SZ - found.center_KZ[found.k_S]).norm(dim=1)
    spread_K = torch.zeros(len(found.n_K), dtype=torch.float64).index_add(0, found.k_S, distance_S) / found.n_K
    apart_KK = torch.cdist(found.center_KZ, found.center_KZ, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    alike_KK = (spread_K[:, None] + spread_K) / apart_KK
    return min(float(alike_KK.max(dim=1).values.nan_to_num(nan=worst).mean()), worst)


def calinski_harabasz(z_SZ: Tensor, c_S: Tensor) -> float:
    """The variance between clusters over that within, each by its degrees of freedom (Caliński & Harabasz 1974). 0 where there is
    nothing to compare; 1 where all samples lie on their cluster's mean, as in scikit-learn."""
    found = _grouped(z_SZ, c_S)
    if found is None:
        return METRICS["calinski_harabasz"].worst
    between = (found.n_K * (found.center_KZ - found.z_SZ.mean(dim=0)).square().sum(dim=1)).sum()
    within = (found.z_SZ - found.center_KZ[found.k_S]).square().sum()
    n_clusters, n_samples = len(found.n_K), len(found.k_S)
    if within == 0:
        return 1.0
    return float(between * (n_samples - n_clusters) / (within * (n_clusters - 1)))


def description_length(z_SZ: Tensor, c_S: Tensor) -> float:
    """How much longer, in nats for each number of the code, a description of the codes by one Gaussian per cluster is than by a single
    one: negative where clusters pay. Gaussians have variances and no covariances.

    A description in two parts (Rissanen 1978): -log p of each sample's cluster and numbers, and 0.5 log S for each parameter. The numbers
    are given to `EXACT` of their spread. As the single Gaussian is subtracted, the scale of each number does not matter. The worst value
    where there is nothing to compare, or no number varies.
    """
    found = _grouped(z_SZ, c_S)
    if found is None:
        return METRICS["description_length"].worst
    n_samples, n_clusters = len(found.k_S), len(found.n_K)
    whole_Z = found.z_SZ.var(dim=0, correction=0)
    varies_Z = whole_Z > 0
    if not varies_Z.any():
        return METRICS["description_length"].worst
    square_KZ = torch.zeros_like(found.center_KZ).index_add(0, found.k_S, (found.z_SZ - found.center_KZ[found.k_S]).square())
    share_K = found.n_K.double() / n_samples
    relative_KZ = (square_KZ / found.n_K[:, None])[:, varies_Z] / whole_Z[varies_Z]
    n_numbers = relative_KZ.shape[1]
    # Of a Gaussian with the variance of its samples: 0.5 log(2 pi e var), of which all but the variance's logarithm is the same for both.
    numbers = 0.5 * (share_K[:, None] * ((relative_KZ + EXACT**2).log() - math.log1p(EXACT**2))).sum()
    clusters = -(share_K * share_K.log()).sum()
    parameters = 0.5 * math.log(n_samples) * ((n_clusters - 1) * (2 * n_numbers + 1)) / n_samples
    return float(numbers + clusters + parameters) / n_numbers

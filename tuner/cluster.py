"""k-means as tensor code on the data's device, batched over its starts. scikit-learn's is the oracle in the tests."""

from __future__ import annotations

import torch
from torch import Tensor

from .losses import one_hot


def sq_dist(z_NZ: Tensor, centers_KZ: Tensor) -> Tensor:
    """(..., N, K) squared Euclidean distances."""
    cross = z_NZ @ centers_KZ.mT
    return (z_NZ.square().sum(-1)[..., :, None] - 2 * cross + centers_KZ.square().sum(-1)[..., None, :]).clamp(min=0)


def nearest(z_NZ: Tensor, centers_KZ: Tensor) -> Tensor:
    """(N, K) one-hot: the centre that lies nearest."""
    return one_hot(sq_dist(z_NZ, centers_KZ).argmin(-1), centers_KZ.shape[-2], z_NZ.dtype)


def lloyd(z_NZ: Tensor, centers_KZ: Tensor) -> Tensor:
    """(..., K, Z): each centre moved to the mean of its samples; one without samples stays."""
    s_NK = nearest(z_NZ, centers_KZ)
    n_K1 = s_NK.sum(-2)[..., None]
    return torch.where(n_K1 > 0, s_NK.mT @ z_NZ / n_K1.clamp(min=1), centers_KZ)


def k_means_plus_plus(z_NZ: Tensor, e_IKN: Tensor) -> Tensor:
    """(I, K, Z): I sets of starting centres (Arthur & Vassilvitskii 2007, https://dl.acm.org/doi/10.5555/1283383.1283494).

    `e_IKN`: exponential draws; argmin(e / w) picks i with probability w_i / sum(w) and, unlike a search in the cumulative sum,
    is not moved by rounding.
    """
    z_INZ = z_NZ.expand(e_IKN.shape[0], *z_NZ.shape)

    def take(i_I: Tensor) -> Tensor:
        return z_INZ.gather(-2, i_I[:, None, None].expand(-1, 1, z_NZ.shape[-1]))

    centers_IkZ = take(e_IKN[:, 0].argmin(-1))
    far_IN = sq_dist(z_INZ, centers_IkZ)[..., 0]
    for k in range(1, e_IKN.shape[1]):
        new_I1Z = take((e_IKN[:, k] / far_IN).argmin(-1))
        centers_IkZ = torch.cat([centers_IkZ, new_I1Z], -2)
        far_IN = torch.minimum(far_IN, sq_dist(z_INZ, new_I1Z)[..., 0])
    return centers_IkZ


def k_means(z_NZ: Tensor, e_IKN: Tensor, n_iter: int = 300) -> Tensor:
    """(K, Z) centres: the best of I starts of k-means++, by the sum of squared distances.

    Stops when no sample of any start changes its cluster. `n_iter=0`: the best of the starting sets as they are.
    """
    centers_IKZ = k_means_plus_plus(z_NZ, e_IKN)
    z_INZ = z_NZ.expand(e_IKN.shape[0], *z_NZ.shape)
    before_IN = None
    for _ in range(n_iter):
        cluster_IN = sq_dist(z_INZ, centers_IKZ).argmin(-1)
        if before_IN is not None and torch.equal(cluster_IN, before_IN):
            break
        before_IN = cluster_IN
        centers_IKZ = lloyd(z_INZ, centers_IKZ)
    best = sq_dist(z_INZ, centers_IKZ).amin(-1).sum(-1).argmin()
    return centers_IKZ[best]

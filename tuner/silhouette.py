"""The silhouette of clusters, from the distances between their samples (Rousseeuw 1987, https://doi.org/10.1016/0377-0427(87)90125-7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORST = -1.0


def silhouette_in(distance_SS: NDArray[np.float64], c_S: NDArray[np.int64]) -> float:
    """The mean over S samples of (b - a) / max(a, b), a the mean distance to the sample's own cluster, b to the nearest other one; 0 for
    a sample that is alone in its cluster. -1 where there is nothing to compare: one cluster, or one for each sample.

    At the cost of a product of the distances with a column for each cluster, so that many clusterings of the same samples are cheap.
    """
    k_S, n_K = np.unique(c_S, return_inverse=True, return_counts=True)[1:]
    if not 1 < len(n_K) < len(c_S):
        return WORST
    rows_S = np.arange(len(c_S))
    sum_SK = distance_SS @ np.eye(len(n_K))[k_S]
    own_S = sum_SK[rows_S, k_S] / np.maximum(n_K[k_S] - 1, 1)
    mean_SK = sum_SK / n_K
    mean_SK[rows_S, k_S] = np.inf
    next_S = mean_SK.min(axis=1)
    most_S = np.maximum(own_S, next_S)
    value_S = np.divide(next_S - own_S, most_S, out=np.zeros_like(most_S), where=(most_S > 0) & (n_K[k_S] > 1))
    return float(value_S.mean())

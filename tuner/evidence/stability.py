"""Stability: does a configuration find the same clusters on every seed, and no stable clusters within them?

Mourer, Forest, Lebbah, Azzag & Lacaille 2020 (https://arxiv.org/abs/2006.08530): a good partition is stable, and its clusters have no
stable partition of their own, for stability alone cannot see that there are too few clusters. The trade-off is the difference of the two.
Differs from the paper: what disturbs the data there is noise; here it is the seed, with which networks, batches and starts change.
Shapes: S samples, Z code, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tuner.agreement import ari
from tuner.runs.partitions import Partition

PARTS = (2, 3)  # into how many parts a cluster is divided
FEWEST = 10  # samples of a cluster that is divided
STARTS = 3  # of k-means
WORST = -1.0


def stability(seeds: Sequence[Partition]) -> float:
    """Of one configuration's partitions of the same samples, on at least two seeds: `between` minus `within`. From -1 on, which it is
    where a seed has put all samples into one cluster."""
    if any(len(np.unique(one.c_S)) < 2 or not np.isfinite(one.z_SZ).all() for one in seeds):
        return WORST
    return max(WORST, between([one.c_S for one in seeds]) - within(seeds))


def between(partitions: Sequence[NDArray[np.int64]]) -> float:
    """The mean adjusted Rand index over all pairs of partitions."""
    return float(np.mean([_ari(first, second) for first, second in combinations(partitions, 2)]))


def within(seeds: Sequence[Partition]) -> float:
    """How stable the clusters' own parts are: each seed's clusters, divided by k-means on its codes and on those of each other seed, fitted
    to one half of their samples and to the other. The mean adjusted Rand index over the numbers of parts and the other seeds, and over the
    clusters by their share of the samples."""
    return float(np.mean([_within(one, [other for other in seeds if other is not one]) for one in seeds]))


def _within(one: Partition, others: Sequence[Partition]) -> float:
    total = 0.0
    for cluster in np.unique(one.c_S):
        rows_R = np.flatnonzero(one.c_S == cluster)
        if len(rows_R) < FEWEST:  # its parts say nothing
            continue
        found = [_alike(parts(one.z_SZ[rows_R], n, 0), parts(other.z_SZ[rows_R], n, 1)) for n in PARTS for other in others]
        total += len(rows_R) / len(one.c_S) * float(np.mean(found))
    return total


def parts(z_RZ: NDArray[np.float64], n_parts: int, half: int) -> NDArray[np.int64]:
    """(R,): all by k-means of one half, drawn once, for codes that do not depend on the seed would else be divided alike."""
    from sklearn.cluster import KMeans

    fitted_RZ = z_RZ[np.random.default_rng(0).permutation(len(z_RZ))[half::2]]
    if len(np.unique(fitted_RZ, axis=0)) < n_parts:  # they are points: there is nothing to divide
        return np.zeros(len(z_RZ), dtype=np.int64)
    found: NDArray[np.int64] = KMeans(n_parts, n_init=STARTS, random_state=half).fit(fitted_RZ).predict(z_RZ).astype(np.int64)
    return found


def _alike(first_R: NDArray[np.int64], second_R: NDArray[np.int64]) -> float:
    """0 where one of them divides nothing."""
    return _ari(first_R, second_R) if first_R.any() and second_R.any() else 0.0


def _ari(first_S: NDArray[np.int64], second_S: NDArray[np.int64]) -> float:
    n_KL = np.zeros((int(first_S.max()) + 1, int(second_S.max()) + 1), dtype=np.int64)
    np.add.at(n_KL, (first_S, second_S), 1)
    return ari(n_KL)

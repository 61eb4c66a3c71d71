"""How well clusters agree with classes, and how evenly they are used: the formulas behind tuner/metrics.py.

`n_KC` is the contingency table: entry (k, c) counts the samples of class c in cluster k. K clusters and C classes need not be equally
many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]


def largest_share(sizes_K: NDArray[np.int64]) -> float:
    """Share of the samples in the largest cluster."""
    return int(np.max(sizes_K)) / int(sizes_K.sum())


def balance(sizes_K: NDArray[np.int64]) -> float:
    """The entropy of the clusters' shares over its most, log K: 1 for equal clusters, 0 for one that has all samples."""
    return min(1.0, _entropy(sizes_K) / float(np.log(len(sizes_K)))) if len(sizes_K) > 1 else 0.0


def acc(n_KC: Table) -> float:
    """Share of samples in the right class under the best one-to-one map of clusters to classes (the Hungarian algorithm).

    Where K > C the samples of the clusters left over count as errors; where K < C whole classes do.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import, and who only asks for a metric's goal needs none of it

    matched = linear_sum_assignment(n_KC, maximize=True)  # not filled up to a square: of a million classes none would fit
    return float(n_KC[matched].sum() / n_KC.sum())


def acc_vote(n_KC: Table) -> float:
    """Share of samples that are of their cluster's most frequent class (purity). It rises with K, up to 1 at K = N."""
    return int(n_KC.max(axis=1).sum()) / int(n_KC.sum())


def acc_aae(n_KC: Table, class_K: NDArray[np.int64]) -> float:
    """Share of samples that are of the class of the sample that is likeliest in their cluster (Makhzani et al. 2016,
    https://arxiv.org/abs/1511.05644, section 5): one sample names a cluster, be it of a class that is rare there."""
    return int(n_KC[np.arange(len(n_KC)), class_K].sum()) / int(n_KC.sum())


def nmi(n_KC: Table) -> float:
    """Mutual information over the arithmetic mean of the two entropies; 0 where either side has one group only."""
    h_clusters, h_classes = _entropy(n_KC.sum(axis=1)), _entropy(n_KC.sum(axis=0))
    if h_clusters == 0 or h_classes == 0:
        return 0.0
    information = h_clusters + h_classes - _entropy(n_KC)
    return float(np.clip(information / ((h_clusters + h_classes) / 2), 0.0, 1.0))


def ari(n_KC: Table) -> float:
    """Rand index adjusted for chance: 1 for equal partitions, 0 by chance, never below -0.5."""
    # Pair counts in float64: their product passes 2^63 from 100,000 samples on.
    both, clusters, classes = (_pairs(counts).sum() for counts in (n_KC, n_KC.sum(axis=1), n_KC.sum(axis=0)))
    expected = clusters * classes / _pairs(np.asarray(n_KC.sum()))
    most = (clusters + classes) / 2
    if most == expected:  # both have one group, or both have one sample to a group: the partitions are equal
        return 1.0
    return float((both - expected) / (most - expected))


def ami(n_KC: Table) -> float:
    """NMI adjusted for chance: 1 for equal partitions, 0 by chance and where either side has one group only.

    Unlike NMI it does not rise by itself with K: it compares clusterings of unequal K.
    """
    n_KC = n_KC[n_KC.any(axis=1)][:, n_KC.any(axis=0)]
    if 1 in n_KC.shape:
        return 0.0
    size_K, size_C = n_KC.sum(axis=1), n_KC.sum(axis=0)
    h_clusters, h_classes = _entropy(size_K), _entropy(size_C)
    expected = _information_by_chance(size_K, size_C)
    information, most = h_clusters + h_classes - _entropy(n_KC), (h_clusters + h_classes) / 2
    if np.isclose(most, expected):  # one sample to a group on both sides: the partitions are equal
        return 1.0
    return float((information - expected) / (most - expected))


def _information_by_chance(size_K: NDArray[np.int64], size_C: NDArray[np.int64]) -> float:
    """The mean of the mutual information over all orders of the labels, in nats (Vinh, Epps and Bailey 2010,
    https://jmlr.org/papers/v11/vinh10a.html, equation 24a): how many samples of class c are in cluster k is hypergeometric."""
    from scipy.special import gammaln  # scikit-learn has it, too, and takes a second to import in every process that trains

    n = int(size_K.sum())
    factorial = gammaln(np.arange(n + 1) + 1.0)  # log 0!, log 1!, …, log n!
    expected = 0.0
    for size in size_K:  # all classes at once: `m` samples of each, from the fewest that there must be to the most that there can be
        first_C = np.maximum(size + size_C - n, 1)
        many_C = np.minimum(size, size_C) - first_C + 1
        class_M = np.repeat(np.arange(len(size_C)), many_C)
        m = np.arange(len(class_M)) - np.repeat(np.cumsum(many_C) - many_C, many_C) + first_C[class_M]
        of_class = size_C[class_M]
        ways = factorial[size] + factorial[of_class] + factorial[n - size] + factorial[n - of_class]
        ways -= factorial[n] + factorial[m] + factorial[size - m] + factorial[of_class - m] + factorial[n - size - of_class + m]
        expected += float((m / n * np.log(n * m / (size * of_class)) * np.exp(ways)).sum())
    return expected


def _entropy(counts: NDArray[np.int64]) -> float:
    """In nats, of the shares that the counts are of their sum."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    n = np.asarray(counts, dtype=np.float64)
    return n * (n - 1) / 2

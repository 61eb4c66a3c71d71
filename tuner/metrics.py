"""How well clusters agree with classes, and how the clusters are used.

Everything that needs labels is computed from the contingency table `n_KC`: entry (k, c) counts the samples of class c in
cluster k. K clusters and C classes need not be equally many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Table = NDArray[np.int64]

LABELLED = ("acc", "acc_vote", "nmi", "ari", "ami")
ERRORS = ("error", "error_test")  # of the semi-supervised models only
LABEL_FREE = ("n_used", "largest_share", "confidence")
# Of neighbourhoods in the latent (tuner/training/neighbours.py): after a trial's last epoch, and in every one where a search goes by them.
SILHOUETTE = "silhouette"
KNN_ERRORS: Mapping[str, int] = {"knn_error_3": 3, "knn_error_5": 5, "knn_error_10": 10}

GOALS: Mapping[str, Literal["maximize", "minimize"]] = {
    "acc": "maximize",
    "acc_vote": "maximize",
    "nmi": "maximize",
    "ari": "maximize",
    "ami": "maximize",
    "error": "minimize",
    "error_test": "minimize",
    "n_used": "maximize",
    "largest_share": "minimize",
    "confidence": "maximize",
    "silhouette": "maximize",
    **dict.fromkeys(KNN_ERRORS, "minimize"),
}

# What a sampler is told of a trial that collapsed or diverged.
WORST: Mapping[str, float] = {
    "acc": 0.0,
    "acc_vote": 0.0,
    "nmi": 0.0,
    "ari": -0.5,
    "ami": -1.0,
    "error": 1.0,
    "error_test": 1.0,
    "n_used": 1.0,
    "largest_share": 1.0,
    "confidence": 0.0,
    "silhouette": -1.0,
    **dict.fromkeys(KNN_ERRORS, 1.0),
}


def evaluate(p_NK: Tensor, y_N: Tensor | None) -> dict[str, float]:
    """Every metric of the assignment probabilities `p_NK`; those of `LABELLED` only where there are labels `y_N`.

    A sample belongs to its likeliest cluster, the first of several.
    """
    n_samples, n_clusters = p_NK.shape
    confidence_N, c_N = p_NK.max(dim=1)
    if y_N is None:
        sizes_K = torch.bincount(c_N, minlength=n_clusters).cpu().numpy()
        labelled = {}
    else:
        n_KC = contingency(c_N, y_N, n_clusters, int(y_N.max()) + 1).cpu().numpy()
        sizes_K = n_KC.sum(axis=1)
        labelled = {"acc": acc(n_KC), "acc_vote": acc_vote(n_KC), "nmi": nmi(n_KC), "ari": ari(n_KC), "ami": ami(n_KC)}
    return labelled | {
        "n_used": float(np.count_nonzero(sizes_K)),
        "largest_share": float(sizes_K.max() / n_samples),
        "confidence": float(confidence_N.mean(dtype=torch.float64)),
    }


def errors(p_NK: Tensor, y_N: Tensor, rows_M: Tensor, test: slice | None) -> dict[str, float]:
    """How often the likeliest cluster is not the sample's class, for a model whose cluster k is class k.

    `error`: of the rows that were trained on without their label, all but `rows_M` and the test split; `error_test`: of the
    published test split, where there is one. A search that goes by `error` leaves the test split unseen.
    """
    wrong_N = (p_NK.argmax(dim=1).cpu() != y_N.cpu()).double()
    counts_N = torch.ones_like(wrong_N)
    counts_N[rows_M.cpu()] = 0.0
    test = test or slice(0)
    counts_N[test] = 0.0
    found = {"error": float((wrong_N * counts_N).sum() / counts_N.sum())}
    return found | ({"error_test": float(wrong_N[test].mean())} if len(wrong_N[test]) else {})


def contingency(c_N: Tensor, y_N: Tensor, n_clusters: int, n_classes: int) -> Tensor:
    """(K, C) counts as int64, on the device of `c_N`: a table goes to the host, not the assignments."""
    cell_N = c_N * n_classes + y_N.to(c_N.device)
    return torch.bincount(cell_N, minlength=n_clusters * n_classes).reshape(n_clusters, n_classes)


def acc(n_KC: Table) -> float:
    """Share of samples in the right class under the best one-to-one map of clusters to classes (the Hungarian algorithm).

    Where K > C the samples of the clusters left over count as errors; where K < C whole classes do.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import, and who only asks for a metric's goal needs none of it

    size = max(n_KC.shape)
    square_MM = np.zeros((size, size), dtype=np.int64)
    square_MM[: n_KC.shape[0], : n_KC.shape[1]] = n_KC
    matched = linear_sum_assignment(square_MM, maximize=True)
    return float(square_MM[matched].sum() / n_KC.sum())


def acc_vote(n_KC: Table) -> float:
    """Share of samples that are of their cluster's most frequent class (purity). It rises with K, up to 1 at K = N."""
    return int(n_KC.max(axis=1).sum()) / int(n_KC.sum())


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
    from sklearn.metrics.cluster import expected_mutual_information  # a second to import

    n_KC = n_KC[n_KC.any(axis=1)][:, n_KC.any(axis=0)]
    if 1 in n_KC.shape:
        return 0.0
    h_clusters, h_classes = _entropy(n_KC.sum(axis=1)), _entropy(n_KC.sum(axis=0))
    expected = expected_mutual_information(n_KC, n_KC.sum())
    information, most = h_clusters + h_classes - _entropy(n_KC), (h_clusters + h_classes) / 2
    if np.isclose(most, expected):  # one sample to a group on both sides: the partitions are equal
        return 1.0
    return float((information - expected) / (most - expected))


def _entropy(counts: NDArray[np.int64]) -> float:
    """In nats, of the shares that the counts are of their sum."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    n = np.asarray(counts, dtype=np.float64)
    return n * (n - 1) / 2

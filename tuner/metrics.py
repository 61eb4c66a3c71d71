"""The table of metrics, and how an epoch is measured by them. What compares clusters with classes is computed from the contingency
table `n_KC`, by the formulas of tuner/agreement.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .agreement import Table, acc, acc_aae, acc_vote, ami, ari, balance, largest_share, nmi
from .silhouette import WORST as WORST_SILHOUETTE

if TYPE_CHECKING:  # the table is asked by commands that need no torch, which takes seconds to import
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The clusters of an epoch. `n_KC`: the contingency table; `class_K`: the class of the sample that is likeliest in each cluster;
    None without labels. `sizes_K`: samples in each cluster. `confidence`: the mean probability of the likeliest cluster."""

    n_KC: Table | None
    class_K: NDArray[np.int64] | None
    sizes_K: NDArray[np.int64]
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric: everything that tuner knows about it.

    `worst`: no value is worse; a sampler is given it for a trial that collapsed or diverged.
    `needs`: `labels` it is compared with; `some labels` that the model is given, in semi-supervised models; or nothing.
    `of`: the value, given the clusters of an epoch. None for what `errors` and tuner/training/neighbours.py compute.
    `of_codes`: of neighbourhoods in the latent, after a trial's last epoch, and in every epoch where a search goes by it. `k`: of how
    many neighbours. `with_k`: why the number of clusters cannot be searched by it, if so.
    `shown`: whether tables have it; the journal has all. `cost`: of measuring it once, N samples in K clusters of C classes and codes
    of Z numbers. `doc`, `cost`: in Markdown, for docs/metrics.md.
    """

    goal: Literal["maximize", "minimize"]
    worst: float
    doc: str
    cost: str = "a table of K × C counts"
    needs: Literal["labels", "some labels", "nothing"] = "nothing"
    of: Callable[[Clusters], float] | None = None
    of_codes: bool = False
    k: int | None = None
    with_k: str = ""
    shown: bool = False

    @property
    def uses_labels(self) -> bool:
        return self.needs != "nothing"


def _compared(formula: Callable[[Table], float]) -> Callable[[Clusters], float]:
    """A metric of the contingency table."""

    def of(clusters: Clusters) -> float:
        assert clusters.n_KC is not None
        return formula(clusters.n_KC)

    return of


def _acc_aae(clusters: Clusters) -> float:
    assert clusters.n_KC is not None and clusters.class_K is not None
    return acc_aae(clusters.n_KC, clusters.class_K)


def _knn(k: int, shown: bool = False) -> Measure:
    doc = f"share of wrong votes of the {k} nearest codes; after the last epoch"
    cost = "the codes of 70,000 samples at most, and the neighbours of 10,000 of them: seconds"
    return Measure(goal="minimize", worst=1.0, needs="labels", of_codes=True, k=k, shown=shown, doc=doc, cost=cost)


_COUNTS = "K counts"
_PASS = "the codes of 10,000 samples at most, one pass over them: N × Z"


METRICS: dict[str, Measure] = {
    "acc": Measure(
        goal="maximize", worst=0.0, needs="labels", of=_compared(acc), shown=True,
        doc="share of samples in the right class, clusters matched to classes one to one (Hungarian)",
    ),
    "acc_vote": Measure(
        goal="maximize", worst=0.0, needs="labels", of=_compared(acc_vote),
        with_k="it rises with the number of clusters, up to 1 where every sample has its own",
        doc="the same, each cluster taking its commonest class; rises with the number of clusters",
    ),
    "acc_aae": Measure(
        goal="maximize", worst=0.0, needs="labels", of=_acc_aae, cost="a maximum of N probabilities for each of K clusters",
        with_k="it rises with the number of clusters, up to 1 where every sample has its own",
        doc="the same, each cluster taking the class of the one sample that is likeliest in it, as in the adversarial auto-encoder's "
        "paper; never above `acc_vote`",
    ),
    "nmi": Measure(
        goal="maximize", worst=0.0, needs="labels", of=_compared(nmi), shown=True,
        doc="normalised mutual information of clusters and classes",
    ),
    "ari": Measure(
        goal="maximize", worst=-0.5, needs="labels", of=_compared(ari), shown=True, doc="adjusted Rand index",
    ),
    "ami": Measure(
        goal="maximize", worst=-1.0, needs="labels", of=_compared(ami),
        doc="mutual information adjusted for chance: compares different numbers of clusters",
    ),
    "error": Measure(
        goal="minimize", worst=1.0, needs="some labels", shown=True, cost="N comparisons",
        doc="share of the training rows without a label that get the wrong class; semi-supervised models only",
    ),
    "error_test": Measure(
        goal="minimize", worst=1.0, needs="some labels", shown=True, cost="N comparisons",
        doc="the same on the published test split; semi-supervised models only",
    ),
    "n_used": Measure(
        goal="maximize", worst=1.0, of=lambda clusters: float(np.count_nonzero(clusters.sizes_K)), shown=True, cost=_COUNTS,
        with_k="it counts the clusters that are used, which rise with their number", doc="clusters that have a sample",
    ),
    "largest_share": Measure(
        goal="minimize", worst=1.0, of=lambda clusters: largest_share(clusters.sizes_K), cost=_COUNTS,
        with_k="it falls with the number of clusters", doc="share of the samples in the largest cluster",
    ),
    "balance": Measure(
        goal="maximize", worst=0.0, of=lambda clusters: balance(clusters.sizes_K), cost=_COUNTS,
        with_k="it is 1 for clusters of equal size, however many",
        doc="how evenly the samples are spread: entropy of the clusters' shares over log K, 1 where all are equal",
    ),
    "confidence": Measure(
        goal="maximize", worst=0.0, of=lambda clusters: clusters.confidence, cost="none: the assignment has it",
        doc="mean probability of the likeliest cluster",
    ),
    "silhouette": Measure(
        goal="maximize", worst=WORST_SILHOUETTE, of_codes=True, shown=True,
        cost="the codes of 2,000 samples at most and all their distances",
        doc="how much nearer samples lie to their own cluster than to the next, from -1 to 1; after the last epoch",
    ),
    "davies_bouldin": Measure(
        goal="minimize", worst=1e9, of_codes=True, cost=_PASS,
        doc="how alike each cluster is to the one most like it: their spreads over the distance of their means; after the last epoch",
    ),
    "calinski_harabasz": Measure(
        goal="maximize", worst=0.0, of_codes=True, cost=_PASS,
        doc="variance of the codes between clusters over that within them; after the last epoch",
    ),
    "description_length": Measure(
        goal="minimize", worst=1e9, of_codes=True, cost=_PASS,
        doc="nats that each number of the code takes with a Gaussian per cluster, above those with a single one; after the last epoch",
    ),
    "knn_error_3": _knn(3),
    "knn_error_5": _knn(5, shown=True),
    "knn_error_10": _knn(10),
}  # fmt: skip


def uses_labels(name: str) -> bool:
    """Whether a metric, which may be a loss, looks at the labels."""
    return name in METRICS and METRICS[name].uses_labels


def label_free() -> tuple[str, ...]:
    """The metrics that look at no labels, in the table's order; a model's losses are others."""
    return tuple(name for name, measure in METRICS.items() if not measure.uses_labels)


def evaluate(p_NK: Tensor, y_N: Tensor | None) -> dict[str, float]:
    """Every metric of the assignment probabilities `p_NK`; those that need labels only where there are labels `y_N`.
    A class of -1 is not known: such samples count in the sizes of the clusters, and in no comparison with labels.

    A sample belongs to its likeliest cluster, the first of several.
    """
    import torch

    n_clusters = p_NK.shape[1]
    confidence_N, c_N = p_NK.max(dim=1)
    n_KC, class_K = None, None
    if y_N is None:
        sizes_K = torch.bincount(c_N, minlength=n_clusters).cpu().numpy()
    else:
        known_N = y_N >= 0
        if known_N.all():
            n_KC = contingency(c_N, y_N, n_clusters, int(y_N.max()) + 1).cpu().numpy()
            class_K = y_N[p_NK.argmax(dim=0).cpu()].numpy()
            sizes_K = n_KC.sum(axis=1)
        else:
            sizes_K = torch.bincount(c_N, minlength=n_clusters).cpu().numpy()
            on_device_N = known_N.to(c_N.device)
            n_KC = contingency(c_N[on_device_N], y_N[known_N], n_clusters, int(y_N.max()) + 1).cpu().numpy()
            class_K = y_N[known_N][p_NK[on_device_N].argmax(dim=0).cpu()].numpy()
    clusters = Clusters(n_KC=n_KC, class_K=class_K, sizes_K=sizes_K, confidence=float(confidence_N.mean(dtype=torch.float64)))
    return {
        name: measure.of(clusters)
        for name, measure in METRICS.items()
        if measure.of is not None and (n_KC is not None or not measure.uses_labels)
    }


def of_partition(c_N: Tensor, y_N: Tensor | None, n_clusters: int) -> dict[str, float]:
    """Every metric that a partition alone has: those of `evaluate` without what probabilities say. `c_N`: (N,) int64, 0..K-1."""
    import torch

    found = evaluate(torch.eye(n_clusters)[c_N], y_N)
    return {name: value for name, value in found.items() if name not in ("confidence", "acc_aae")}


def errors(p_NK: Tensor, y_N: Tensor, rows_M: Tensor, test: slice | None) -> dict[str, float]:
    """How often the likeliest cluster is not the sample's class, for a model whose cluster k is class k.

    `error`: of the rows that were trained on without their label, all but `rows_M` and the test split; `error_test`: of the
    published test split, where there is one; neither of rows whose class is not known, -1. A search that goes by `error` leaves the
    test split unseen.
    """
    import torch

    wrong_N = (p_NK.argmax(dim=1).cpu() != y_N.cpu()).double()
    counts_N = torch.ones_like(wrong_N)
    counts_N[rows_M.cpu()] = 0.0
    test = test or slice(0)
    counts_N[test] = 0.0
    known_N = y_N.cpu() >= 0
    counts_N[~known_N] = 0.0
    wrong_T = wrong_N[test][known_N[test]]
    found = {"error": float((wrong_N * counts_N).sum() / counts_N.sum())}
    return found | ({"error_test": float(wrong_T.mean())} if len(wrong_T) else {})


def contingency(c_N: Tensor, y_N: Tensor, n_clusters: int, n_classes: int) -> Tensor:
    """(K, C) counts as int64, on the device of `c_N`: a table goes to the host, not the assignments."""
    import torch

    cell_N = c_N * n_classes + y_N.to(c_N.device)
    return torch.bincount(cell_N, minlength=n_clusters * n_classes).reshape(n_clusters, n_classes)

"""ACE: which trial clusters best, judged in the latents of all trials and without labels.

Adaptive clustering evaluation (Wang & Ye 2024, https://arxiv.org/abs/2403.14830). A trial's own latent flatters its own clusters, and
scores in two latents do not compare. So every trial's clusters are scored in every trial's latent, by the silhouette of one fixed
subsample; latents that are admissible and rank the clusters alike form groups; a group's score of a trial is the mean over its latents,
weighed by how well each agrees with the others; the group with the highest mean counts.
Differs from the paper: a latent is admissible where some trial's clusters have a higher silhouette than k-means finds in samples of a
single Gaussian (the paper: the dip test, for which no library is here); the paper's second grouping, by the scale of the scores, is left
out, for all silhouettes have one scale.
Shapes: S samples, Z code, K clusters, T trials (of which M give their latents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cdist

from tuner.runs.partitions import Partition
from tuner.silhouette import WORST, silhouette_in

Scores = NDArray[np.float64]

SPACES = 50  # latents at most: more are judged in these, evenly chosen
NULLS = 19  # draws from a Gaussian that a latent must beat: one in twenty does so by chance
DRAWN = 300  # samples of each, at most
_LEVEL, _DAMPING = 0.1, 0.85


@dataclass(frozen=True, kw_only=True, eq=False)
class Ace:
    """`score_T`: the larger, the better. `spaces`: the trials, by place, whose latents counted."""

    score_T: Scores
    spaces: tuple[int, ...]


def ace(found: Sequence[Partition]) -> Ace:
    """The scores of at least one trial. The same for the same partitions, in whatever process."""
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), SPACES)).astype(int))
    score_MT = np.array([scores_in(found[m].z_SZ, [one.c_S for one in found]) for m in chosen])
    kept = np.array([admissible(found[m], float(score_MT[i].max())) for i, m in enumerate(chosen)])
    if kept.any():  # else no latent shows more than one Gaussian would: all are as good, or as bad
        chosen, score_MT = chosen[kept], score_MT[kept]
    r_MM = agreement(score_MT)
    best: tuple[float, Scores, list[int]] | None = None
    for group in groups(r_MM):
        score_T = weights(r_MM[np.ix_(group, group)], score_MT.shape[1]) @ score_MT[group]
        if best is None or score_T.mean() > best[0]:
            best = float(score_T.mean()), score_T, group
    assert best is not None
    return Ace(score_T=best[1], spaces=tuple(int(chosen[m]) for m in best[2]))


def scores_in(z_SZ: NDArray[np.float64], partitions: Sequence[NDArray[np.int64]]) -> Scores:
    """(T,): the silhouette of each partition in one latent, at the cost of one matrix of distances and a product with it for each.
    -1 where there is nothing to compare."""
    if not np.isfinite(z_SZ).all():
        return np.full(len(partitions), WORST)
    distance_SS = cdist(z_SZ, z_SZ)
    return np.array([silhouette_in(distance_SS, c_S) for c_S in partitions])


def admissible(one: Partition, highest: float) -> bool:
    """Whether a latent shows more than one Gaussian does. `highest`: silhouette of any trial's clusters in it."""
    from sklearn.cluster import KMeans

    n_samples, n_clusters = min(len(one.c_S), DRAWN), len(np.unique(one.c_S))
    if not np.isfinite(one.z_SZ).all() or n_clusters < 2 or not np.ptp(one.z_SZ):
        return False
    rng = np.random.default_rng(0)
    spread_DZ = np.linalg.cholesky(np.cov(one.z_SZ.T).reshape(one.z_SZ.shape[1], -1) + 1e-9 * one.z_SZ.var() * np.eye(one.z_SZ.shape[1]))
    for _ in range(NULLS):
        null_SZ = rng.standard_normal((n_samples, one.z_SZ.shape[1])) @ spread_DZ.T
        c_S = KMeans(n_clusters, n_init=1, random_state=0).fit_predict(null_SZ)
        if scores_in(null_SZ, [c_S])[0] >= highest:
            return False
    return True


def agreement(score_MT: Scores) -> Scores:
    """(M, M): Spearman's correlation of what each two latents say of the trials; 0 where one says the same of all."""
    rank_MT = stats.rankdata(score_MT, axis=1)
    rank_MT -= rank_MT.mean(axis=1, keepdims=True)
    size_M = np.sqrt((rank_MT**2).sum(axis=1))
    r_MM = np.divide(rank_MT @ rank_MT.T, np.outer(size_M, size_M), out=np.zeros((len(size_M),) * 2), where=np.outer(size_M, size_M) > 0)
    np.fill_diagonal(r_MM, 1.0)
    clipped: Scores = np.clip(r_MM, -1.0, 1.0)
    return clipped


def groups(r_MM: Scores) -> list[list[int]]:
    """The latents in groups that rank trials alike, by density (HDBSCAN, of 1 minus the correlation); outliers are in none. One group of
    all where there is no density to find."""
    from sklearn.cluster import HDBSCAN

    everyone = [list(range(len(r_MM)))]
    if len(r_MM) < 3:
        return everyone
    label_M = HDBSCAN(min_cluster_size=2, metric="precomputed", allow_single_cluster=True, copy=True).fit_predict(1.0 - r_MM)
    return [np.flatnonzero(label_M == label).tolist() for label in sorted(set(label_M.tolist()) - {-1})] or everyone


def weights(r_MM: Scores, n_trials: int) -> Scores:
    """(M,), with the sum 1: the PageRank of the latents of a group, linked by their correlation where that is above 0 for certain (Holm, at
    the level 0.1)."""
    n_spaces = len(r_MM)
    edge_MM = np.zeros_like(r_MM)
    pairs = np.array([(i, j) for i in range(n_spaces) for j in range(i)]).reshape(-1, 2)
    if n_trials > 2 and len(pairs):
        r_P = r_MM[pairs[:, 0], pairs[:, 1]]
        with np.errstate(divide="ignore"):
            p_P = stats.t.sf(r_P * np.sqrt((n_trials - 2) / (1 - r_P**2)), n_trials - 2)
        order_P = np.argsort(p_P, kind="stable")
        passed = p_P[order_P] <= _LEVEL / (len(p_P) - np.arange(len(p_P)))
        for i, j in pairs[order_P[: int(np.argmin(passed)) if not passed.all() else len(passed)]]:
            edge_MM[i, j] = edge_MM[j, i] = r_MM[i, j]
    out_M = edge_MM.sum(axis=1)
    step_MM = np.where(out_M[:, None] > 0, edge_MM / np.where(out_M > 0, out_M, 1.0)[:, None], 1 / n_spaces)
    found: Scores = np.linalg.solve(np.eye(n_spaces) - _DAMPING * step_MM.T, np.full(n_spaces, (1 - _DAMPING) / n_spaces))
    found /= found.sum()
    return found

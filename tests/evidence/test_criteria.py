"""Criteria without labels: ACE and stability against brute force, ranks together, and what `--by` refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import networkx
import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from tuner.errors import UserError
from tuner.evidence.spaces import ace, admissible, agreement, groups, scores_in, weights
from tuner.evidence.stability import WORST, between, stability, within
from tuner.runs.partitions import Partition, partition_file, read_partition, write_partition


def trials(seed: int, n: int = 9, n_samples: int = 120) -> list[Partition]:
    """Clusters of four blobs, more and more of them wrong, each in a latent of its own; the last ones are noise."""
    rng = np.random.default_rng(seed)
    y_S = rng.integers(4, size=n_samples)
    found = []
    for i in range(n):
        wrong_S = rng.random(n_samples) < 0.08 * i
        c_S = np.where(wrong_S, rng.integers(4, size=n_samples), y_S)
        apart = 6.0 if i < n - 2 else 0.0
        z_SZ = apart * np.eye(4)[y_S] @ rng.normal(size=(4, 2 + i % 3)) + rng.normal(size=(n_samples, 2 + i % 3))
        found.append(Partition(c_S=c_S, z_SZ=z_SZ))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_latent_scores_every_partition_by_scikit_learns_silhouette(seed: int) -> None:
    found = trials(seed)
    found[3].c_S[:] = 3 * found[3].c_S  # numbers with gaps
    found[4].c_S[0] = 77  # alone in its cluster
    for one in found:
        expected = [silhouette_score(one.z_SZ, other.c_S) for other in found]
        assert scores_in(one.z_SZ, [other.c_S for other in found]) == pytest.approx(expected, abs=1e-10)


def test_where_there_is_nothing_to_compare_a_partition_scores_the_worst() -> None:
    z_SZ = np.random.default_rng(0).normal(size=(20, 3))
    nothing = [np.zeros(20, dtype=np.int64), np.arange(20)]
    assert scores_in(z_SZ, nothing).tolist() == [-1.0, -1.0]
    z_SZ[3, 1] = np.nan
    assert scores_in(z_SZ, [np.arange(20) % 2]).tolist() == [-1.0]


def brute_force(found: list[Partition]) -> np.ndarray:
    """ACE as its paper's algorithm states it, one pair at a time, with the libraries' silhouette, correlations and PageRank."""
    score_MT = np.array([[silhouette_score(one.z_SZ, other.c_S) for other in found] for one in found])
    kept = [m for m in range(len(found)) if admissible(found[m], score_MT[m].max())]
    score_MT = score_MT[kept]
    r_MM = np.array([[spearmanr(first, second).statistic for second in score_MT] for first in score_MT])
    best, best_T = -np.inf, np.zeros(len(found))
    for group in groups(r_MM):
        graph = networkx.Graph()
        graph.add_nodes_from(group)
        pairs = sorted(
            (spearmanr(score_MT[i], score_MT[j], alternative="greater").pvalue, i, j) for i, j in itertools.combinations(group, 2)
        )
        for place, (p, i, j) in enumerate(pairs):  # Holm's procedure
            if p > 0.1 / (len(pairs) - place):
                break
            graph.add_edge(i, j, weight=r_MM[i, j])
        rank = networkx.pagerank(graph, alpha=0.85, weight="weight", tol=1e-12)
        score_T = sum(rank[m] * score_MT[m] for m in group)
        if score_T.mean() > best:
            best, best_T = score_T.mean(), score_T
    return best_T


@pytest.mark.parametrize("seed", range(3))
def test_ace_is_the_papers_algorithm_step_by_step(seed: int) -> None:
    found = trials(seed)
    result = ace(found)
    assert result.score_T == pytest.approx(brute_force(found), abs=1e-9)
    assert not {7, 8} & set(result.spaces), "latents without clusters judge nobody"
    assert result.score_T.argmax() < 3 and np.corrcoef(result.score_T, np.arange(9))[0, 1] < -0.8


def test_ace_of_one_trial_and_of_latents_that_all_are_one_gaussian_is_still_an_average() -> None:
    one = trials(0)[0]
    assert ace([one]).score_T == pytest.approx([silhouette_score(one.z_SZ, one.c_S)])
    noise = trials(0)[-2:]
    pooled = np.mean([[silhouette_score(space.z_SZ, other.c_S) for other in noise] for space in noise], axis=0)
    assert ace(noise).score_T == pytest.approx(pooled)


def test_a_single_gaussian_is_not_admissible_and_clusters_are() -> None:
    rng = np.random.default_rng(0)
    z_SZ = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    split_S = KMeans(3, n_init=3, random_state=0).fit_predict(z_SZ).astype(np.int64)
    assert not admissible(Partition(c_S=split_S, z_SZ=z_SZ), silhouette_score(z_SZ, split_S) - 0.01)
    blobs = trials(0)[0]
    assert admissible(blobs, float(silhouette_score(blobs.z_SZ, blobs.c_S)))


def test_latents_that_rank_alike_are_a_group_and_weigh_by_their_agreement() -> None:
    rng = np.random.default_rng(1)
    base_T, other_T = rng.normal(size=12), rng.normal(size=12)
    score_MT = np.array([base_T + 0.05 * rng.normal(size=12) for _ in range(4)] + [other_T + 0.05 * rng.normal(size=12) for _ in range(3)])
    r_MM = agreement(score_MT)
    assert r_MM == pytest.approx(np.array([[spearmanr(a, b).statistic for b in score_MT] for a in score_MT]))
    assert sorted(groups(r_MM)) == [[0, 1, 2, 3], [4, 5, 6]]
    w_M = weights(r_MM[:4, :4], 12)
    assert w_M.sum() == pytest.approx(1) and w_M.argmin() == (r_MM[:4, :4].sum(1)).argmin()
    assert weights(np.eye(3), 12) == pytest.approx(np.full(3, 1 / 3)), "without links all weigh the same"


# --- stability ---------------------------------------------------------------------------------------------------------


def test_the_stability_between_seeds_is_the_mean_adjusted_rand_index_over_all_pairs() -> None:
    partitions = [one.c_S for one in trials(0)[:5]]
    expected = np.mean([adjusted_rand_score(a, b) for a, b in itertools.combinations(partitions, 2)])
    assert between(partitions) == pytest.approx(expected, abs=1e-12)


def test_the_stability_within_clusters_is_that_of_their_parts_one_cluster_at_a_time() -> None:
    seeds = trials(3)[:3]
    seeds[0].c_S[seeds[0].c_S == 3] = 0
    seeds[0].c_S[:4] = 3  # too few to be divided
    total = 0.0
    for i, one in enumerate(seeds):
        for cluster in set(one.c_S.tolist()):
            rows = [row for row in range(len(one.c_S)) if one.c_S[row] == cluster]
            if len(rows) < 10:
                continue
            alike = []
            for n_parts in (2, 3):
                order = np.random.default_rng(0).permutation(len(rows))
                own = KMeans(n_parts, n_init=3, random_state=0).fit(one.z_SZ[rows][order[0::2]]).predict(one.z_SZ[rows])
                for j in range(3):
                    if j != i:
                        theirs = (
                            KMeans(n_parts, n_init=3, random_state=1).fit(seeds[j].z_SZ[rows][order[1::2]]).predict(seeds[j].z_SZ[rows])
                        )
                        alike.append(adjusted_rand_score(own, theirs))
            total += len(rows) / len(one.c_S) * np.mean(alike)
    assert within(seeds) == pytest.approx(total / 3, abs=1e-12)
    assert stability(seeds) == pytest.approx(between([one.c_S for one in seeds]) - total / 3, abs=1e-12)


def test_too_few_clusters_are_seen_by_their_stable_parts() -> None:
    rng = np.random.default_rng(0)
    y_S = np.arange(200) % 4
    latents = [10 * np.eye(4)[y_S] + rng.normal(size=(200, 4)) for _ in range(3)]
    right = [Partition(c_S=y_S, z_SZ=z_SZ) for z_SZ in latents]
    merged = [Partition(c_S=y_S // 2, z_SZ=z_SZ) for z_SZ in latents]
    assert between([one.c_S for one in merged]) == 1.0 == between([one.c_S for one in right]), "stability alone does not see it"
    assert stability(right) > stability(merged) + 0.2
    assert stability([Partition(c_S=0 * y_S, z_SZ=z_SZ) for z_SZ in latents]) == WORST, "one cluster for all is no success"


def test_points_have_no_parts() -> None:
    y_S = np.arange(60) % 3
    seeds = [Partition(c_S=y_S, z_SZ=scale * np.eye(3)[y_S]) for scale in (1.0, 2.0)]
    assert within(seeds) == 0.0 and stability(seeds) == 1.0


def test_what_is_kept_of_a_trial_is_read_back_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    c_S, z_SZ = np.array([0, 2, 1]), np.ones((3, 2), dtype=np.float32)
    write_partition(partition_file(tmp_path, 7), c_S, z_SZ)
    found = read_partition(tmp_path, 7)
    assert found is not None and found.c_S.tolist() == [0, 2, 1] and found.z_SZ.tolist() == z_SZ.tolist()
    assert read_partition(tmp_path, 8) is None
    for content in (b"no archive", partition_file(tmp_path, 7).read_bytes()[:40]):
        partition_file(tmp_path, 7).write_bytes(content)
        with pytest.raises(UserError, match=r"007\.safetensors is damaged: .* Remove it, and trial 7 is left out"):
            read_partition(tmp_path, 7)

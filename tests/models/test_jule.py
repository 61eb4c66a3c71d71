"""JULE's graph, affinities and merges against matrices written out, its triplets one by one."""

import dataclasses

import numpy as np
import pytest
import torch
from tuner.models._agglomerate import FEW, Merging, agglomerated, chains, weights

from tuner.draws import Draws
from tuner.errors import UserError
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("jule")
DATA = blobs(n_samples=60)
RNG = np.random.default_rng(0)


def graph(n, m, rng=RNG):
    """Points, and their rows and distances of neighbours by sorting all distances."""
    z_NZ = rng.normal(size=(n, 3))
    d_NN = np.linalg.norm(z_NZ[:, None] - z_NZ, axis=-1)
    np.fill_diagonal(d_NN, np.inf)
    rows_NM = d_NN.argsort(1)[:, :m]
    return z_NZ, rows_NM, np.take_along_axis(d_NN, rows_NM, 1)


def affinity(w_NN, cluster_N, i, j):
    """A(i -> j) + A(j -> i) from blocks of the whole matrix."""
    w_ij, w_ji = w_NN[cluster_N == i][:, cluster_N == j], w_NN[cluster_N == j][:, cluster_N == i]
    return (w_ij @ w_ji).sum() / len(w_ij) ** 2 + (w_ji @ w_ij).sum() / len(w_ji) ** 2


def test_vectors_are_refused_where_a_convolution_is_asked_for():
    data = dataclasses.replace(DATA, shape=(16,))
    with pytest.raises(UserError, match=r"'network: conv' needs images .* but a sample's shape is \(16,\)\. Say mlp\."):
        MODEL.networks(MODEL.hyper(dict(MODEL.tiny) | {"network": "conv"}), data.spec)


def test_the_network_s_graph_is_that_of_the_nearest_neighbours():
    z_NZ, rows_NM, gap_NM = graph(40, 6)
    rows, w_NN = MODEL.graph(torch.as_tensor(z_NZ), MODEL.hyper({"n_neighbors": 6}))
    assert np.array_equal(rows, rows_NM)
    s2, want_NN = (gap_NM**2).mean(), np.zeros((40, 40))
    for i in range(40):
        want_NN[i, rows_NM[i]] = np.exp(-(gap_NM[i] ** 2) / s2)
    assert np.allclose(w_NN.toarray(), want_NN, rtol=1e-9)


def test_chains_follow_the_nearest_neighbour():
    #          0 -> 1 -> 2 <-> 3, 4 <-> 5, 6 -> 0
    assert chains(np.array([1, 2, 3, 2, 5, 4, 0])).tolist() == [0, 0, 0, 0, 1, 1, 0]
    long = chains(np.arange(1, 121) % 120)
    assert np.bincount(long).tolist() == [68, 52], "51 samples and the one they end at; the last 16 run into the first chain"


def test_affinities_are_sums_over_blocks_of_the_graph():
    z_NZ, rows_NM, gap_NM = graph(30, 8)
    cluster_N, w_NN = np.arange(30) % 5, weights(rows_NM, gap_NM)
    state = Merging(z_NZ, cluster_N, w_NN, 3)
    want = [[affinity(w_NN.toarray(), cluster_N, i, j) for j in range(5)] for i in range(5)]
    assert np.allclose(state.affinities(np.arange(5)) + np.diag(np.diag(want)), want, rtol=1e-12)


def merged_by_matrices(w_NN, cluster_N, n_merges, local):
    """The same merges from whole matrices of P, by the fast update, and of affinities."""
    C = cluster_N.max() + 1
    s_NC = np.eye(C)[cluster_N]
    p_CC = s_NC.T @ ((w_NN @ s_NC) * (w_NN.T @ s_NC))
    np.fill_diagonal(p_CC, 0)
    alive, cluster_N = list(range(C)), cluster_N.copy()
    for _ in range(n_merges):
        n = np.array([(cluster_N == k).sum() for k in alive])
        p = p_CC[np.ix_(alive, alive)]
        a_cc = p / n[None, :] ** 2 + p.T / n[:, None] ** 2
        best = -np.sort(-a_cc, axis=1)[:, :local]
        score = best[:, 0] + ((best[:, :1] - best[:, 1:]).mean(1) if len(alive) > FEW else 0)
        i = int(score.argmax())
        a, b = sorted((alive[i], alive[int(a_cc[i].argmax())]))
        p_CC[:, a] += p_CC[:, b]
        p_CC[a] += p_CC[b]
        p_CC[a, a] = 0
        cluster_N[cluster_N == b] = a
        alive.remove(b)
    return np.unique(cluster_N, return_inverse=True)[1]


@pytest.mark.parametrize(("n", "n_merges"), [(60, 12), (400, 30), (400, 110)])
def test_the_pair_that_stands_out_most_is_merged_first(n, n_merges):
    z_NZ, rows_NM, gap_NM = graph(n, 12, np.random.default_rng(n))
    w_NN, cluster_N = weights(rows_NM, gap_NM), chains(rows_NM[:, 0])
    if n == 400:
        cluster_N = np.arange(400) // 3  # 134 clusters: more than FEW
    got_N = agglomerated(z_NZ, cluster_N, w_NN, n_merges, 5)
    assert got_N.max() + 1 == cluster_N.max() + 1 - n_merges
    assert np.array_equal(got_N, merged_by_matrices(w_NN.toarray(), cluster_N, n_merges, 5))


def test_without_any_affinity_the_smallest_cluster_joins_the_nearest():
    z_NZ = np.array([[0.0], [0.1], [0.2], [10.0], [10.1], [30.0], [30.1], [30.2], [30.3]])
    rows = np.array([[1], [2], [1], [4], [3], [6], [5], [8], [7]])
    w_NN, cluster_N = weights(rows, np.ones((9, 1))), np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    assert agglomerated(z_NZ, cluster_N, w_NN, 1, 5).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_the_loss_is_the_mean_over_all_triplets_one_by_one():
    step = step_of(MODEL, DATA, n_negatives=3, pull=1.4, margin=0.5)
    cluster_N = torch.arange(60) % 4
    step.engine.put(0, {"cluster_N": cluster_N})
    got = float(MODEL.tell_apart(step.net, step.batch, step.values, step.noise)["triplet"])
    z = torch.nn.functional.normalize(step.net.still.encoder(step.batch.x_BD), dim=-1).detach()
    c, order, costs = cluster_N[step.batch.rows_B].tolist(), step.noise.order_BB.tolist(), []
    for a in range(12):
        others = sorted((n for n in range(12) if c[n] != c[a]), key=lambda n: order[a][n])[:3]
        for p in range(a + 1, 12):
            if c[p] == c[a]:
                costs += [max(0.0, 1.4 * float((z[a] - z[p]).square().sum()) - float((z[a] - z[n]).square().sum()) + 0.5) for n in others]
    assert len(set(c)) == 2
    assert got == pytest.approx(sum(costs) / len(costs), rel=1e-9)


def test_a_share_of_the_clusters_is_merged_once_a_period_until_k_are_left():
    step = step_of(MODEL, DATA, period=2, unroll=0.3, n_clusters=3)
    step.engine.put(0, MODEL.begin(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    seen = [int(step.net.n_left)]
    for _ in range(12):
        step.engine.put(0, MODEL.merge(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
        seen.append(int(step.net.n_left))
        assert seen[-1] == int(step.net.cluster_N.max()) + 1
    want, n = [seen[0]], seen[0]
    for epoch in range(1, 13):
        n -= min(-(-3 * n // 10), n - 3) if epoch % 2 == 0 else 0
        want.append(n)
    assert seen == want
    assert MODEL.few_enough(step.still, DATA, step.values, 12) == (seen[-1] == 3)


def test_a_new_sample_has_the_cluster_of_the_nearest_known_one():
    step = step_of(MODEL, DATA)
    step.engine.put(0, MODEL.find(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    assert torch.equal(MODEL.assign(step.still, DATA.x_ND, step.values).argmax(-1), step.net.cluster_N)

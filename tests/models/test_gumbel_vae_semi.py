"""The two losses that labels add to the Gumbel-softmax VAE, pair by pair and neighbour by neighbour; its bound is `gumbel_vae`'s."""

import math
from collections import Counter

import pytest
import torch
from torch.distributions import Categorical
from tuner.models._gumbel import bound
from tuner.models.gumbel_vae_semi import lifted, triplet, vote

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("gumbel_vae_semi")
DATA = blobs(n_samples=48)
B, K = 12, 3


def features(n, dim, seed):
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def votes_by_counting(f_BF, f_LF, y_L, k):
    for f in f_BF.tolist():
        near = sorted(range(len(y_L)), key=lambda i: math.dist(f, f_LF[i].tolist()))[:k]
        counts = Counter(int(y_L[i]) for i in near)
        most = {c for c, n in counts.items() if n == max(counts.values())}
        yield most, int(y_L[near[0]])


@pytest.mark.parametrize("k", [1, 3, 4, 7])
def test_a_sample_takes_the_class_of_most_of_its_nearest_neighbours(k):
    f_BF, f_LF, y_L = features(60, 5, 0), features(20, 5, 1), torch.arange(20) % 4
    for got, (most, _) in zip(vote(f_BF, f_LF, y_L, k, 4).tolist(), votes_by_counting(f_BF, f_LF, y_L, k), strict=True):
        assert got in most


def test_a_tie_goes_to_the_nearer_neighbour():
    f_BF, f_LF, y_L = features(60, 5, 0), features(20, 5, 1), torch.arange(20) % 4
    tied = 0
    for got, (most, nearest) in zip(vote(f_BF, f_LF, y_L, 2, 4).tolist(), votes_by_counting(f_BF, f_LF, y_L, 2), strict=True):
        tied += len(most) == 2
        assert got == nearest or len(most) == 1
    assert tied > 10


def test_more_neighbours_than_there_are_labels_means_all_of_them():
    f_BF, f_LF = features(4, 2, 0), features(3, 2, 1)
    assert vote(f_BF, f_LF, torch.tensor([2, 0, 2]), 7, 3).tolist() == [2, 2, 2, 2]


def lifted_by_loops(f_NF, y_N, margin):
    """Equation 4 of Oh Song et al., over the pairs i < j of a class."""
    d = [[math.dist(a, b) for b in f_NF.tolist()] for a in f_NF.tolist()]
    pairs = [(i, j) for i in range(len(y_N)) for j in range(i + 1, len(y_N)) if y_N[i] == y_N[j]]
    total = 0.0
    for i, j in pairs:
        others = sum(math.exp(margin - d[a][k]) for a in (i, j) for k in range(len(y_N)) if y_N[k] != y_N[a])
        total += max(0.0, math.log(others) + d[i][j]) ** 2
    return total / (2 * len(pairs))


@pytest.mark.parametrize("margin", [0.2, 0.9])
def test_metric_is_the_lifted_structure_loss_pair_by_pair(margin):
    f_NF, y_N = features(14, 3, 0), torch.arange(14) % 3
    assert float(lifted(f_NF, y_N, margin)) == pytest.approx(lifted_by_loops(f_NF, y_N, margin), rel=1e-9)


def triplet_by_loops(f_NF, y_N, margin):
    d = [[math.dist(a, b) ** 2 for b in f_NF.tolist()] for a in f_NF.tolist()]
    n, costs = len(y_N), []
    for a, p in ((a, p) for a in range(n) for p in range(n) if a != p and y_N[a] == y_N[p]):
        others = [d[a][k] for k in range(n) if y_N[k] != y_N[a]]
        negative = min((x for x in others if x > d[a][p]), default=max(others))
        costs.append(max(0.0, d[a][p] + margin - negative))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("margin", [0.2, 0.9])
def test_triplet_is_the_semi_hard_triplet_loss_pair_by_pair(margin):
    f_NF, y_N = features(14, 3, 0), torch.arange(14) % 3
    assert float(triplet(f_NF, y_N, margin)) == pytest.approx(triplet_by_loops(f_NF, y_N, margin), rel=1e-9)


@pytest.mark.parametrize("metric", [lifted, triplet])
@pytest.mark.parametrize("y_N", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_metric_is_finite_where_there_is_no_pair_or_no_other_class_or_the_same_sample_twice(y_N, metric):
    f_NF = features(4, 3, 0)
    f_NF[1] = f_NF[0]
    f_NF.requires_grad_()
    loss = metric(f_NF, torch.tensor(y_N), 0.5)
    (grad,) = torch.autograd.grad(loss, f_NF)
    assert loss.detach() == 0
    assert grad.isfinite().all()


def test_the_terms_are_of_the_batch_and_the_labelled_samples_together():
    step = step_of(MODEL, DATA)
    terms = MODEL.learn(step.net, step.batch, step.values, step.noise)
    (x_LD, y_L), x_BD = step.batch.labelled, step.batch.x_BD
    x_ND = torch.cat([x_BD, x_LD])
    f_NF = step.net.still.features(x_ND)
    y_N = torch.cat([vote(f_NF[:B], f_NF[B:], y_L, 3, K), y_L])
    want, logits_NK = bound(step.net, x_ND, f_NF, step.values, step.noise)
    for term in ("recon", "gaussian", "categorical"):
        assert float(terms[term]) == pytest.approx(float(want[term]), rel=1e-12)
    log_p = [float(Categorical(logits=logits).log_prob(y)) for logits, y in zip(logits_NK, y_N, strict=True)]
    assert float(terms["assign"]) == pytest.approx(-sum(log_p) / len(log_p), rel=1e-12)
    # A labelled sample can stand in the batch, too: a distance of 0 is then 1e-6 instead.
    assert float(terms["metric"]) == pytest.approx(lifted_by_loops(f_NF, y_N, 0.5), rel=1e-7)


def test_the_rate_is_halved_every_thirty_epochs():
    h = MODEL.hyper()
    assert [MODEL.cool(h, epoch)["lr"] for epoch in (1, 30, 31, 61)] == [0.001, 0.001, 0.0005, 0.00025]
    assert MODEL.cool(h, 11)["temperature"] == pytest.approx(math.exp(-0.0693))

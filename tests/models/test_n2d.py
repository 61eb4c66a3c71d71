"""UMAP's graph and its steps, and N2D's points, against independent statements."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from tuner.models._manifold import CLIP, PUSHES, curve, memberships, neighbours, one_pass, pull, push, spread, united

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("n2d")
DATA = blobs(n_samples=60)
G = torch.Generator().manual_seed(0)
Z_NZ = torch.randn(40, 3, generator=G, dtype=torch.float64)


def test_neighbours_are_the_nearest_others_and_equal_codes_are_no_reason_to_be_one_s_own():
    rows_NM, gap_NM = neighbours(Z_NZ, 6)
    gap, rows = NearestNeighbors(n_neighbors=6).fit(Z_NZ.numpy()).kneighbors()
    assert np.array_equal(rows_NM.numpy(), rows[:, :5])
    assert np.allclose(gap_NM.numpy(), gap[:, :5])
    rows_NM, gap_NM = neighbours(torch.zeros(9, 2), 4)
    assert rows_NM.shape == (9, 3)
    assert not (rows_NM == torch.arange(9)[:, None]).any()
    assert not gap_NM.any()


def test_memberships_fall_from_the_nearest_on_and_sum_to_a_logarithm():
    gap_NM = neighbours(Z_NZ, 16)[1]
    w = memberships(gap_NM).numpy()
    assert np.allclose(w.sum(1), np.log2(16), rtol=1e-9)
    assert np.array_equal(w[:, 0], np.ones(40))
    over = (gap_NM - gap_NM[:, :1]).numpy()[:, 1:]
    sigma = -over / np.log(w[:, 1:])
    assert np.allclose(sigma, sigma[:, :1]), "one sigma for each sample"


def test_the_two_ways_of_an_edge_are_united():
    rows_NM, gap_NM = neighbours(Z_NZ, 6)
    w_NM = memberships(gap_NM)
    w_NN = np.zeros((40, 40))
    w_NN[np.arange(40)[:, None], rows_NM.numpy()] = w_NM.numpy()
    want_NN = w_NN + w_NN.T - w_NN * w_NN.T
    got_NN = np.zeros((40, 40))
    got_NN[np.arange(40)[:, None], rows_NM.numpy()] = united(rows_NM, w_NM).numpy()
    assert np.allclose(got_NN + got_NN.T, 2 * want_NN, rtol=1e-12), "each edge once for each way in which it is taken"


@pytest.mark.parametrize(("min_dist", "a", "b"), [(0.1, 1.577, 0.895), (0.0, 1.932, 0.791)])
def test_the_curve_has_the_numbers_that_umap_learn_is_known_for(min_dist, a, b):
    assert curve(min_dist) == pytest.approx((a, b), abs=2e-3)


def test_steps_are_the_gradients_of_the_cross_entropy():
    a, b = 1.5, 0.9
    gap_BE = (0.5 * torch.randn(30, 2, generator=G, dtype=torch.float64)).requires_grad_()
    near_B = 1 / (1 + a * gap_BE.square().sum(-1) ** b)
    (towards,) = torch.autograd.grad(near_B.log().sum(), gap_BE, retain_graph=True)
    assert torch.allclose(pull(gap_BE.detach(), a, b), towards.clamp(-CLIP, CLIP))
    (away,) = torch.autograd.grad(torch.log1p(-near_B).sum(), gap_BE)
    d2_B1 = gap_BE.detach().square().sum(-1, keepdim=True)
    assert torch.allclose(push(gap_BE.detach(), a, b), (away * d2_B1 / (0.001 + d2_B1)).clamp(-CLIP, CLIP))
    assert not pull(torch.zeros(1, 2), a, b).any()


def test_a_pass_takes_every_edge_with_its_probability():
    rows_NM = neighbours(Z_NZ, 4)[0]
    edge_NM = torch.rand(40, 3, generator=G, dtype=torch.float64)
    y, ab, rate = Z_NZ[:, :2].clone().numpy(), (1.5, 0.9), 0.3
    got = one_pass(Z_NZ[:, :2], rows_NM, edge_NM, rate, ab, Draws(0, like=Z_NZ))
    g = Draws(0, like=Z_NZ)
    taken = (g.uniform(40, 3) < edge_NM / edge_NM.max()).numpy()
    for m in range(3):
        before, far = y.copy(), g.integers(40, 40, PUSHES).numpy()
        for i in np.flatnonzero(taken[:, m]):
            j = int(rows_NM[i, m])
            step = rate * pull(torch.as_tensor(before[i] - before[j])[None], *ab)[0].numpy()
            y[i] += step
            y[j] -= step
        near = y.copy()
        for i in np.flatnonzero(taken[:, m]):
            y[i] += sum(rate * push(torch.as_tensor(near[i] - near[k])[None], *ab)[0].numpy() for k in far[i])
    assert np.allclose(got.numpy(), y, rtol=1e-10)
    assert torch.equal(one_pass(Z_NZ, rows_NM, edge_NM, 0.0, ab, Draws(0, like=Z_NZ)), Z_NZ)


def test_points_start_from_principal_components():
    got = spread(Z_NZ, 2, torch.zeros(40, 2, dtype=torch.float64)).numpy()
    want = PCA(2).fit_transform(Z_NZ.numpy())
    assert np.allclose(np.abs(got), 10 * np.abs(want) / np.abs(want).max())
    wide = spread(Z_NZ, 5, torch.zeros(40, 5, dtype=torch.float64))
    assert wide.shape == (40, 5)
    assert not wide[:, 3:].any()


def laid_out(**more):
    step = step_of(MODEL, DATA, **more)
    step.engine.put(0, MODEL.start(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    step.engine.put(0, MODEL.lay_out(step.still, DATA, step.values, Draws(1, like=DATA.x_ND)))
    return step


def test_a_known_sample_lies_at_its_own_point_and_a_new_one_among_its_neighbours():
    step = laid_out()
    assert torch.allclose(MODEL.point(step.still, DATA.x_ND), step.net.points_NE, atol=1e-5)
    new_BD = blobs(n_samples=9, seed=0).x_ND + 0.01
    got = MODEL.point(step.still, new_BD).numpy()
    codes, z = step.net.codes_NZ.numpy(), step.still.encoder(new_BD).numpy()
    for b in range(9):
        d = np.linalg.norm(codes - z[b], axis=1)
        near = np.argsort(d)[: step.h.n_neighbors - 1]
        w = 1 / (d[near] + 1e-9)
        assert np.allclose(got[b], w @ step.net.points_NE.numpy()[near] / w.sum(), rtol=1e-6)


def test_the_rate_falls_to_nothing():
    h = MODEL.hyper({"epochs": 4, "rate": 2.0})
    assert [MODEL.fall(h, epoch)["rate"] for epoch in (1, 2, 3, 4)] == [2.0, 1.5, 1.0, 0.5]

"""k-means as tensor code against scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from tuner import clustering
from tuner.clustering import k_means, k_means_plus_plus, lloyd, nearest, ranked, sq_dist, whitening
from tuner.data.datasets import Data
from tuner.draws import Draws
from tuner.model import load_model
from tuner.training.loop import train

X_ND = torch.as_tensor(load_digits().data / 16)


def draws(*shape, seed=0):
    return Draws(seed, like=X_ND).exponential(*shape)


def test_distances_are_those_of_brute_force():
    centers_KD = X_ND[:5] + 0.01
    want = torch.stack([((X_ND - c) ** 2).sum(1) for c in centers_KD], 1)
    assert torch.allclose(sq_dist(X_ND, centers_KD), want)
    assert torch.equal(nearest(X_ND, centers_KD).argmax(1), want.argmin(1))


def test_lloyd_from_the_same_centres_ends_where_scikit_learn_ends():
    start_KD = X_ND[:10]
    theirs = KMeans(10, init=start_KD.numpy(), n_init=1, tol=0, max_iter=300).fit(X_ND.numpy())
    ours_IKD = start_KD[None]
    for _ in range(300):
        ours_IKD = lloyd(X_ND, ours_IKD)
    assert np.allclose(ours_IKD[0].numpy(), theirs.cluster_centers_)


def test_the_best_of_several_starts_is_as_good_as_scikit_learns():
    def inertia(centers_KD):
        return float(sq_dist(X_ND, torch.as_tensor(centers_KD)).amin(1).sum())

    theirs = KMeans(10, n_init=10, random_state=0).fit(X_ND.numpy())
    ours = k_means(X_ND, draws(10, 10, len(X_ND)))
    assert inertia(ours) == pytest.approx(theirs.inertia_, rel=0.005)


def test_in_pieces_it_is_the_same_but_for_rounding(monkeypatch):
    e_IKN, centers_IKD = draws(4, 10, len(X_ND)), X_ND[:40].reshape(4, 10, 64)
    whole = (k_means_plus_plus(X_ND, e_IKN), lloyd(X_ND, centers_IKD), ranked(X_ND, centers_IKD), k_means(X_ND, e_IKN))
    monkeypatch.setattr(clustering, "WHOLE", 1000)
    monkeypatch.setattr(clustering, "_PIECE", 5000)
    pieces = (k_means_plus_plus(X_ND, e_IKN), lloyd(X_ND, centers_IKD), ranked(X_ND, centers_IKD), k_means(X_ND, e_IKN))
    assert torch.equal(whole[0], pieces[0]) and torch.equal(whole[2], pieces[2])
    assert torch.allclose(whole[1], pieces[1], rtol=1e-12) and torch.allclose(whole[3], pieces[3], rtol=1e-12)


def test_the_model_moves_every_start_to_its_end_and_keeps_the_best():
    model, data = load_model("kmeans"), Data(name="digits", x_ND=X_ND, y_N=None, shape=(64,), test=None)
    states = [e.snapshot().tensors for e in train(model, model.hyper({"n_init": 4, "epochs": 60}), data, seed=0)]
    fits = [KMeans(10, init=start_KD.numpy(), n_init=1, tol=0).fit(X_ND.numpy()) for start_KD in states[0]["starts_IKD"]]
    assert len({round(fit.inertia_) for fit in fits}) > 1
    assert np.allclose(states[-1]["starts_IKD"][0].numpy(), min(fits, key=lambda fit: fit.inertia_).cluster_centers_)


def test_of_sets_that_differ_in_their_order_alone_the_first_one_leads():
    best_KD = k_means(X_ND, draws(10, 10, len(X_ND)))
    orders = [torch.randperm(10, generator=torch.Generator().manual_seed(i)) for i in range(20)]
    for x_ND in (X_ND, X_ND.float()):
        sets_IKD = torch.stack([x_ND[:10], *(best_KD.to(x_ND.dtype)[order] for order in orders)])
        nudged_IKD = sets_IKD * (1 + torch.finfo(x_ND.dtype).eps * torch.randn(21, 1, 1, generator=torch.Generator().manual_seed(0)))
        assert torch.equal(ranked(x_ND, nudged_IKD), torch.cat([nudged_IKD[1:], nudged_IKD[:1]]))


def test_a_centre_without_samples_stays():
    centers_KD = torch.cat([X_ND[:3], torch.full((1, 64), 100.0)])
    assert torch.equal(lloyd(X_ND, centers_KD[None])[0, 3], centers_KD[3])


def test_starting_centres_are_samples_drawn_by_squared_distance():
    z_NZ = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    centers_IKZ = k_means_plus_plus(z_NZ, draws(30_000, 2, 3))[..., 0]
    first = torch.tensor([(centers_IKZ[:, 0] == z).double().mean() for z in z_NZ[:, 0]])
    assert torch.allclose(first, torch.full((3,), 1 / 3, dtype=first.dtype), atol=0.01)
    after_0 = centers_IKZ[centers_IKZ[:, 0] == 0, 1]
    assert float((after_0 == 3).double().mean()) == pytest.approx(0.9, abs=0.01)  # 9 : 1


def test_more_clusters_than_distinct_samples_leave_no_nan():
    z_NZ = torch.zeros(6, 2, dtype=torch.float64)
    assert k_means(z_NZ, draws(2, 4, 6)).isfinite().all()


def apart(z_NZ):
    return (z_NZ[:, None] - z_NZ).square().sum(-1).numpy()


def test_whitened_codes_lie_as_far_apart_as_scikit_learns_and_dead_directions_vanish():
    g = torch.Generator().manual_seed(0)
    z_NZ = torch.randn(50, 4, generator=g, dtype=torch.float64) @ torch.diag(torch.tensor([10.0, 1.0, 1e-2, 1.0]).double())
    mean_Z, whiten_ZZ = whitening(z_NZ)
    ours = (z_NZ - mean_Z) @ whiten_ZZ
    theirs = PCA(whiten=True).fit_transform(z_NZ.numpy()) * math.sqrt(50 / 49)
    assert np.allclose(np.cov(ours.numpy().T, bias=True), np.eye(4), atol=1e-9)
    assert np.allclose(apart(ours), apart(torch.as_tensor(theirs)), atol=1e-9)
    flat_NZ = torch.cat([z_NZ, z_NZ[:, :1] * 2], -1)
    mean_Z, whiten_ZZ = whitening(flat_NZ)
    again = (flat_NZ - mean_Z) @ whiten_ZZ
    assert np.allclose(apart(again), apart(ours), atol=1e-6)


def test_codes_that_are_not_finite_are_not_whitened_and_raise_nothing():
    z_NZ = torch.randn(20, 3)
    z_NZ[4, 1] = torch.inf
    _, matrix_ZZ = whitening(z_NZ)
    assert torch.equal(matrix_ZZ, torch.eye(3))

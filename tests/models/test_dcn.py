"""DCN's two terms and its centres' steps against independent statements."""

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("dcn")
DATA = blobs(n_samples=24)


def placed(**more):
    step = step_of(MODEL, DATA, **more)
    step.engine.put(0, MODEL.place(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    return step


def test_recon_sums_over_features_and_averages_over_the_batch():
    step = placed()
    x = step.batch.x_BD
    got = MODEL.reconstruct(step.net, step.batch, step.values, step.noise)["recon"]
    assert float(got) == pytest.approx(np.mean(((step.net.decoder(step.net.encoder(x)).numpy() - x.numpy()) ** 2).sum(1)), rel=1e-12)


def test_kmeans_is_half_the_squared_distance_to_the_centre_that_the_sample_had_before():
    step = placed()
    cluster_N = (step.engine.tensors["cluster_N"] + 1) % 3  # not the nearest ones
    step.engine.put(0, {"cluster_N": cluster_N})
    z, m = step.net.encoder(step.batch.x_BD).numpy(), step.net.centers_KZ.numpy()
    want = np.mean([0.5 * sum((z[b] - m[cluster_N[row]]) ** 2) for b, row in enumerate(step.batch.rows_B)])
    assert float(MODEL.reconstruct(step.net, step.batch, step.values, step.noise)["kmeans"]) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("first_count", [0.0, 100.0])
def test_centres_move_sample_after_sample_by_one_over_their_count(first_count):
    step = placed(first_count=first_count)
    centers_KZ = step.engine.tensors["centers_KZ"] + 0.3 * torch.randn(
        3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    step.engine.put(0, {"centers_KZ": centers_KZ})
    z = step.net.encoder(step.batch.x_BD).numpy()
    nearest = pairwise_distances_argmin(z, centers_KZ.numpy())
    m, count = centers_KZ.clone().numpy(), [first_count] * 3
    for i, k in enumerate(nearest):
        count[k] += 1
        m[k] -= (m[k] - z[i]) / count[k]
    moved = MODEL.move(step.net, step.batch, step.values, step.noise)
    assert np.allclose(moved["centers_KZ"].numpy(), m, rtol=1e-12)
    assert np.allclose(moved["count_K"].numpy(), count)
    assert np.array_equal(moved["cluster_N"][step.batch.rows_B].numpy(), nearest)


def test_samples_outside_the_batch_keep_their_cluster():
    step = placed()
    before = step.engine.tensors["cluster_N"].clone()
    step.engine.put(0, {"centers_KZ": step.engine.tensors["centers_KZ"].roll(1, 0)})
    after = MODEL.move(step.net, step.batch, step.values, step.noise)["cluster_N"]
    outside = torch.ones(24, dtype=torch.bool)
    outside[step.batch.rows_B] = False
    assert torch.equal(after[outside], before[outside])
    assert not torch.equal(after, before)


def test_at_the_start_every_sample_belongs_to_its_nearest_centre():
    step = placed()
    nearest = pairwise_distances_argmin(step.net.encoder(DATA.x_ND).numpy(), step.net.centers_KZ.numpy())
    assert np.array_equal(step.net.cluster_N.numpy(), nearest)
    assert torch.equal(step.net.count_K, torch.full((3,), 100.0, dtype=torch.float64))

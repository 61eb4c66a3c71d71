"""IDEC's two terms against independent statements."""

import numpy as np
import pytest
import torch
from tuner.models._autoencoder import place_centers
from tuner.models._self_taught import renew_target

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("idec")
DATA = blobs(n_samples=24)


@pytest.fixture
def step():
    step = step_of(MODEL, DATA)
    step.engine.put(0, place_centers(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    step.engine.put(0, renew_target(step.still, DATA, step.values, None))
    return step


def test_recon_is_the_mean_squared_error_over_all_features(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)["recon"]
    x = step.batch.x_BD
    assert float(got) == pytest.approx(np.mean((step.net.decoder(step.net.encoder(x)).numpy() - x.numpy()) ** 2), rel=1e-12)


def test_kl_sums_over_clusters_and_averages_over_the_batch(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)["kl"]
    z, m = step.net.encoder(DATA.x_ND).numpy(), step.net.centers_KZ.numpy()
    kernel = np.array([[1 / (1 + np.sum((a - b) ** 2)) for b in m] for a in z])
    q = kernel / kernel.sum(1, keepdims=True)
    p = q**2 / q.sum(0)
    p /= p.sum(1, keepdims=True)
    want = np.mean([sum(p[i, k] * np.log(p[i, k] / q[i, k]) for k in range(3)) for i in step.batch.rows_B])
    assert float(got) == pytest.approx(want, rel=1e-9)


def test_the_papers_gamma_is_a_tenth():
    assert (MODEL.hyper().weights["kl"], MODEL.hyper().weights["recon"]) == (0.1, 1.0)


def test_without_kl_nothing_but_the_auto_encoder_trains(step):
    leaves = [step.engine.tensors["centers_KZ"].requires_grad_(), *step.networks["encoder"].parameters()]
    for leaf in leaves:
        leaf.requires_grad_()
    terms = MODEL.sharpen(step.net, step.batch, step.values, step.noise)
    by_recon = torch.autograd.grad(terms["recon"], leaves, allow_unused=True, retain_graph=True)
    by_kl = torch.autograd.grad(terms["kl"], leaves)
    assert by_recon[0] is None
    assert all(g.abs().sum() > 0 for g in by_kl)

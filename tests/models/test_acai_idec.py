"""What the interpolation critic adds to IDEC, against loops over samples."""

import numpy as np
import pytest
import torch
from tuner.models._autoencoder import autoencode, place_centers
from tuner.models._mixing import autoencode_mixed
from tuner.models._self_taught import renew_target

from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("acai_idec")
DATA = blobs(n_samples=24)
B = 12


@pytest.fixture
def step():
    step = step_of(MODEL, DATA)
    step.engine.put(0, place_centers(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    step.engine.put(0, renew_target(step.still, DATA, step.values, None))
    return step


def mixtures(step):
    """The paper's: z + a (z_flipped - z), a in [0, 1/2], decoded; a is the share of the sample opposite."""
    z, a = step.net.encoder(step.batch.x_BD).numpy(), step.noise.share_B1.numpy()[::-1]
    return step.net.decoder(torch.as_tensor(z + a * (z[::-1] - z))).numpy()


def test_a_mixture_is_to_look_like_the_sample_with_the_larger_share(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)
    x = step.batch.x_BD.numpy()
    assert float(got["mix"]) == pytest.approx(np.mean([(m - own) ** 2 for m, own in zip(mixtures(step), x, strict=True)]), rel=1e-12)
    assert float(got["recon"]) == pytest.approx(np.mean((step.net.decoder(step.net.encoder(step.batch.x_BD)).numpy() - x) ** 2), rel=1e-12)


def test_the_critic_is_to_score_every_mixture_zero(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)["interp"]
    scores = [step.net.critic(torch.as_tensor(m[None])).numpy().mean() for m in mixtures(step)]
    assert float(got) == pytest.approx(np.mean(np.square(scores)), rel=1e-12)


def test_kl_is_a_mean_over_the_batch_of_sums_over_clusters(step):
    got = MODEL.sharpen(step.net, step.batch, step.values, step.noise)["kl"]
    p, z, m = step.net.target_NK[step.batch.rows_B].numpy(), step.net.encoder(step.batch.x_BD).numpy(), step.net.centers_KZ.numpy()
    kernel = np.array([[1 / (1 + np.sum((a - b) ** 2)) for b in m] for a in z])
    q = kernel / kernel.sum(1, keepdims=True)
    assert float(got) == pytest.approx(np.mean([sum(p[i] * np.log(p[i] / q[i])) for i in range(B)]), rel=1e-9)


def test_pre_training_mixes_clean_codes_and_rebuilds_from_dropped_inputs():
    step = step_of(MODEL, DATA, phase=0, input_dropout=0.4)
    got = autoencode_mixed(step.net, step.batch, step.values, step.noise)
    assert set(got) == {"recon_ae", "interp_ae", "mix_ae"}
    assert got["recon_ae"] == autoencode(step.net, step.batch, step.values, step.noise)["recon_ae"]
    x = step.batch.x_BD.numpy()
    assert float(got["mix_ae"]) == pytest.approx(np.mean((mixtures(step) - x) ** 2), rel=1e-12)


def test_terms_that_weigh_nothing_are_not_computed():
    step = step_of(MODEL, DATA, **{"weights.interp": 0.0, "weights.mix": 0.0})
    assert set(MODEL.sharpen(step.net, step.batch, step.values, step.noise)) == {"recon", "kl"}


def test_pre_training_depends_on_what_the_critic_adds():
    (pretrain, _) = MODEL.phases(MODEL.hyper())
    added = {"blend", "lr_critic", "weights.recon_ae", "weights.interp_ae", "weights.mix_ae", "weights.critic_mix", "weights.critic_data"}
    assert set(pretrain.depends) - set(load_model("idec").phases(load_model("idec").hyper())[0].depends) == added
    assert set(pretrain.depends) <= set(MODEL.parameters())

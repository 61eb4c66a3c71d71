"""Each term of the Gumbel-softmax VAE against torch.distributions or a float64 statement of its formula, element by element."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence
from tuner.models._gumbel import cool, infer, relax

from tuner.losses import misfit
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.loop import train

MODEL = load_model("gumbel_vae")
DATA = blobs(n_samples=24)
B, K, Z = 12, 3, 2


def terms(step):
    return {name: float(loss) for name, loss in MODEL.rebuild(step.net, step.batch, step.values, step.noise).items()}


def codes(step):
    """mu, sigma and pi, from the step's own networks."""
    out_BC = step.net.heads(step.net.features(step.batch.x_BD)).detach()
    return out_BC[:, :Z], (out_BC[:, Z : 2 * Z] / 2).exp(), out_BC[:, 2 * Z :]


def test_gaussian_is_the_divergence_from_the_standard_normal():
    step = step_of(MODEL, DATA)
    mu_BZ, sigma_BZ, _ = codes(step)
    want = kl_divergence(Normal(mu_BZ, sigma_BZ), Normal(torch.zeros(()).double(), torch.ones(()).double())).sum(-1).mean()
    assert terms(step)["gaussian"] == pytest.approx(float(want), rel=1e-12)


def test_categorical_is_every_samples_divergence_from_uniform():
    step = step_of(MODEL, DATA)
    q = Categorical(logits=codes(step)[2])
    want = kl_divergence(q, Categorical(probs=torch.full((K,), 1 / K, dtype=torch.float64))).mean()
    assert terms(step)["categorical"] == pytest.approx(float(want), rel=1e-12)
    assert terms(step)["categorical"] == pytest.approx(math.log(K) - float(q.entropy().mean()), rel=1e-12)


@pytest.mark.parametrize("recon_loss", ["bce", "mse"])
def test_recon_sums_over_the_features_rebuilt_from_both_codes(recon_loss):
    step = step_of(MODEL, DATA, recon_loss=recon_loss, temperature=0.7)
    mu_BZ, sigma_BZ, logits_BK = codes(step)
    gumbel = -np.log(step.noise.e_BK.numpy())
    e = np.exp((logits_BK.numpy() + gumbel) / 0.7)
    y_BK = torch.as_tensor(e / e.sum(1, keepdims=True))
    out_BD = step.net.decoder(torch.cat([y_BK, mu_BZ + sigma_BZ * step.noise.eps_BZ], -1))
    want = sum(float(misfit(o, x, recon_loss).sum()) for o, x in zip(out_BD, step.batch.x_BD, strict=True)) / B
    assert terms(step)["recon"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("hard", [True, False])
def test_the_likeliest_class_of_a_sample_follows_pi_whatever_the_temperature(hard):
    """The Gumbel-max trick: argmax (log pi + g) is a draw from pi."""
    step = step_of(MODEL, DATA, hard=hard, temperature=5.0)
    pi_K = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    e_SK = torch.empty(100_000, K, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0))
    y_SK = relax(pi_K.log().expand(100_000, K), e_SK, step.values)
    assert torch.allclose(torch.bincount(y_SK.argmax(-1), minlength=K) / 1e5, pi_K.float(), atol=0.006)


def test_a_hard_sample_is_one_hot_and_has_the_soft_ones_gradient():
    soft, hard = (step_of(MODEL, DATA, hard=hard) for hard in (False, True))
    grads = []
    for step in (soft, hard):
        logits_BK = codes(step)[2].requires_grad_()
        y_BK = relax(logits_BK, step.noise.e_BK, step.values)
        grads += torch.autograd.grad((y_BK * torch.arange(K)).sum(), logits_BK)
        last = y_BK.detach()
    assert torch.allclose(last.sort(-1).values, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), atol=1e-12)
    assert torch.allclose(*grads)


def test_the_temperature_falls_from_one_to_a_half_in_fifty_epochs():
    h = MODEL.hyper()
    assert cool(h, 1) == {"temperature": 1.0}
    assert cool(h, 26)["temperature"] == pytest.approx(math.exp(-0.0139 * 25))
    assert cool(h, 51) == {"temperature": 0.5}


def test_neither_code_sees_the_other():
    step = step_of(MODEL, DATA)
    x_BD = step.batch.x_BD
    before = infer(step.still, step.still.features(x_BD), step.values)
    weight = step.networks["heads"].weight
    with torch.no_grad():
        weight[: 2 * Z] += 1.0
    after = infer(step.still, step.still.features(x_BD), step.values)
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[0], after[0])


def test_an_assignment_needs_no_noise_and_no_temperature():
    one, two = (step_of(MODEL, DATA, temperature=t) for t in (1.0, 0.1))
    assert torch.equal(MODEL.assign(one.still, DATA.x_ND, one.values), MODEL.assign(two.still, DATA.x_ND, two.values))


@pytest.mark.parametrize("n_clusters", [7, 10, 14])
def test_it_trains_with_the_slides_numbers_of_clusters(n_clusters):
    (epoch,) = train(MODEL, MODEL.hyper(dict(MODEL.tiny) | {"n_clusters": n_clusters, "epochs": 1}), blobs(), seed=0)
    assert epoch.metrics["n_used"] <= n_clusters

"""Both forms of the GMVAE against torch.distributions, in float64."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from tuner.losses import misfit
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("gmvae")
DATA = blobs(n_samples=24)
B, K, Z, W = 12, 3, 4, 2
FORMS = pytest.mark.parametrize("form", ["original", "simple"])


def terms(step):
    return {name: float(loss) for name, loss in MODEL.bound(step.net, step.batch, step.values, step.noise).items()}


def normal(mu, log_var):
    return Independent(Normal(mu, log_var.exp().sqrt()), 1)


def original(step):
    """For each draw of each sample: q(z | x), q(w | x), the K Gaussians of p(z | c, w), and z, as distributions."""
    M = step.h.n_draws
    out = step.net.encoder(step.batch.x_BD)
    q_z, q_w = normal(out[:, :Z], out[:, Z : 2 * Z]), normal(out[:, 2 * Z : 2 * Z + W], out[:, 2 * Z + W :])
    z = q_z.mean.repeat(M, 1) + q_z.stddev.repeat(M, 1) * step.noise.eps_SZ
    w = q_w.mean.repeat(M, 1) + q_w.stddev.repeat(M, 1) * step.noise.eps_SW
    raw = step.net.prior(w).reshape(M * B, K, 2 * Z)
    return q_z, q_w, normal(raw[..., :Z], raw[..., Z:]), z


def posterior(prior, z):
    """p(c | z, w) by Bayes' rule from a uniform c."""
    mixture = MixtureSameFamily(Categorical(probs=torch.full(prior.batch_shape, 1 / K, dtype=torch.float64)), prior)
    return (prior.log_prob(z[:, None]) - math.log(K) - mixture.log_prob(z)[:, None]).exp()


@pytest.mark.parametrize("n_draws", [1, 3])
def test_kl_z_is_the_expected_divergence_from_the_samples_cluster(n_draws):
    step = step_of(MODEL, DATA, n_draws=n_draws)
    q_z, _, prior, z = original(step)
    p_SK = posterior(prior, z)
    total = 0.0
    for s in range(B * n_draws):
        q = Normal(q_z.mean[s % B], q_z.stddev[s % B])
        for k in range(K):
            total += float(p_SK[s, k] * kl_divergence(q, Normal(prior.mean[s, k], prior.stddev[s, k])).sum())
    assert terms(step)["kl_z"] == pytest.approx(total / (B * n_draws), rel=1e-10)


def test_kl_w_is_the_styles_divergence_from_the_standard_normal():
    step = step_of(MODEL, DATA, n_draws=2)
    _, q_w, _, _ = original(step)
    zeros = torch.zeros(B, W, dtype=torch.float64)
    assert terms(step)["kl_w"] == pytest.approx(float(kl_divergence(q_w, normal(zeros, zeros)).mean()), rel=1e-12)


@FORMS
def test_kl_c_and_entropy_are_of_every_samples_cluster(form):
    step = step_of(MODEL, DATA, form=form, free_nats=0.0)
    p_BK = posterior(*original(step)[2:]) if form == "original" else step.net.classifier(step.batch.x_BD).softmax(-1)
    uniform = Categorical(probs=torch.full((K,), 1 / K, dtype=torch.float64))
    assert terms(step)["kl_c"] == pytest.approx(float(kl_divergence(Categorical(probs=p_BK), uniform).mean()), rel=1e-9)
    assert terms(step)["entropy"] == pytest.approx(float(Categorical(probs=p_BK).entropy().mean()), rel=1e-12)


@FORMS
def test_what_is_free_of_kl_c_costs_nothing_and_moves_nothing(form):
    step = step_of(MODEL, DATA, form=form, free_nats=5.0)
    for p in (own := list(step.networks["encoder"].parameters()) + list(step.networks["prior"].parameters())):
        p.requires_grad_()
    loss = MODEL.bound(step.net, step.batch, step.values, step.noise)["kl_c"]
    assert float(loss.detach()) == 5.0
    if form == "original":
        assert all(float(g.abs().sum()) == 0 for g in torch.autograd.grad(loss, own))


def simple(step):
    e = torch.exp((step.net.classifier(step.batch.x_BD).repeat(step.h.n_draws, 1) - step.noise.e_SK.log()) / step.h.temperature)
    c = e / e.sum(1, keepdim=True)
    out = step.net.encoder(torch.cat([step.batch.x_BD.repeat(step.h.n_draws, 1), c], 1))
    q, raw = normal(out[:, :Z], out[:, Z:]), step.net.prior(c)
    return q, normal(raw[:, :Z], raw[:, Z:]), q.mean + q.stddev * step.noise.eps_SZ


@pytest.mark.parametrize("n_draws", [1, 3])
def test_kl_z_of_the_simple_form_is_the_log_ratio_of_one_sample(n_draws):
    step = step_of(MODEL, DATA, form="simple", n_draws=n_draws, temperature=0.7)
    q, p, z = simple(step)
    assert terms(step)["kl_z"] == pytest.approx(float((q.log_prob(z) - p.log_prob(z)).mean()), rel=1e-10)
    assert "kl_w" not in terms(step)


@FORMS
@pytest.mark.parametrize("recon_loss", ["bce", "mse"])
def test_recon_sums_over_the_features_and_averages_over_the_draws(form, recon_loss):
    step = step_of(MODEL, DATA, form=form, recon_loss=recon_loss, n_draws=2)
    z = (simple if form == "simple" else original)(step)[-1]
    out = step.net.decoder(z)
    want = sum(float(misfit(out[s], step.batch.x_BD[s % B], recon_loss).sum()) for s in range(2 * B)) / (2 * B)
    assert terms(step)["recon"] == pytest.approx(want, rel=1e-12)


def test_a_sample_belongs_to_the_cluster_that_bayes_gives_its_means():
    step = step_of(MODEL, DATA)
    out = step.still.encoder(DATA.x_ND)
    raw = step.still.prior(out[:, 2 * Z : 2 * Z + W]).reshape(-1, K, 2 * Z)
    want = posterior(normal(raw[..., :Z], raw[..., Z:]), out[:, :Z])
    assert torch.allclose(MODEL.assign(step.still, DATA.x_ND, step.values), want)

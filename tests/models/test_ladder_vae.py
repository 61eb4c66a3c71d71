"""The ladder's bound against torch.distributions: joined Gaussians by a product of densities on a grid, divergences level by level."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from tuner.models.ladder_vae import joined

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("ladder_vae")


@pytest.fixture
def step():
    return step_of(MODEL, blobs(n_samples=48), n_levels=3, latent_dim=8)


def normal(two_BZ):
    mu_BZ, log_var_BZ = two_BZ.chunk(2, -1)
    return Normal(mu_BZ, (log_var_BZ / 2).exp())


def test_two_gaussians_are_joined_as_the_normalised_product_of_their_densities():
    one, other = Normal(torch.tensor(0.4).double(), 0.7), Normal(torch.tensor(-1.1).double(), 1.3)
    mu, log_var = joined(one.mean, 2 * one.stddev.log(), other.mean, 2 * other.stddev.log())
    z_G = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    p_G = (one.log_prob(z_G) + other.log_prob(z_G)).softmax(0)
    assert float(mu) == pytest.approx(float((p_G * z_G).sum()), rel=1e-9)
    assert float(log_var.exp()) == pytest.approx(float((p_G * (z_G - mu).square()).sum()), rel=1e-9)


def test_the_bound_is_the_papers_level_by_level(step):
    """Precisions added, equations 9 and 10, from the top of three levels down; the prior of the highest is N(0, I)."""
    terms = {name: float(loss) for name, loss in MODEL.bound(step.net, step.batch, step.values, step.noise).items()}
    net, noise, x_BD = step.networks, step.noise, step.batch.x_BD
    seen, upward = x_BD, []
    for level in net["upward"].levels:
        upward.append(normal(level(seen)))
        seen = upward[-1].mean
    q, p = upward[2], Normal(torch.zeros(12, 2).double(), 1.0)
    divergence = kl_divergence(q, p).sum(-1)
    z = q.mean + q.stddev * noise.eps_3_BZ
    for name, u, eps in (("prior_2", upward[1], noise.eps_2_BZ), ("prior_1", upward[0], noise.eps_1_BZ)):
        p = normal(net[name](z))
        precision = u.variance**-1 + p.variance**-1
        q = Normal((u.mean / u.variance + p.mean / p.variance) / precision, precision**-0.5)
        divergence += kl_divergence(q, p).sum(-1)
        z = q.mean + q.stddev * eps
    log_p_B = Bernoulli(logits=net["decoder"](z), validate_args=False).log_prob(x_BD).sum(-1)
    assert terms == pytest.approx({"recon": -float(log_p_B.mean()), "kl": float(divergence.mean())}, rel=1e-10)


def test_the_codes_are_the_means_of_all_levels_each_given_the_mean_above(step):
    e_BE = MODEL.embed(step.still, step.batch.x_BD, step.values)
    zero = type(step.noise)({f"eps_{level}_BZ": torch.zeros_like(getattr(step.noise, f"eps_{level}_BZ")) for level in (1, 2, 3)})
    found = MODEL.descend(step.still, step.batch.x_BD, step.values, zero)
    assert e_BE.shape == (12, 8 + 4 + 2)
    assert torch.equal(e_BE, torch.cat([found[2][2], found[1][2], found[0][2]], -1))


def test_divergences_rise_over_the_warm_up_from_nothing_to_their_weight():
    h = MODEL.hyper({"warm_up": 4, "weights.kl": 2.0})
    assert [MODEL.warm(h, epoch)["weights.kl"] for epoch in range(1, 7)] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]

"""The mixture's sticks and divergences against integrals, its bound against torch.distributions, one sample at a time."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.distributions import Bernoulli, Categorical, Independent, MixtureSameFamily, Normal
from tuner.models.dlgmm import T, kl_to_beta, log_gamma, log_shares, mean_stick

from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("dlgmm")


def kumaraswamy(v, a, b):
    return a * b * v ** (a - 1) * (1 - v**a) ** (b - 1)


def tensor(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def test_the_logarithm_of_gamma_is_torchs_to_ten_digits():
    x = torch.logspace(-3, 4, 500, dtype=torch.float64)
    assert torch.allclose(log_gamma(x), torch.lgamma(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1.7, 4.0), (3.0, 2.5), (1.2, 30.0)])
def test_the_mean_of_a_stick_is_its_density_s(a, b):
    assert float(mean_stick(tensor(a), tensor(b))) == pytest.approx(quad(lambda v: v * kumaraswamy(v, a, b), 0, 1)[0], rel=1e-7)


@pytest.mark.parametrize(("a", "b", "beta"), [(1.7, 4.0, 3.0), (3.0, 2.5, 1.0), (1.2, 30.0, 9.0), (1.0, 5.0, 5.0)])
def test_the_divergence_of_a_stick_is_the_integral_up_to_the_series_last_term(a, b, beta):
    def integrand(v):
        minus_log_left = sum(v**m / m for m in range(1, T + 1))  # -log(1 - v)
        log_prior = np.log(beta) - (beta - 1) * minus_log_left
        return kumaraswamy(v, a, b) * (np.log(kumaraswamy(v, a, b)) - log_prior)

    got = float(kl_to_beta(tensor(a), tensor(b), torch.tensor([beta], dtype=torch.float64)))
    assert got == pytest.approx(quad(integrand, 0, 1 - 1e-12)[0], abs=1e-6)


def test_a_stick_that_is_the_prior_s_costs_nothing():
    assert float(kl_to_beta(tensor(1.0), tensor(40.0), torch.tensor([40.0], dtype=torch.float64))) == pytest.approx(0, abs=1e-9)


def test_shares_are_what_is_broken_off_of_what_is_left():
    v = [0.2, 0.5, 0.9]
    want = [0.2, 0.8 * 0.5, 0.8 * 0.5 * 0.9, 0.8 * 0.5 * 0.1]
    assert log_shares(tensor(*v)).exp()[0].tolist() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("entropy", ["components", "mixture"])
def test_the_bound_is_the_mixture_s_sample_by_sample(entropy):
    step = step_of(MODEL, blobs(n_samples=48), spread=1.2, entropy=entropy)
    got = {name: float(loss) for name, loss in MODEL.bound(step.net, step.batch, step.values, step.noise).items()}
    mu, log_var, a, b = (t.detach() for t in MODEL.infer(step.net, step.batch.x_BD, step.values))
    want = dict.fromkeys(got, 0.0)
    for i, x_D in enumerate(step.batch.x_BD):
        v = [float(mean_stick(a[i : i + 1, j : j + 1], b[i : i + 1, j : j + 1])) for j in range(2)]
        pi = torch.tensor([v[0], (1 - v[0]) * v[1], (1 - v[0]) * (1 - v[1])], dtype=torch.float64)
        parts = Independent(Normal(mu[i], (log_var[i] / 2).exp()), 1)
        q = MixtureSameFamily(Categorical(pi), parts)
        for k, m in enumerate((-1.2, 0.0, 1.2)):
            part, prior = Normal(mu[i, k], (log_var[i, k] / 2).exp()), Normal(torch.full_like(mu[i, k], m), 1.0)
            cross = (torch.distributions.kl_divergence(part, prior) + part.entropy()).sum()
            z = mu[i, k] + part.stddev * step.noise.eps_BCZ[i, k]
            log_p = Bernoulli(logits=step.networks["decoder"](z), validate_args=False).log_prob(x_D).sum()
            want["recon"] -= float(pi[k] * log_p) / 12
            want["kl_z"] += float(pi[k] * (cross + (q.log_prob(z) if entropy == "mixture" else -part.entropy().sum()))) / 12
        want["kl_pi"] += float(kl_to_beta(a[i : i + 1], b[i : i + 1], tensor(2.0, 1.0)[0]).sum()) / 12
    assert step.net.beta_J.tolist() == [2.0, 1.0]
    assert got == pytest.approx(want, rel=1e-9)


def test_untrained_sticks_are_about_the_prior_s_whose_shares_are_equal():
    step = step_of(MODEL, blobs(n_samples=48), n_components=8)
    with torch.no_grad():
        for p in step.networks["encoder"].parameters():
            p.zero_()
    *_, a_BJ, b_BJ = MODEL.infer(step.still, step.batch.x_BD, step.values)
    assert torch.allclose(log_shares(mean_stick(a_BJ, b_BJ)).exp(), torch.full((12, 8), 1 / 8, dtype=torch.float64))


def test_the_code_is_the_mean_of_the_mixture():
    step = step_of(MODEL, blobs(n_samples=48))
    mu, _, a, b = MODEL.infer(step.still, step.batch.x_BD, step.values)
    q = MixtureSameFamily(Categorical(log_shares(mean_stick(a, b)).exp()), Independent(Normal(mu, 1.0), 1))
    assert torch.allclose(MODEL.embed(step.still, step.batch.x_BD, step.values), q.mean)

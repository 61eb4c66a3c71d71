"""VaDE's ELBO against torch.distributions, in float64."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence
from tuner.models.vade import log_gamma

from tuner.draws import Draws
from tuner.losses import misfit
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.engine import Settings
from tuner.training.loop import train

MODEL = load_model("vade")
DATA = blobs(n_samples=24)
K, Z, B = 3, 4, 12


@pytest.fixture
def step():
    """With a mixture whose weights, means and variances all differ."""
    step = step_of(MODEL, DATA, size=B)
    g = torch.Generator().manual_seed(0)
    for name, shape in {"logits_K": (K,), "means_KZ": (K, Z), "log_vars_KZ": (K, Z), "shift_Z": (Z,)}.items():
        step.engine.put(0, {name: torch.randn(shape, generator=g, dtype=torch.float64)})
    return step


def mixture(net):
    weights, components = Categorical(logits=net.logits_K), Independent(Normal(net.means_KZ, (net.log_vars_KZ / 2).exp()), 1)
    return MixtureSameFamily(weights, components)


def posterior(step):
    """q(z | x), the sampled z and gamma, from torch.distributions."""
    mu_BZ, raw_BZ = step.net.encoder(step.batch.x_BD).chunk(2, -1)
    q = Normal(mu_BZ, ((raw_BZ + step.net.shift_Z) / 2).exp())
    z_BZ = q.mean + q.stddev * step.noise.eps_BZ
    prior = mixture(step.net)
    log_joint_BK = prior.component_distribution.log_prob(z_BZ[:, None]) + prior.mixture_distribution.logits
    return q, z_BZ, (log_joint_BK - prior.log_prob(z_BZ)[:, None]).exp()


def terms(step):
    return {name: float(loss) for name, loss in MODEL.bound(step.net, step.batch, step.values, step.noise).items()}


def test_gamma_is_bayes_rule_with_pi_counted_once(step):
    _, z_BZ, gamma_BK = posterior(step)
    assert torch.allclose(log_gamma(step.net, z_BZ).exp(), gamma_BK, rtol=1e-12)


def test_gamma_far_from_every_cluster_is_still_finite(step):
    log_BK = log_gamma(step.net, torch.full((1, Z), 1e4, dtype=torch.float64))
    assert log_BK.isfinite().all()
    assert float(log_BK.exp().sum()) == pytest.approx(1.0)


def test_kl_z_is_the_expected_divergence_from_the_samples_cluster(step):
    q, _, gamma_BK = posterior(step)
    prior = mixture(step.net).component_distribution.base_dist
    kl_BK = torch.stack([kl_divergence(q, Normal(prior.loc[k], prior.scale[k])).sum(-1) for k in range(K)], -1)
    assert terms(step)["kl_z"] == pytest.approx(float((gamma_BK * kl_BK).sum(-1).mean()), rel=1e-12)


def test_kl_c_is_the_divergence_of_gamma_from_the_mixtures_weights(step):
    gamma = Categorical(probs=posterior(step)[2])
    assert terms(step)["kl_c"] == pytest.approx(float(kl_divergence(gamma, Categorical(logits=step.net.logits_K)).mean()), rel=1e-12)


@pytest.mark.parametrize("recon_loss", ["bce", "mse"])
def test_recon_sums_over_the_features_of_the_sampled_codes_decoding(recon_loss):
    step = step_of(MODEL, DATA, recon_loss=recon_loss)
    _, z_BZ, _ = posterior(step)
    want = misfit(step.net.decoder(z_BZ), step.batch.x_BD, recon_loss).sum() / B
    assert terms(step)["recon"] == pytest.approx(float(want), rel=1e-12)


def test_the_terms_are_the_elbo_of_the_slides(step):
    """-E log p(x | z) + 1/2 sum_c gamma_c sum_j (log s^2 + sigma^2 / s^2 + (mu - m)^2 / s^2) - sum_c gamma_c log(pi_c / gamma_c)
    - 1/2 sum_j (1 + log sigma^2), element by element."""
    q, z_BZ, gamma_BK = posterior(step)
    m, s2, pi = step.net.means_KZ, step.net.log_vars_KZ.exp(), step.net.logits_K.softmax(-1)
    total = 0.0
    for b in range(B):
        mu, sigma2 = q.mean[b], q.variance[b]
        for k in range(K):
            gamma = float(gamma_BK[b, k])
            total += 0.5 * gamma * sum(float(s2[k, j].log() + sigma2[j] / s2[k, j] + (mu[j] - m[k, j]) ** 2 / s2[k, j]) for j in range(Z))
            total -= gamma * math.log(float(pi[k]) / gamma)
        total -= 0.5 * sum(1 + float(sigma2[j].log()) for j in range(Z))
    total += float(misfit(step.net.decoder(z_BZ), step.batch.x_BD, "bce").sum())
    assert sum(terms(step).values()) == pytest.approx(total / B, rel=1e-10)


def test_the_two_divergences_bound_that_of_the_code_from_the_whole_mixture():
    """Jensen's inequality, whatever gamma is: kl_z + kl_c >= KL(q(z | x) || p(z)), so the terms bound the evidence from below."""
    step = step_of(MODEL, DATA)
    step.engine.put(0, MODEL.place(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    q, _, _ = posterior(step)
    z_SBZ = q.mean + q.stddev * torch.randn(20_000, B, Z, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = float((q.log_prob(z_SBZ).sum(-1) - mixture(step.net).log_prob(z_SBZ)).mean())
    assert 0 < exact < terms(step)["kl_z"] + terms(step)["kl_c"]


def test_the_mixture_starts_as_fitted_to_the_codes_and_sigma_at_its_scale():
    step = step_of(MODEL, DATA)
    placed = MODEL.place(step.still, DATA, step.values, Draws(0, like=DATA.x_ND))
    pi_K1, m_KZ = placed["logits_K"].exp()[:, None], placed["means_KZ"]
    mu_NZ = step.still.encoder(DATA.x_ND)[:, :Z]
    assert float(pi_K1.sum()) == pytest.approx(1.0)
    # What an M-step leaves: the mixture's mean and variance are the codes'.
    assert torch.allclose((pi_K1 * m_KZ).sum(0), mu_NZ.mean(0))
    spread_Z = (pi_K1 * (placed["log_vars_KZ"].exp() + m_KZ.square())).sum(0) - mu_NZ.mean(0).square()
    assert torch.allclose(spread_Z, mu_NZ.var(0, correction=0) + 1e-6)
    assert torch.allclose(placed["shift_Z"], placed["log_vars_KZ"].mean(0))


def test_rates_fall_to_their_floor_and_the_divergences_warm_up():
    h = MODEL.hyper({"lr": 1e-3, "lr_gmm": 1e-2, "decay": 0.5, "decay_every": 10, "decay_floor": 0.2, "warm_up": 4, "weights.kl_z": 3.0})
    assert MODEL.cool(h, 1) == {"lr": 1e-3, "lr_gmm": 1e-2, "weights.kl_z": 0.0, "weights.kl_c": 0.0}
    assert MODEL.cool(h, 3)["weights.kl_z"] == 1.5
    assert MODEL.cool(h, 11) == {"lr": 5e-4, "lr_gmm": 5e-3, "weights.kl_z": 3.0, "weights.kl_c": 1.0}
    assert MODEL.cool(h, 1000)["lr"] == pytest.approx(2e-4)
    assert Settings(MODEL, h, frozenset(MODEL.terms), MODEL.cool(h, 11)).weights["kl_z"] == 3.0


def test_an_epoch_whose_divergences_weigh_nothing_leaves_the_mixture_as_fitted():
    h = MODEL.hyper(dict(MODEL.tiny) | {"pretrain_epochs": 1, "warm_up": 2, "epochs": 1, "batch_size": 12})
    *_, state = [e.snapshot().tensors for e in train(MODEL, h, DATA, seed=0)]
    assert torch.allclose(state["log_vars_KZ"].mean(0), state["shift_Z"])
    assert state["logits_K"].exp().sum() == pytest.approx(1.0)

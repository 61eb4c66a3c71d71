"""The VAE's two terms against torch.distributions, and its heads on mu."""

import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from tuner.clustering import Mixture, log_joint
from tuner.model import load_model
from tuner.testing import blobs, step_of
from tuner.training.loop import train

MODEL = load_model("vae")
DATA = blobs(n_samples=60)
B, Z = 12, 4


def posterior(step):
    out_BC = step.net.encoder(step.batch.x_BD)
    return Normal(out_BC[:, :Z], out_BC[:, Z:].exp().sqrt())


def test_kl_is_the_divergence_from_the_standard_normal():
    step = step_of(MODEL, DATA)
    q = posterior(step)
    want = kl_divergence(q, Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))).sum(-1).mean()
    assert float(MODEL.bound(step.net, step.batch, step.values, step.noise)["kl"]) == pytest.approx(float(want), rel=1e-12)


def test_recon_of_pixels_is_their_bernoulli_likelihood():
    step = step_of(MODEL, DATA)
    q = posterior(step)
    p = Independent(Bernoulli(logits=step.net.decoder(q.mean + q.stddev * step.noise.eps_BZ), validate_args=False), 1)
    got = MODEL.bound(step.net, step.batch, step.values, step.noise)["recon"]
    assert float(got) == pytest.approx(-float(p.log_prob(step.batch.x_BD).mean()), rel=1e-12)


def test_recon_of_other_data_is_the_squared_distance():
    step = step_of(MODEL, DATA, recon_loss="mse")
    q = posterior(step)
    rebuilt = step.net.decoder(q.mean + q.stddev * step.noise.eps_BZ)
    want = sum(float((r - x).square().sum()) for r, x in zip(rebuilt, step.batch.x_BD, strict=True)) / B
    assert float(MODEL.bound(step.net, step.batch, step.values, step.noise)["recon"]) == pytest.approx(want, rel=1e-12)


def test_a_larger_beta_leaves_less_in_the_codes():
    """And a beta of 0 takes the divergence out of the journal, because it is not part of the training."""
    last = {}
    for beta in (0.0, 0.01, 10.0):
        *_, epoch = train(MODEL, MODEL.hyper(dict(MODEL.tiny) | {"weights.kl": beta, "warm_up": 0, "epochs": 20}), DATA, seed=0)
        last[beta] = epoch.metrics.get("loss/kl")
    assert last[0.0] is None
    assert 10 * last[10.0] < last[0.01]


def test_the_divergence_rises_to_its_weight():
    h = MODEL.hyper({"warm_up": 4, "weights.kl": 2.0})
    assert [MODEL.warm(h, epoch)["weights.kl"] for epoch in (1, 2, 5, 50)] == [0.0, 0.5, 2.0, 2.0]
    assert MODEL.warm(MODEL.hyper({"warm_up": 0}), 1) == {"weights.kl": 1.0}


@pytest.mark.parametrize("whiten", [True, False])
def test_the_mixture_head_rests_on_mu_where_scikit_learns_would_rest(whiten):
    h = MODEL.hyper(dict(MODEL.tiny) | {"epochs": 3, "head": "gmm", "whiten": whiten, "reg_covar": 1e-3})
    (*_, state) = (e.snapshot().tensors for e in train(MODEL, h, DATA, seed=0))
    encoder = MODEL.networks(h, DATA.spec)["encoder"].double()
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    z_NZ = encoder(DATA.x_ND).detach()[:, :Z]
    if whiten:
        z_NZ = (z_NZ - state["mean_Z"]) @ state["whiten_ZZ"]
    found = Mixture(*(state[name] for name in Mixture._fields))
    start = {"weights_init": found.log_pi_K.exp(), "means_init": found.means_KZ, "precisions_init": torch.cholesky_inverse(found.scale)}
    theirs = GaussianMixture(3, reg_covar=1e-3, max_iter=1, **{k: t.numpy() for k, t in start.items()})
    with pytest.warns(ConvergenceWarning):
        theirs.fit(z_NZ.numpy())
    gain = theirs.score(z_NZ.numpy()) - float(log_joint(z_NZ, found).logsumexp(1).mean())
    assert abs(gain) < 1e-2

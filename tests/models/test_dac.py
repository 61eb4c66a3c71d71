"""DAC's adversarial terms, the samples of its mixture and how the mixture follows the codes."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tuner.clustering import Mixture, drawn, gmm
from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, step_of

MODEL = load_model("dac")
DATA = blobs(n_samples=60)
COVARIANCES = pytest.mark.parametrize("covariance", ["diag", "full", "tied"])


def placed(**more):
    step = step_of(MODEL, DATA, **more)
    step.engine.put(0, MODEL.fit(step.still, DATA, step.values, Draws(0, like=DATA.x_ND)))
    return step


@COVARIANCES
def test_samples_of_a_mixture_have_its_moments_in_every_cluster(covariance):
    g = torch.Generator().manual_seed(0)
    pi_K, means_KZ = torch.tensor([0.5, 0.3, 0.2]).double(), 100 * torch.eye(3, 2).double()
    shape = {"diag": (3, 2), "full": (3, 2, 2), "tied": (1, 2, 2)}[covariance]
    root = torch.rand(shape, generator=g, dtype=torch.float64) + 0.5
    root = root if covariance == "diag" else root.tril()
    e_SK = torch.empty(200_000, 3, dtype=torch.float64).exponential_(generator=g)
    z_SZ = drawn(Mixture(pi_K.log(), means_KZ, root), e_SK, torch.randn(200_000, 2, generator=g, dtype=torch.float64)).numpy()
    nearest_S = np.linalg.norm(z_SZ[:, None] - means_KZ.numpy(), axis=-1).argmin(1)
    for k in range(3):
        own = z_SZ[nearest_S == k]
        one = np.diag(root[k].numpy()) if covariance == "diag" else root[k if covariance == "full" else 0].numpy()
        assert len(own) / 2e5 == pytest.approx(float(pi_K[k]), abs=0.005)
        assert np.allclose(own.mean(0), means_KZ[k], atol=0.03)
        assert np.allclose(np.cov(own.T), one @ one.T, atol=0.05)


def test_the_encoder_is_to_pass_for_the_mixture():
    step = placed()
    got = MODEL.reconstruct(step.net, step.batch, step.values, step.noise)
    z_BZ = step.net.encoder(step.batch.x_BD)
    assert float(got["adv"]) == pytest.approx(np.mean(-np.log(expit(step.net.critic(z_BZ).numpy()))), rel=1e-12)
    assert float(got["recon"]) == pytest.approx(np.mean((step.net.decoder(z_BZ) - step.batch.x_BD).numpy() ** 2), rel=1e-12)


@COVARIANCES
def test_the_critic_tells_samples_of_the_mixture_from_codes(covariance):
    step = placed(covariance=covariance)
    mixture = Mixture.of(step.net)
    real = []
    for e_K, eps_Z in zip(step.noise.e_BK, step.noise.eps_BZ, strict=True):
        k = int((e_K / mixture.log_pi_K.exp()).argmin())
        root = mixture.scale[0 if covariance == "tied" else k]
        real.append(mixture.means_KZ[k] + (root * eps_Z if covariance == "diag" else root @ eps_Z))
    d_real, d_fake = (expit(step.net.critic(z).numpy()) for z in (torch.stack(real), step.net.encoder(step.batch.x_BD)))
    want = -np.mean(np.log(d_real)) - np.mean(np.log(1 - d_fake))
    assert float(MODEL.discriminate(step.net, step.batch, step.values, step.noise)["critic"]) == pytest.approx(want, rel=1e-10)


def test_the_mixture_follows_the_codes_by_em():
    """Five passes are one of scikit-learn's five-pass fits from the same start."""
    step = placed(em_passes=5, reg_covar=1e-2)
    with torch.no_grad():
        step.networks["encoder"][-1].weight.mul_(1.3)
    start = {name: t.clone() for name, t in Mixture.of(step.net)._asdict().items()}
    moved = Mixture(**MODEL.follow(step.still, DATA, step.values, None))
    theirs = GaussianMixture(
        3, reg_covar=1e-2, max_iter=5, tol=0, warm_start=True, weights_init=start["log_pi_K"].exp().numpy(),
        means_init=start["means_KZ"].numpy(), precisions_init=torch.cholesky_inverse(start["scale"]).numpy(),
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning):
        theirs.fit(step.still.encoder(DATA.x_ND).numpy())
    assert np.allclose(moved.means_KZ.numpy(), theirs.means_, atol=1e-8)
    assert np.allclose((moved.scale @ moved.scale.mT).numpy(), theirs.covariances_, atol=1e-8)


def test_without_passes_the_mixture_stays():
    step = placed(em_passes=0)
    stays = MODEL.follow(step.still, DATA, step.values, None)
    assert all(torch.equal(stays[name], step.engine.tensors[name]) for name in Mixture._fields)


def test_the_mixture_is_fitted_to_the_codes_at_first():
    step = placed()
    e_IKN = Draws(0, like=DATA.x_ND).exponential(step.h.n_init, 3, 60)
    want = gmm(step.still.encoder(DATA.x_ND), e_IKN, "full", step.h.reg_covar)
    assert torch.equal(step.engine.tensors["means_KZ"], want.means_KZ)

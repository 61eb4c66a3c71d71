"""Gaussian mixtures as tensor code against scikit-learn's and torch's, in float64."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture
from torch.distributions import MultivariateNormal, Normal

from tuner.clustering import Mixture, em, gmm, log_gauss, log_joint, responsibilities, weigh
from tuner.data.datasets import Data
from tuner.draws import Draws
from tuner.model import load_model
from tuner.training.loop import train

X_ND = torch.as_tensor(load_digits().data[:, 8:40] / 16)  # some pixels never vary
Y_N = torch.as_tensor(load_digits().target)
K, REG = 5, 1e-3
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # it is told to stop early
COVARIANCES = pytest.mark.parametrize("covariance", ["diag", "full", "tied"])
G = torch.Generator().manual_seed(0)
SHARES_NK = torch.rand(len(X_ND), K, generator=G, dtype=torch.float64).softmax(-1)


def covariances(mixture):
    """As scikit-learn keeps them."""
    scale = mixture.scale
    return scale.square() if scale.dim() == 2 else (scale @ scale.mT)[0 if len(scale) == 1 else slice(None)]


def theirs(mixture, covariance, n_iter):
    """scikit-learn's mixture after `n_iter` passes from ours."""
    cov = covariances(mixture).numpy()
    fit = GaussianMixture(
        K, covariance_type=covariance, reg_covar=REG, tol=0.0, max_iter=n_iter, weights_init=mixture.log_pi_K.exp().numpy(),
        means_init=mixture.means_KZ.numpy(), precisions_init=1 / cov if covariance == "diag" else np.linalg.inv(cov),
    )  # fmt: skip
    return fit.fit(X_ND.numpy())


def test_log_gauss_is_the_density_of_independent_normals():
    z, m, log_var = (torch.randn(shape, generator=G, dtype=torch.float64) for shape in [(7, 3), (4, 3), (4, 3)])
    want = Normal(m, (log_var / 2).exp()).log_prob(z[:, None]).sum(-1)
    assert torch.allclose(log_gauss(z, m, log_var), want, rtol=1e-12)
    assert torch.allclose(torch.vmap(log_gauss)(z.expand(2, 7, 3), m.expand(2, 4, 3), log_var.expand(2, 4, 3))[1], want, rtol=1e-12)


@COVARIANCES
def test_log_joint_is_the_weighted_density(covariance):
    mixture = weigh(X_ND, SHARES_NK, covariance, REG)
    scale = torch.diag_embed(mixture.scale) if covariance == "diag" else mixture.scale
    density = MultivariateNormal(mixture.means_KZ, scale_tril=scale.expand(K, -1, -1))
    assert torch.allclose(log_joint(X_ND, mixture), density.log_prob(X_ND[:, None]) + mixture.log_pi_K, rtol=1e-9)


@COVARIANCES
def test_the_m_step_is_the_weighted_mean_and_scatter(covariance):
    mixture = weigh(X_ND, SHARES_NK, covariance, REG)
    x, p = X_ND.numpy(), SHARES_NK.numpy()
    assert np.allclose(mixture.log_pi_K.exp().numpy(), p.mean(0))
    scatter = []
    for k in range(K):
        m = np.average(x, axis=0, weights=p[:, k])
        assert np.allclose(mixture.means_KZ[k].numpy(), m)
        scatter.append(np.cov(x.T, aweights=p[:, k], ddof=0))
    full = np.stack(scatter)
    want = {
        "diag": np.diagonal(full, axis1=1, axis2=2) + REG,
        "full": full + REG * np.eye(x.shape[1]),
        "tied": np.average(full, axis=0, weights=p.mean(0)) + REG * np.eye(x.shape[1]),
    }
    assert np.allclose(covariances(mixture).numpy(), want[covariance])


@COVARIANCES
@pytest.mark.parametrize("n_iter", [1, 4])
def test_em_walks_where_scikit_learn_walks(covariance, n_iter):
    start = gmm(X_ND, Draws(0, like=X_ND).exponential(2, K, len(X_ND)), covariance, REG, n_iter=0)
    mixture = start
    for _ in range(n_iter):
        mixture, _ = em(X_ND, mixture, covariance, REG)
    fit = theirs(start, covariance, n_iter)
    assert np.allclose(mixture.means_KZ.numpy(), fit.means_)
    assert np.allclose(mixture.log_pi_K.exp().numpy(), fit.weights_)
    assert np.allclose(covariances(mixture).numpy(), fit.covariances_)
    assert np.allclose(responsibilities(X_ND, mixture).numpy(), fit.predict_proba(X_ND.numpy()), atol=1e-6)


@COVARIANCES
def test_a_pass_never_lowers_the_likelihood(covariance):
    mixture, seen = weigh(X_ND, SHARES_NK, covariance, 1e-6), []
    for _ in range(10):
        mixture, likelihood = em(X_ND, mixture, covariance, 1e-6)
        seen.append(float(likelihood))
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(seen))


def test_single_precision_factorises_what_hardly_varies():
    x_ND = X_ND.float()
    mixture = gmm(x_ND, Draws(0, like=x_ND).exponential(2, K, len(x_ND)), "full", 1e-6)
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in mixture)
    assert responsibilities(x_ND, mixture).isfinite().all()


def test_a_gaussian_without_samples_gives_no_nan():
    p_NK = torch.zeros(len(X_ND), 2, dtype=torch.float64)
    p_NK[:, 0] = 1.0
    mixture = weigh(X_ND, p_NK, "diag", REG)
    assert responsibilities(X_ND, mixture).isfinite().all()
    assert all(t.isfinite().all() for t in mixture)


@COVARIANCES
def test_blank_has_the_shapes_of_a_fitted_mixture(covariance):
    blank, fitted = Mixture.blank(K, X_ND.shape[1], covariance), weigh(X_ND, SHARES_NK, covariance, REG)
    assert [t.shape for t in blank] == [t.shape for t in fitted]


@COVARIANCES
def test_an_epoch_of_the_model_is_a_pass_of_em(covariance):
    model, data = load_model("gmm"), Data(name="digits", x_ND=X_ND, y_N=Y_N, shape=(32,), test=None)
    h = model.hyper({"n_clusters": K, "covariance": covariance, "reg_covar": REG, "epochs": 3, "n_init": 2})
    states = [Mixture(*(e.snapshot().tensors[name].clone() for name in Mixture._fields)) for e in train(model, h, data, seed=0)]
    fit = theirs(states[0], covariance, 2)
    assert np.allclose(states[2].means_KZ.numpy(), fit.means_)
    assert np.allclose(covariances(states[2]).numpy(), fit.covariances_)

"""Loss terms that several models share. Each is a pure function of tensors that also runs under `vmap`, and none of them
raises on NaN: a lane that diverges must not end the pack, as `F.binary_cross_entropy` would."""

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of -[t log s(a) + (1 - t) log(1 - s(a))], s the logistic function. Scalar."""
    return F.binary_cross_entropy_with_logits(logits, target)


def mse(x: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of (x - t)^2. Scalar."""
    return (x - target).square().mean()


def misfit(output_BD: Tensor, x_BD: Tensor, kind: str) -> Tensor:
    """(B, D): how badly each feature is rebuilt. `bce`: the output is a logit, the data lie in [0, 1]; `mse`: the squared distance,
    for any data. Whether features are then averaged or summed decides what a weight means: the sum is D times the mean."""
    return F.binary_cross_entropy_with_logits(output_BD, x_BD, reduction="none") if kind == "bce" else (output_BD - x_BD).square()


def bernoulli(p: Tensor, target: Tensor) -> Tensor:
    """As `bce`, for probabilities, which are kept 1e-6 away from 0 and 1. Scalar."""
    p = p.clamp(_EPS, 1 - _EPS)
    return -(target * p.log() + (1 - target) * torch.log1p(-p)).mean()


def fool(score_B1: Tensor) -> Tensor:
    """-log D(fake), the generator's non-saturating loss (Goodfellow et al. 2014), from the critic's logits. Scalar."""
    return F.softplus(-score_B1).mean()


def tell_apart(real_B1: Tensor, fake_B1: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), from the critic's logits. Scalar."""
    return F.softplus(-real_B1).mean() + F.softplus(fake_B1).mean()


def kl_normal(mu_BZ: Tensor, log_var_BZ: Tensor) -> Tensor:
    """(B,): KL(N(mu, sigma^2) || N(0, I)), in nats."""
    return -0.5 * (1 + log_var_BZ - mu_BZ.square() - log_var_BZ.exp()).sum(-1)


def one_hot(index: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """(..., n) from (...): `F.one_hot` counts its classes on the host and fails under `vmap`."""
    return (index[..., None] == torch.arange(n, device=index.device)).to(dtype)

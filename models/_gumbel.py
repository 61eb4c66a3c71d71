"""What the models share that draw a cluster by Gumbel-softmax (Jang, Gu & Poole 2017, https://arxiv.org/abs/1611.01144; Maddison, Mnih &
Teh 2017, https://arxiv.org/abs/1611.00712), and the two codes of `gumbel_vae`, with labels and without.

Shapes: B batch, D features, F deterministic features, Z code, K clusters.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from tuner.losses import kl_normal, misfit, one_hot
from tuner.model import Hyper, Term, hp
from tuner.nn import decoder, encoder

from ._autoencoder import RECON_SUM, check_pixels
from ._vae import draw_code, sampled


@dataclass(frozen=True, kw_only=True)
class Relaxed(Hyper):
    """For the models that draw a cluster by Gumbel-softmax."""

    temperature: float = hp(1.0, 0.01, 100.0, log=True, doc="Gumbel-softmax's, in the first epoch")
    temperature_min: float = hp(0.5, 0.01, 100.0, log=True)
    temperature_rate: float = hp(0.0139, 0.0, 10.0, doc="by how much its logarithm falls in an epoch")
    hard: bool = hp(False, doc="the decoder sees a one-hot y, the gradient a soft one")


def relax(logits_BK, e_BK, h):
    """A sample of y: Gumbel noise is minus the logarithm of exponential noise."""
    y_BK = ((logits_BK - e_BK.log()) / h.temperature).softmax(-1)
    if h.hard:
        y_BK = one_hot(y_BK.argmax(-1), h.n_clusters, y_BK.dtype) + y_BK - y_BK.detach()
    return y_BK


def cool(h, epoch):
    return {"temperature": max(h.temperature * math.exp(-h.temperature_rate * (epoch - 1)), h.temperature_min)}


def kl_to_uniform(log_p_BK):
    """(B,): KL(p || uniform)."""
    return (log_p_BK.exp() * (log_p_BK + math.log(log_p_BK.shape[-1]))).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Codes(Hyper):
    """The two codes, z and y."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K")
    latent_dim: int = hp(64, 1, 1024, static=True, doc="Z")
    feature_dim: int = hp(200, 1, 8192, static=True, doc="F")
    hidden: int = hp(500, 8, 8192, static=True, doc="width of both hidden layers of encoder and decoder")
    batch_size: int = hp(200, 2, 65536, static=True)
    recon_loss: str = hp("bce", choices=("bce", "mse"), doc="cross-entropy of pixels in [0, 1], or squared error of any data")
    lr: float = hp(1e-3, 0.0, 1.0, log=True)
    epochs: int = hp(100, 1, 100000)


BOUND = {
    "recon": RECON_SUM,
    "gaussian": Term(5.0, "KL(q(z | x) || N(0, I))"),
    "categorical": Term(0.1, "KL(q(y | x) || uniform), of every sample"),
}
PARTS = ("features", "heads", "decoder")


def code_networks(h, data):
    H, F, Z, K = h.hidden, h.feature_dim, h.latent_dim, h.n_clusters
    check_pixels(h, data)
    return {
        "features": encoder(h, data, H, H, F, norm=True),
        "heads": nn.Linear(F, 2 * Z + K),
        "decoder": decoder(h, data, K + Z, F, H, H, norm=True),
    }


def draw_codes(h, data, B, g):
    return draw_code(h, data, B, g) | {"e_BK": g.exponential(B, h.n_clusters)}


def infer(net, f_BF, h):
    """mu and log sigma^2 of q(z | x), logits of q(y | x), from the features: neither code sees the other."""
    return net.heads(f_BF).split((h.latent_dim, h.latent_dim, h.n_clusters), -1)


def bound(net, x_BD, f_BF, h, noise):
    """The terms of minus the evidence bound, of one sample of each code; and the logits of y."""
    mu_BZ, log_var_BZ, logits_BK = infer(net, f_BF, h)
    z_BZ = sampled(mu_BZ, log_var_BZ, noise.eps_BZ)
    y_BK = relax(logits_BK, noise.e_BK, h)
    terms = {
        "recon": misfit(net.decoder(torch.cat([y_BK, z_BZ], -1)), x_BD, h.recon_loss).sum(-1).mean(),
        "gaussian": kl_normal(mu_BZ, log_var_BZ).mean(),
        "categorical": kl_to_uniform(logits_BK.log_softmax(-1)).mean(),
    }
    return terms, logits_BK


def cluster_of(net, x_BD, h):
    return infer(net, net.features(x_BD), h)[2].softmax(-1)


def both_codes(net, x_BD, h):
    """(B, K + Z): what the decoder takes, without chance."""
    mu_BZ, _, logits_BK = infer(net, net.features(x_BD), h)
    return torch.cat([logits_BK.softmax(-1), mu_BZ], -1)

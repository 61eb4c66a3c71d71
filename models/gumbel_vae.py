"""Simple generative clustering (Arias Figueroa & Ramírez Rivera 2017, https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf).

A variational auto-encoder with deterministic features and two codes that are read off them side by side: a Gaussian z for the style and a
categorical y, made differentiable by Gumbel-softmax, for the cluster. A strong pull of z towards its prior makes the decoder look at y.
Shapes: B batch, D features, F deterministic features, Z code, K clusters.
Differs from the paper: BatchNorm in front of every ReLU, as in its authors' code for few labels; `network: conv` halves images
by strides down to 4 x 4 (theirs: five layers of 3 to 5 pixels); `weights.categorical` is 0.1, not 1. Its term wants every single y
uniform, and where images are small it wins before the decoder has learnt to look at y: on digits ACC is then 0.34 instead of 0.75.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from tuner.losses import kl_normal, misfit, one_hot
from tuner.model import Descend, Hyper, Model, Phase, Term, hp
from tuner.nn import Network, decoder, encoder

from .ae import check_pixels
from .vae import RECON, draw_code, sampled


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
class Codes(Relaxed, Network):
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
    "recon": RECON,
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


def draw_codes(g, B, h, data):
    return draw_code(g, B, h, data) | {"e_BK": g.exponential(B, h.n_clusters)}


def infer(net, f_BF, h):
    """mu and log sigma^2 of q(z | x), logits of q(y | x), from the features: neither code sees the other."""
    return net.heads(f_BF).split((h.latent_dim, h.latent_dim, h.n_clusters), -1)


def bound(net, x_BD, f_BF, noise, h):
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


class GumbelVAE(Model):
    paper = "https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf"

    Hyper = Codes
    terms = BOUND
    tiny = {"n_clusters": 3, "latent_dim": 2, "feature_dim": 8, "hidden": 32, "channels": 4, "batch_size": 30, "lr": 1e-2, "epochs": 15}

    def networks(self, h, data):
        return code_networks(h, data)

    def rebuild(self, net, batch, noise, h):
        return bound(net, batch.x_BD, net.features(batch.x_BD), noise, h)[0]

    def phases(self, h):
        train = Descend(self.rebuild, trains=PARTS)
        return (Phase("train", "epochs", noise=draw_codes, schedule=cool, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return cluster_of(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.features(x_BD)

"""Auto-encoder (Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647) with k-means or a Gaussian mixture on its codes.

The two-stage baseline of the deep clustering papers, and the auto-encoder that they pre-train: D-500-500-2000-Z and back, ReLU between,
codes and output linear. The head is fitted anew after every epoch, on the codes as they now are.
Shapes: B batch, N data set, D features, Z code, K clusters, I starts of k-means.
Differs from the paper: no layer-wise pre-training, Adam; dropout of the inputs is the only noise. What is stacked on it is the baseline of
Xie, Girshick & Farhadi 2016, https://arxiv.org/abs/1511.06335, who train the same network layer by layer.
"""

from dataclasses import dataclass, fields

import torch

from tuner.clustering import Mixture, gmm, k_means, nearest, responsibilities, whitening
from tuner.errors import UserError
from tuner.losses import misfit
from tuner.model import Descend, Hyper, Model, Phase, Term, hp
from tuner.nn import Network, by_rows, decoder, encoder


@dataclass(frozen=True, kw_only=True)
class Coders(Network):
    """The auto-encoder's shape and what it is trained to rebuild."""

    latent_dim: int = hp(10, 1, 256, static=True, doc="Z")
    hidden: int = hp(500, 8, 8192, static=True, doc="width of the first two hidden layers; the third is four times as wide")
    batch_size: int = hp(256, 2, 65536, static=True)
    recon_loss: str = hp("mse", choices=("mse", "bce"), doc="squared error, or cross-entropy of pixels in [0, 1] with a sigmoid output")


@dataclass(frozen=True, kw_only=True)
class Autoencoder(Coders):
    """How it trains alone."""

    input_dropout: float = hp(0.0, 0.0, 0.95, doc="share of the inputs hidden while the auto-encoder trains alone")


@dataclass(frozen=True, kw_only=True)
class Pretrained(Autoencoder):
    """For the models that start from a trained auto-encoder: every field here, and no other, decides how it turns out."""

    lr_pretrain: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate in pre-training")
    pretrain_epochs: int = hp(100, 0, 100000)


@dataclass(frozen=True, kw_only=True)
class Head(Hyper):
    """For the models whose clusters are found in the codes after training, and take no part in it."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K")
    head: str = hp("kmeans", choices=("kmeans", "gmm"))
    whiten: bool = hp(False, doc="the head sees codes without correlations, all of variance 1")
    covariance: str = hp("full", choices=("diag", "full", "tied"), doc="head: gmm")
    reg_covar: float = hp(1e-6, 1e-6, 1.0, log=True, doc="head: gmm; added to every variance")
    n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means, of which the best is taken; the mixture starts from it")


MISFIT = "(x - x_hat)^2 or BCE(x_hat, x), whichever `recon_loss` says"
RECON_AE = Term(None, f"mean over features of {MISFIT}, x_hat rebuilt from the inputs left by `input_dropout`")
TINY = {"n_clusters": 3, "hidden": 16, "channels": 4, "latent_dim": 4, "batch_size": 32, "n_init": 3}


def coder(h, data, n_codes):
    """An encoder to `n_codes` numbers."""
    return encoder(h, data, h.hidden, h.hidden, 4 * h.hidden, n_codes)


def check_pixels(h, data):
    if h.recon_loss == "bce" and not data.unit_range:
        raise UserError("'recon_loss: bce' rebuilds pixels in [0, 1], but the data have other values: say mse, or 'scale: minmax'.")


def coders(h, data, n_codes=None):
    """Encoder and decoder. An encoder may emit more than the code: `n_codes` numbers, the code first."""
    check_pixels(h, data)
    return {
        "encoder": coder(h, data, n_codes or h.latent_dim),
        "decoder": decoder(h, data, h.latent_dim, 4 * h.hidden, h.hidden, h.hidden),
    }


def drop_inputs(g, B, h, data):
    return {"keep_BD": (g.uniform(B, data.n_features) >= h.input_dropout) / (1 - h.input_dropout)}


def autoencode(net, batch, noise, h):
    z_BZ = net.encoder(batch.x_BD * noise.keep_BD)[:, : h.latent_dim]
    return {"recon_ae": misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()}


ALONE = Descend(autoencode, trains=("encoder", "decoder"), lr="lr_pretrain")


def pretraining(updates=(ALONE,), noise=drop_inputs, depends=()):
    """The phase before clustering. `depends`: what its outcome depends on beside the fields of `Pretrained`."""
    shared = tuple(f.name for f in fields(Pretrained) if f.metadata)
    return Phase("pretrain", "pretrain_epochs", clusters=False, depends=shared + depends, noise=noise, updates=updates)


def place_centers(net, data, h, g):
    e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
    return {"centers_KZ": k_means(by_rows(net.encoder, data.x_ND), e_IKN)}


def blank_head(h):
    Z = h.latent_dim
    white = {"mean_Z": torch.zeros(Z), "whiten_ZZ": torch.eye(Z)} if h.whiten else {}
    if h.head == "kmeans":
        return white | {"centers_KZ": torch.zeros(h.n_clusters, Z)}
    return white | Mixture.blank(h.n_clusters, Z, h.covariance)._asdict()


def fit_head(z_NZ, h, g):
    """The head's tensors, fitted to all codes."""
    e_IKN = g.exponential(h.n_init, h.n_clusters, len(z_NZ))
    white = {}
    if h.whiten:
        white = dict(zip(("mean_Z", "whiten_ZZ"), whitening(z_NZ), strict=True))
        z_NZ = (z_NZ - white["mean_Z"]) @ white["whiten_ZZ"]
    if h.head == "kmeans":
        return white | {"centers_KZ": k_means(z_NZ, e_IKN)}
    return white | gmm(z_NZ, e_IKN, h.covariance, h.reg_covar)._asdict()


def by_head(net, z_BZ, h):
    """(B, K): what the head makes of codes."""
    if h.whiten:
        z_BZ = (z_BZ - net.mean_Z) @ net.whiten_ZZ
    return nearest(z_BZ, net.centers_KZ) if h.head == "kmeans" else responsibilities(z_BZ, Mixture.of(net))


class AE(Model):
    paper = "https://doi.org/10.1126/science.1127647"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head, Autoencoder):
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {"recon_ae": RECON_AE}
    tiny = {**TINY, "epochs": 6}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        return blank_head(h)

    def read(self, net, data, h, g):
        return fit_head(by_rows(net.encoder, data.x_ND), h, g)

    def phases(self, h):
        train = Descend(autoencode, trains=("encoder", "decoder"))
        return (Phase("train", "epochs", noise=drop_inputs, updates=(train,), read=self.read),)

    def assign(self, net, x_BD, h):
        return by_head(net, net.encoder(x_BD), h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

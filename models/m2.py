"""Semi-supervised deep generative model M2 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298).

A class y and a style z make x: y ~ uniform, z ~ N(0, I), x ~ p(x | y, z). A classifier q(y | x) and an encoder q(z | x, y) infer them.
Where y is not known it is summed out: the bound is computed for every class and weighed by the classifier.
Shapes: B batch, L labelled samples, D features, Z style, K classes.
Differs from the paper: ReLU instead of softplus, `recon_loss`, and every term is a mean over its own samples. The paper's sums weigh
`labelled` by N_labelled / N_unlabelled and `classify` by alpha / N = 0.1.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from tuner.losses import kl_normal, misfit, one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import mlp

from .ae import check_pixels
from .vae import sampled

TERMS = {
    "labelled": Term(1.0, "L(x, y) = -log p(x | y, z) - log p(y) + KL(q(z | x, y) || N(0, I)), mean over the labelled samples"),
    "unlabelled": Term(1.0, "sum_y q(y | x) L(x, y) - H(q(y | x)), mean over the batch"),
    "classify": Term(1.0, "-log q(y | x), mean over the labelled samples"),
}


def minus_bound(net, x_BD, y_BK, eps_BZ, nll):
    """(B,) L(x, y), equation 6, of one sample of z. `nll(output, x)`: -log p(x | y, z) of every feature."""
    mu_BZ, log_var_BZ = net.encoder(torch.cat([x_BD, y_BK], -1)).chunk(2, -1)
    z_BZ = sampled(mu_BZ, log_var_BZ, eps_BZ)
    return nll(net.decoder(torch.cat([y_BK, z_BZ], -1)), x_BD).sum(-1) + math.log(y_BK.shape[-1]) + kl_normal(mu_BZ, log_var_BZ)


def bounds(net, x_BD, labelled, noise, nll):
    """The terms of equations 6, 7 and 9."""
    (x_LD, y_L), log_q_BK = labelled, net.classifier(x_BD).log_softmax(-1)
    B, K = log_q_BK.shape
    classes_KK = torch.eye(K, dtype=x_BD.dtype, device=x_BD.device)
    every_y = classes_KK.repeat_interleave(B, 0)  # (K B, K): all samples with the first class, then all with the second
    cost_BK = minus_bound(net, x_BD.repeat(K, 1), every_y, noise.eps_KBZ.flatten(0, 1), nll).view(K, B).T
    return {
        "labelled": minus_bound(net, x_LD, classes_KK[y_L], noise.eps_LZ, nll).mean(),
        "unlabelled": (log_q_BK.exp() * (cost_BK + log_q_BK)).sum(-1).mean(),
        "classify": F.cross_entropy(net.classifier(x_LD), y_L),
    }


def draw_styles(g, B, h, style_dim):
    return {"eps_KBZ": g.normal(h.n_clusters, B, style_dim), "eps_LZ": g.normal(h.labelled_batch, style_dim)}


def style_networks(n_features, n_outputs, h, style_dim):
    """The classifier, and the two that share the style; the decoder emits `n_outputs` numbers."""
    D, H, K, Z = n_features, h.hidden, h.n_clusters, style_dim
    return {"classifier": mlp(D, H, K), "encoder": mlp(D + K, H, 2 * Z), "decoder": mlp(K + Z, H, n_outputs)}


class M2(Model):
    paper = "https://arxiv.org/abs/1406.5298"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        latent_dim: int = hp(50, 1, 1024, static=True, doc="Z")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of the hidden layer of classifier, encoder and decoder")
        batch_size: int = hp(100, 2, 65536, static=True)
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | y, z): pixels in [0, 1], or any data")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = TERMS
    tiny = {"n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 2, "hidden": 32, "batch_size": 30, "lr": 3e-3, "epochs": 8}

    def networks(self, h, data):
        check_pixels(h, data)
        return style_networks(data.n_features, data.n_features, h, h.latent_dim)

    def draw(self, g, B, h, data):
        return draw_styles(g, B, h, h.latent_dim)

    def infer(self, net, batch, noise, h):
        return bounds(net, batch.x_BD, batch.labelled, noise, lambda out_BD, x_BD: misfit(out_BD, x_BD, h.recon_loss))

    def phases(self, h):
        train = Descend(self.infer, trains=("classifier", "encoder", "decoder"))
        return (Phase("train", "epochs", noise=self.draw, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return net.classifier(x_BD).softmax(-1)

    def embed(self, net, x_BD, h):
        """The mean style under the likeliest class."""
        y_BK = one_hot(net.classifier(x_BD).argmax(-1), h.n_clusters, x_BD.dtype)
        return net.encoder(torch.cat([x_BD, y_BK], -1)).chunk(2, -1)[0]

"""What the auxiliary and the skip deep generative model (Maaløe, Sønderby, Sønderby & Winther 2016, https://arxiv.org/abs/1602.05473)
share: a number beside class and style, which the classifier draws, too, so that q(y, z | x) need be no Gaussian.

Shapes: B batch, L labelled samples, S samples (any number), D features, H hidden units, Z style, A auxiliary, K classes, P draws.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from tuner.losses import misfit, one_hot
from tuner.model import Hyper, Term, hp
from tuner.nn import mlp

from ._autoencoder import check_pixels
from ._classifier import Classifier
from ._vae import log_density, sampled


@dataclass(frozen=True, kw_only=True)
class Auxiliary(Hyper):
    """For the models with a number beside class and style."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
    latent_dim: int = hp(100, 1, 1024, static=True, doc="Z")
    aux_dim: int = hp(100, 1, 1024, static=True, doc="A")
    hidden: int = hp(200, 8, 8192, static=True, doc="width of both hidden layers of every network; the authors': 500")
    batch_size: int = hp(100, 2, 65536, static=True)
    n_predict: int = hp(10, 1, 1000, static=True, doc="P: draws of the auxiliary number over which a prediction is averaged")
    recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | ...): pixels in [0, 1], or any data")
    max_norm: float = hp(5.0, 1e-3, 1e6, log=True, doc="the gradient's norm is cut to it")
    lr: float = hp(1e-3, 0.0, 1.0, log=True)
    epochs: int = hp(50, 1, 100000)


TERMS = {
    "labelled": Term(1.0, "L(x, y) = -log p(x, y, a, z) + log q(a, z | x, y), mean over the labelled samples"),
    "unlabelled": Term(1.0, "sum_y q(y | a, x) L(x, y) - H(q(y | a, x)), mean over the batch"),
    "classify": Term(0.1, "-N / n_labels log q(y | a, x), mean over the labelled samples; its weight is the paper's beta"),
}
PARTS = ("auxiliary", "classifier", "encoder", "decoder", "auxiliary_prior")


def auxiliary_networks(h, data, decoder_sees, prior_sees):
    """`decoder_sees`, `prior_sees`: how many numbers p(x | ...) and p(a | ...) depend on."""
    check_pixels(h, data)
    D, H, K, Z, A = data.n_features, h.hidden, h.n_clusters, h.latent_dim, h.aux_dim
    return {
        "auxiliary": mlp(D, H, H, 2 * A, norm=True),
        "classifier": Classifier(D + A, H, H, K, norm=True),
        "encoder": mlp(D + A + K, H, H, 2 * Z, norm=True),
        "decoder": mlp(decoder_sees, H, H, D, norm=True),
        "auxiliary_prior": mlp(prior_sees, H, H, 2 * A, norm=True),
    }


def auxiliary_tensors(h, data):
    """The draws by which every prediction is made, the same ones for all samples; and what the paper's beta is multiplied by."""
    return {"eps_PA": torch.randn(h.n_predict, h.aux_dim), "rarity": torch.tensor(data.n_samples / h.n_labels)}


def draw_both(h, data, B, g):
    L, K, Z, A = h.labelled_batch, h.n_clusters, h.latent_dim, h.aux_dim
    return {"eps_BA": g.normal(B, A), "eps_KBZ": g.normal(K, B, Z), "eps_LA": g.normal(L, A), "eps_LZ": g.normal(L, Z)}


def infer_auxiliary(net, x_SD, eps_SA):
    """A sample of a, and log q(a | x)."""
    mu_SA, log_var_SA = net.auxiliary(x_SD).chunk(2, -1)
    a_SA = sampled(mu_SA, log_var_SA, eps_SA)
    return a_SA, log_density(a_SA, mu_SA, log_var_SA)


def minus_bound(net, x_SD, y_SK, a_SA, eps_SZ, h, generate):
    """(S,) L(x, y) but for log q(a | x), which is the same for every class; of one sample of a and z.

    `generate(net, x, y, a, z)`: the output of p(x | ...), and mean and log-variance of p(a | ...), side by side."""
    mu_SZ, log_var_SZ = net.encoder(torch.cat([x_SD, a_SA, y_SK], -1)).chunk(2, -1)
    z_SZ = sampled(mu_SZ, log_var_SZ, eps_SZ)
    out_SD, prior_SA = generate(net, x_SD, y_SK, a_SA, z_SZ)
    log_p_S = log_density(z_SZ, torch.zeros_like(z_SZ), torch.zeros_like(z_SZ)) + log_density(a_SA, *prior_SA.chunk(2, -1))
    recon_S = misfit(out_SD, x_SD, h.recon_loss).sum(-1)
    return recon_S + math.log(y_SK.shape[-1]) + log_density(z_SZ, mu_SZ, log_var_SZ) - log_p_S


def bounds(net, batch, h, noise, generate):
    """The terms of the paper's objective. The running statistics of BatchNorm are of the unlabelled batch alone, as the authors' are."""
    x_BD, (x_LD, y_L), K = batch.x_BD, batch.labelled, h.n_clusters
    a_BA, log_q_a_B = infer_auxiliary(net, x_BD, noise.eps_BA)
    log_q_BK = net.classifier(torch.cat([x_BD, a_BA], -1)).log_softmax(-1)
    B, classes_KK = len(x_BD), torch.eye(K, dtype=x_BD.dtype, device=x_BD.device)
    every_y = classes_KK.repeat_interleave(B, 0)  # (K B, K): all samples with the first class, then all with the second
    cost_KB = minus_bound(net, x_BD.repeat(K, 1), every_y, a_BA.repeat(K, 1), noise.eps_KBZ.flatten(0, 1), h, generate).view(K, B)
    a_LA, log_q_a_L = infer_auxiliary(net.still, x_LD, noise.eps_LA)
    logits_LK = net.still.classifier(torch.cat([x_LD, a_LA], -1))
    return {
        "labelled": (minus_bound(net.still, x_LD, classes_KK[y_L], a_LA, noise.eps_LZ, h, generate) + log_q_a_L).mean(),
        "unlabelled": ((log_q_BK.exp() * (cost_KB.T + log_q_BK)).sum(-1) + log_q_a_B).mean(),
        "classify": net.rarity * F.cross_entropy(logits_LK, y_L),
    }


def predict(net, x_BD):
    """(B, K): the mean of q(y | a, x) over draws of a."""
    mu_BA, log_var_BA = net.auxiliary(x_BD).chunk(2, -1)
    p_BK = 0.0
    for eps_A in net.eps_PA:
        p_BK = p_BK + net.classifier(torch.cat([x_BD, sampled(mu_BA, log_var_BA, eps_A)], -1)).softmax(-1)
    return p_BK / len(net.eps_PA)


def class_features(net, x_BD):
    """(B, H): what the class is read from, under the mean auxiliary number."""
    return net.classifier(torch.cat([x_BD, net.auxiliary(x_BD).chunk(2, -1)[0]], -1), True)


def mean_codes(net, x_BD, h):
    """The likeliest class, one-hot, and the mean style under it and under the mean auxiliary number, which is the third."""
    y_BK = one_hot(predict(net, x_BD).argmax(-1), h.n_clusters, x_BD.dtype)
    a_BA = net.auxiliary(x_BD).chunk(2, -1)[0]
    return y_BK, net.encoder(torch.cat([x_BD, a_BA, y_BK], -1)).chunk(2, -1)[0], a_BA

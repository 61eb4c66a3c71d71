"""M2 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298): a class and a style make a sample, or its features.

Shapes: B batch, L labelled samples, D features, H hidden units, Z style, K classes.
"""

import math

import torch
from torch.nn import functional as F

from tuner.losses import kl_normal
from tuner.model import Term
from tuner.nn import mlp

from ._classifier import Classifier
from ._vae import sampled

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


def draw_styles(h, style_dim, B, g):
    return {"eps_KBZ": g.normal(h.n_clusters, B, style_dim), "eps_LZ": g.normal(h.labelled_batch, style_dim)}


def style_networks(n_features, n_outputs, h, style_dim):
    """The classifier, and the two that share the style; the decoder emits `n_outputs` numbers."""
    D, H, K, Z = n_features, h.hidden, h.n_clusters, style_dim
    return {"classifier": Classifier(D, H, K), "encoder": mlp(D + K, H, 2 * Z), "decoder": mlp(K + Z, H, n_outputs)}

"""What DEC (Xie, Girshick & Farhadi 2016, https://arxiv.org/abs/1511.06335) and the models built on it share: soft assignments to centres
among the codes, pulled towards their own sharpened ones. The equations' numbers are DEC's.

Shapes: B batch, N data set, D features, Z code, K clusters.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import sq_dist
from tuner.model import Hyper, Phase, hp

from ._autoencoder import place_centers


@dataclass(frozen=True, kw_only=True)
class SelfTaught(Hyper):
    """For the models that pull assignments towards their own sharpened ones."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K")
    n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means on the codes")
    boost: float = hp(2.0, 1.0, 10.0, static=True, doc="exponent of the target; DEC: 2; another one is DBC's boosted target")
    alpha: float = hp(1.0, 0.01, 100.0, log=True, doc="degrees of freedom of Student's t")
    target: str = hp("all", choices=("all", "batch"), doc="all samples sharpened every `refresh_every` batches, or each batch by itself")
    refresh_every: int = hp(30, 1, 100000, log=True, doc="target: all; batches between two targets")


KL = "KL(P || Q): sum over clusters of p log(p / q), mean over the batch"


def student_t(z_BZ, centers_KZ, alpha):
    """(B, K) log q, equation 1: Student's t kernel around each centre, normalised over the centres."""
    return (-(alpha + 1) / 2 * torch.log1p(sq_dist(z_BZ, centers_KZ) / alpha)).log_softmax(-1)


def sharpened(q_NK, boost=2.0):
    """(N, K) p, equation 3: raised to `boost`, and divided by the cluster's soft size over all that are given."""
    p_NK = (q_NK.square() if boost == 2.0 else q_NK**boost) / q_NK.sum(0).clamp(min=1e-8)
    return p_NK / p_NK.sum(-1, keepdim=True)


def soft_assign(net, x_BD, h):
    return student_t(net.encoder(x_BD), net.centers_KZ, h.alpha).exp()


def centers_and_target(h, data):
    target = {"target_NK": torch.zeros(data.n_samples, h.n_clusters)} if h.target == "all" else {}
    return {"centers_KZ": torch.zeros(h.n_clusters, h.latent_dim)} | target


def renew_target(net, data, h, g):
    return {"target_NK": sharpened(data.by_rows(lambda x_BD: soft_assign(net, x_BD, h)), h.boost)}


def kl_to_target(net, z_BZ, rows_B, h):
    """Equation 2."""
    log_q_BK = student_t(z_BZ, net.centers_KZ, h.alpha)
    p_BK = net.target_NK[rows_B] if h.target == "all" else sharpened(log_q_BK.detach().exp(), h.boost)
    return (torch.special.xlogy(p_BK, p_BK) - p_BK * log_q_BK).sum(-1).mean()


def self_taught(h, *updates, noise=None):
    """The phase that starts from k-means on the codes, and renews the target as it goes."""
    renewed = {"before_epoch": renew_target, "every_batches": "refresh_every"} if h.target == "all" else {}
    return Phase("cluster", "epochs", updates, noise, start=place_centers, **renewed)

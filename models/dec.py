"""Deep embedded clustering (Xie, Girshick & Farhadi 2016, https://arxiv.org/abs/1511.06335).

Pre-train an auto-encoder, put k-means centres on its codes, then pull soft assignments towards a sharpened target.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the auto-encoder is pre-trained end to end with Adam, not layer by layer; training runs for a number of
epochs, not until the labels rest.
"""

from dataclasses import dataclass

import torch

from tuner.cluster import k_means, sq_dist
from tuner.losses import mse
from tuner.model import SGD, Descend, Hyper, Model, Phase, Term, hp
from tuner.nn import by_rows, mlp


def student_t(z_BZ, centers_KZ, alpha):
    """(B, K) log q, equation 1: Student's t kernel around each centre, normalised over the centres."""
    return (-(alpha + 1) / 2 * torch.log1p(sq_dist(z_BZ, centers_KZ) / alpha)).log_softmax(-1)


def sharpened(q_NK):
    """(N, K) p, equation 3: squared, and divided by the cluster's soft size over the whole data set."""
    p_NK = q_NK.square() / q_NK.sum(0).clamp(min=1e-8)
    return p_NK / p_NK.sum(-1, keepdim=True)


class DEC(Model):
    paper = "https://arxiv.org/abs/1511.06335"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Hyper):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        latent_dim: int = hp(10, 1, 256, static=True, doc="Z")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of the first two hidden layers; the third is four times as wide")
        batch_size: int = hp(256, 2, 65536, static=True)
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means on the codes")
        alpha: float = hp(1.0, 0.01, 100.0, log=True, doc="degrees of freedom of Student's t")
        lr_pretrain: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate in pre-training")
        lr: float = hp(0.01, 0.0, 1.0, log=True, doc="SGD's rate in clustering")
        momentum: float = hp(0.9, 0.0, 1.0)
        refresh_every: int = hp(140, 1, 100000, log=True, doc="batches between two targets")
        pretrain_epochs: int = hp(100, 0, 100000)
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    autoencoder = ("hidden", "latent_dim", "batch_size", "lr_pretrain", "pretrain_epochs")  # what the pre-trained auto-encoder depends on
    terms = {
        "recon_ae": Term(None, "mean (x - x_hat)^2"),
        "kl": Term(None, "KL(P || Q): sum over clusters of p log(p / q), mean over the batch"),
    }
    tiny = {
        "n_clusters": 3,
        "hidden": 16,
        "latent_dim": 4,
        "batch_size": 32,
        "n_init": 3,
        "refresh_every": 4,
        "pretrain_epochs": 10,
        "epochs": 4,
    }

    def networks(self, h, data):
        sizes = (data.n_features, h.hidden, h.hidden, 4 * h.hidden, h.latent_dim)
        return {"encoder": mlp(*sizes), "decoder": mlp(*sizes[::-1])}

    def tensors(self, h, data):
        return {"centers_KZ": torch.zeros(h.n_clusters, h.latent_dim), "target_NK": torch.zeros(data.n_samples, h.n_clusters)}

    def reconstruct(self, net, batch, noise, h):
        return {"recon_ae": mse(net.decoder(net.encoder(batch.x_BD)), batch.x_BD)}

    def sharpen(self, net, batch, noise, h):
        p_BK = net.target_NK[batch.rows_B]
        log_q_BK = student_t(net.encoder(batch.x_BD), net.centers_KZ, h.alpha)
        return {"kl": (torch.special.xlogy(p_BK, p_BK) - p_BK * log_q_BK).sum(-1).mean()}  # equation 2

    def place(self, net, data, h, g):
        e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
        return {"centers_KZ": k_means(by_rows(net.encoder, data.x_ND), e_IKN)}

    def target(self, net, data, h, g):
        return {"target_NK": sharpened(by_rows(lambda x_BD: self.assign(net, x_BD, h), data.x_ND))}

    def phases(self, h):
        return (
            Phase("pretrain", "pretrain_epochs", clusters=False, depends=self.autoencoder, updates=(
                Descend(self.reconstruct, trains=("encoder", "decoder"), lr="lr_pretrain"),
            )),
            Phase("cluster", "epochs", enter=self.place, refresh=self.target, refresh_every="refresh_every", updates=(
                Descend(self.sharpen, trains=("encoder", "centers_KZ"), optimizer=SGD(momentum="momentum")),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return student_t(net.encoder(x_BD), net.centers_KZ, h.alpha).exp()

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

"""Deep clustering network (Yang, Fu, Sidiropoulos & Hong 2017, https://arxiv.org/abs/1610.04794).

An auto-encoder whose codes are drawn to their k-means centres. On every batch the networks take a gradient step with centres and
assignments fixed; then the batch is assigned anew, and every centre moves towards its samples as their running mean does.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the auto-encoder of DEC, pre-trained end to end with Adam (theirs: layer by layer, tied weights, BatchNorm, codes
that are not negative). Differs from the authors' code: lambda multiplies the clustering term, as in the paper, and centres do move: there
an integer division froze them; Adam at 1e-3 in place of Nesterov's momentum at 0.05. The weight of `kmeans` is 1, which is no setting of
theirs: for MNIST's pixels they have 40, on 50 codes.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import nearest, sq_dist
from tuner.losses import misfit
from tuner.model import Descend, Model, Phase, Replace, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, RECON_SUM, TINY, Coders, Denoised, Pretrained, coders, decoded, place_centers, pretraining


class DCN(Model):
    paper = "https://arxiv.org/abs/1610.04794"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Denoised, Coders, Network):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means on the codes")
        first_count: float = hp(100.0, 0.0, 1e9, doc="how many samples each centre stands for at first; a centre moves by 1 / count")
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate in clustering")
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {
        "recon_ae": RECON_AE,
        "recon": RECON_SUM,
        "kmeans": Term(1.0, "1/2 |z - m|^2, m the centre of the sample's cluster; its weight is the paper's lambda"),
    }
    tiny = {**TINY, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        return {
            "centers_KZ": torch.zeros(h.n_clusters, h.latent_dim),
            "count_K": torch.zeros(h.n_clusters),
            "cluster_N": torch.zeros(data.n_samples, dtype=torch.int64),
        }

    def place(self, net, data, h, g):
        placed = place_centers(net, data, h, g)
        s_NK = data.by_rows(lambda x_BD: nearest(net.encoder(x_BD), placed["centers_KZ"]))
        return placed | {"count_K": h.first_count.expand(h.n_clusters), "cluster_N": s_NK.argmax(-1)}

    def reconstruct(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        m_BZ = net.centers_KZ[net.cluster_N[batch.rows_B]]
        return {
            "recon": misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).sum(-1).mean(),
            "kmeans": 0.5 * (z_BZ - m_BZ).square().sum(-1).mean(),
        }

    def move(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        s_BK = nearest(z_BZ, net.centers_KZ)
        n_K = s_BK.sum(0)
        count_K = net.count_K + n_K
        # Sample after sample, m <- m + (z - m) / count, count counted up first: the running mean.
        step_KZ = (s_BK.mT @ z_BZ - n_K[:, None] * net.centers_KZ) / count_K.clamp(min=1)[:, None]
        return {
            "centers_KZ": net.centers_KZ + step_KZ,
            "count_K": count_K,
            "cluster_N": net.cluster_N.scatter(0, batch.rows_B, s_BK.argmax(-1)),
        }

    def phases(self, h):
        return (
            pretraining(),
            Phase("cluster", "epochs", start=self.place, updates=(
                Descend(self.reconstruct, trains=("encoder", "decoder")),
                Replace(self.move),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return nearest(net.encoder(x_BD), net.centers_KZ)

    def distances(self, net, x_BD, h):
        return sq_dist(net.encoder(x_BD), net.centers_KZ).sqrt()

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ net.centers_KZ, h)

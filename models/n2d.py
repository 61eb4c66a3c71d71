"""Not too deep clustering, N2D (McConville, Santos-Rodriguez, Piechocki & Craddock 2019, https://arxiv.org/abs/1908.05968).

An auto-encoder is trained alone; UMAP lays its codes out on a manifold of few dimensions, and a Gaussian mixture on these points finds the
clusters. Nothing is trained towards clusters. One epoch of clustering is some of UMAP's passes, behind which the mixture is fitted anew.
Shapes: B batch, N data set, D features, Z code, E manifold, M neighbours, I starts of k-means, K clusters.
Differs from the authors' code (github.com/rymc/n2d): UMAP is ours, without a package more (`_manifold.py` says how it differs); 100 epochs
of the auto-encoder (theirs: 1,000); the rate of the passes falls from epoch to epoch, not from pass to pass. 20 epochs of 25 passes are
umap-learn's length for fewer than 10,000 samples; for more it has 200 passes. A new sample lies among the points of its code's neighbours,
nearer ones counting more.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import Mixture, gmm, responsibilities
from tuner.model import Model, Phase, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, TINY, Coders, Denoised, Pretrained, coders, decoded, pretraining
from ._manifold import closest, curve, memberships, neighbours, one_pass, spread, united


class N2D(Model):
    paper = "https://arxiv.org/abs/1908.05968"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Denoised, Coders, Network):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        manifold_dim: int = hp(10, 1, 256, static=True, doc="E; theirs is K")
        n_neighbors: int = hp(20, 3, 256, static=True, doc="M + 1: a sample and its neighbours")
        min_dist: float = hp(0.0, 0.0, 3.0, doc="how close neighbours may lie on the manifold")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of the k-means from which the mixture is fitted")
        reg_covar: float = hp(1e-6, 1e-6, 10.0, log=True, doc="added to every variance")
        rate: float = hp(1.0, 0.0, 10.0, doc="UMAP's rate at first; it falls to 0")
        passes: int = hp(25, 1, 100000, doc="UMAP's passes in an epoch")
        epochs: int = hp(20, 1, 100000, doc="clustering epochs")

    terms = {"recon_ae": RECON_AE}
    tiny = {**TINY, "manifold_dim": 3, "n_neighbors": 10, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "passes": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        N, M = data.n_samples, self.seen(h, data) - 1
        graph = {"rows_NM": torch.zeros(N, M, dtype=torch.int64), "edge_NM": torch.zeros(N, M)}
        points = {"codes_NZ": torch.zeros(N, h.latent_dim), "points_NE": torch.zeros(N, h.manifold_dim)}
        return graph | points | Mixture.blank(h.n_clusters, h.manifold_dim, "full")._asdict()

    def seen(self, h, data):
        return min(h.n_neighbors, data.n_samples)

    def start(self, net, data, h, g):
        """UMAP's graph, and where its points begin."""
        z_NZ = data.by_rows(net.encoder)
        rows_NM, gap_NM = neighbours(z_NZ, net.rows_NM.shape[1] + 1)
        points_NE = spread(z_NZ, h.manifold_dim, g.normal(len(z_NZ), h.manifold_dim))
        return {"codes_NZ": z_NZ, "rows_NM": rows_NM, "edge_NM": united(rows_NM, memberships(gap_NM)), "points_NE": points_NE}

    def lay_out(self, net, data, h, g):
        points_NE, ab = net.points_NE, curve(float(h.min_dist))
        for _ in range(int(h.passes)):
            points_NE = one_pass(points_NE, net.rows_NM, net.edge_NM, h.rate, ab, g)
        e_IKN = g.exponential(h.n_init, h.n_clusters, len(points_NE))
        return {"points_NE": points_NE} | gmm(points_NE, e_IKN, "full", h.reg_covar)._asdict()

    def fall(self, h, epoch):
        return {"rate": h.rate * (1 - (epoch - 1) / h.epochs)}

    def phases(self, h):
        return pretraining(), Phase("cluster", "epochs", start=self.start, after_epoch=self.lay_out, schedule=self.fall)

    def assign(self, net, x_BD, h):
        return responsibilities(self.point(net, x_BD), Mixture.of(net))

    def point(self, net, x_BD):
        """(B, E): the point on the manifold; a known sample's own, because it lies at no distance from itself."""
        rows_BM, gap_BM = closest(net.encoder(x_BD), net.codes_NZ, net.rows_NM.shape[1])
        w_BM = 1 / (gap_BM + 1e-9)
        return (w_BM[..., None] * net.points_NE[rows_BM]).sum(1) / w_BM.sum(1, keepdim=True)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

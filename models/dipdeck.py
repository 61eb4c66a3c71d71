"""Dip-based deep embedded clustering with k-estimation, DipDECK (Leiber, Bauer, Schelling, Böhm & Plant 2021,
https://doi.org/10.1145/3447548.3467316).

Starts from more clusters than there are, and merges two whose samples, projected onto the line between their centres, look like one mode
to the dip test. What looks alike is drawn together while it is apart: the codes are pulled towards all centres, by their clusters'
p-values. Centres are samples, encoded anew at every step. `n_clusters` is where it starts; `n_used` is the estimate.
Shapes: B batch, N data set, D features, Z code, K clusters at first.
From the authors' code (github.com/collinleiber/ClustPy) where the paper was not at hand: the spread of the centres' distances in the loss,
the rule for clusters of unequal sizes, the defaults. Differs from it: p-values by a closed form, not a table; the auto-encoder is DEC's;
training ends after `rest_epochs` without a merge, as theirs, or after `epochs`, where theirs has no bound; a cluster that lost all samples
is gone; two clusters at least are left, for one is a collapse here. No forced merges.
"""

from dataclasses import dataclass

import numpy as np
import torch

from tuner.clustering import k_means, sq_dist
from tuner.losses import misfit, one_hot
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, RECON_SUM, TINY, Coders, Denoised, Pretrained, coders, decoded, pretraining
from ._dip import dip, dip_p

LEAST = 50  # samples of two clusters of unequal sizes, if there are so many; the authors'


def closest(points_PZ, center_Z, n):
    """The n points that lie closest to a centre."""
    return points_PZ[np.square(points_PZ - center_Z).sum(-1).argsort(kind="stable")[:n]]


def p_one_mode(z_NZ, cluster_N, centers_KZ, pair, factor):
    """The p-value of the dip of two clusters along the line between their centres; if one is `factor` times as large, the smaller of this
    and of what its samples next to the other leave."""
    a, b = sorted(pair, key=lambda k: int((cluster_N == k).sum()))
    small_PZ, large_PZ = z_NZ[cluster_N == a], z_NZ[cluster_N == b]
    along_Z = centers_KZ[a] - centers_KZ[b]

    def p_of(*parts):
        projected = np.concatenate(parts) @ along_Z
        return dip_p(dip(projected), len(projected))

    p = p_of(small_PZ, large_PZ)
    if len(large_PZ) > factor * len(small_PZ):
        n = max(int(factor * len(small_PZ)), LEAST - len(small_PZ))
        p = min(p, p_of(small_PZ, closest(large_PZ, centers_KZ[a], n)))
    return p


def dips(z_NZ, cluster_N, centers_KZ, alive_K, factor):
    """(K, K) p-values of all pairs that are alive, symmetric; 0 elsewhere."""
    dip_KK = np.zeros((len(alive_K), len(alive_K)))
    alive = np.flatnonzero(alive_K)
    for i, a in enumerate(alive):
        for b in alive[i + 1 :]:
            dip_KK[a, b] = dip_KK[b, a] = p_one_mode(z_NZ, cluster_N, centers_KZ, (a, b), factor)
    return dip_KK


class DipDECK(Model):
    paper = "https://doi.org/10.1145/3447548.3467316"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Denoised, Coders, Network):
        n_clusters: int = hp(35, 2, 256, static=True, doc="K, clusters at first: more than are expected")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means on the codes")
        latent_dim: int = hp(5, 1, 256, static=True, doc="Z")
        threshold: float = hp(0.9, 0.0, 1.0, doc="p-value from which two clusters are merged")
        size_factor: float = hp(2.0, 1.0, 1e6, log=True, doc="ratio of sizes above which the larger cluster is cut")
        min_clusters: int = hp(2, 2, 256, doc="no merge leaves fewer")
        lr: float = hp(1e-4, 0.0, 1.0, log=True, doc="Adam's rate in clustering")
        rest_epochs: int = hp(50, 1, 100000, doc="epochs without a merge after which it ends")
        epochs: int = hp(100, 1, 100000, doc="clustering epochs at most")

    terms = {
        "recon_ae": RECON_AE,
        "recon": RECON_SUM,
        "dip": Term(
            1.0,
            "mean of sum_k w_ck |z - m_k|^2 * (1 + std(g)) / mean(g), c its cluster, w ~ p-values, 1 for c; g: |m_i - m_j|",
        ),
    }
    tiny = {**TINY, "latent_dim": 4, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "lr": 1e-3, "rest_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        K = h.n_clusters
        return {
            "centers_KD": torch.zeros(K, data.n_features),
            "alive_K": torch.ones(K),
            "dip_KK": torch.zeros(K, K),
            "cluster_N": torch.zeros(data.n_samples, dtype=torch.int64),
            "rested": torch.zeros(()),  # epochs since the last merge
        }

    def place(self, net, data, h, g):
        z_NZ = data.by_rows(net.encoder)
        centers_KZ = k_means(z_NZ, g.exponential(h.n_init, h.n_clusters, data.spec.n_samples))
        return self.settled(z_NZ, sq_dist(z_NZ, centers_KZ).argmin(-1), torch.ones_like(net.alive_K), data, h)[0]

    def settled(self, z_NZ, cluster_N, alive_K, data, h):
        """The state after samples were assigned, and the centres' codes: centres are the samples next to the means."""
        n_K = one_hot(cluster_N, len(alive_K), z_NZ.dtype).sum(0)
        alive_K = alive_K * (n_K > 0)
        means_KZ = one_hot(cluster_N, len(alive_K), z_NZ.dtype).mT @ z_NZ / n_K.clamp(min=1)[:, None]
        rows_K = sq_dist(z_NZ, means_KZ).argmin(0)
        host = (t.double().cpu().numpy() for t in (z_NZ, cluster_N, z_NZ[rows_K], alive_K))
        dip_KK = torch.as_tensor(dips(*host, float(h.size_factor)), dtype=z_NZ.dtype, device=z_NZ.device)
        state = {"centers_KD": data.batch(rows_K), "alive_K": alive_K, "dip_KK": dip_KK, "cluster_N": cluster_N}
        return state | {"rested": torch.zeros_like(alive_K[0])}, z_NZ[rows_K]

    def draw_together(self, net, batch, h, noise):
        z_BZ, m_KZ = net.encoder(batch.x_BD), net.encoder(net.centers_KD)
        d_BK = sq_dist(z_BZ, m_KZ)
        # Right after a merge the samples of both clusters stay together, however far the new centre is.
        now_B = torch.where(net.alive_K > 0, d_BK, torch.inf).argmin(-1)
        c_BK = one_hot(torch.where(net.rested > 0, now_B, net.cluster_N[batch.rows_B]), h.n_clusters, d_BK.dtype)
        w_KK = net.dip_KK + net.alive_K.diag()
        pulled = (c_BK @ (w_KK / w_KK.sum(-1, keepdim=True).clamp(min=1)) * d_BK).sum(-1).mean()
        return {
            "recon": misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).sum(-1).mean(),
            "dip": pulled * self.closeness(m_KZ, net.alive_K),
        }

    def closeness(self, m_KZ, alive_K):
        """(1 + standard deviation) / mean of the distances between centres, which keeps them from shrinking together."""
        pair_KK = alive_K[:, None] * alive_K * (1 - torch.eye(len(alive_K), dtype=m_KZ.dtype, device=m_KZ.device))
        square_KK = (m_KZ[:, None] - m_KZ).square().sum(-1)
        gap_KK = torch.where((pair_KK > 0) & (square_KK > 0), square_KK, 1.0).sqrt()
        n = pair_KK.sum().clamp(min=1)
        mean = (gap_KK * pair_KK).sum() / n
        var = ((gap_KK - mean).square() * pair_KK).sum() / (n - 1).clamp(min=1)
        several = n > 2
        return (1 + torch.where(several, torch.where(several, var, 1.0).clamp(min=1e-12).sqrt(), 0.0)) / mean

    def merge(self, net, data, h, g):
        """Every sample to its nearest centre, new centres, and merges while any pair looks like one mode."""
        z_NZ, m_KZ = data.by_rows(net.encoder), net.encoder(net.centers_KD)
        nearest_N = torch.where(net.alive_K > 0, sq_dist(z_NZ, m_KZ), torch.inf).argmin(-1)
        state, m_KZ = self.settled(z_NZ, nearest_N, net.alive_K, data, h)
        state["rested"] = net.rested + 1
        while state["dip_KK"].max() >= h.threshold and state["alive_K"].sum() > h.min_clusters:
            a, b = divmod(int(state["dip_KK"].argmax()), h.n_clusters)
            m_KZ = self.joined(state, (a, b), z_NZ, m_KZ, data, h)
        return state

    def joined(self, state, pair, z_NZ, m_KZ, data, h):
        """Puts two clusters together in `state`, as the first one; its centre is the sample next to the mean of both centres."""
        a, b = pair
        n_a, n_b = ((state["cluster_N"] == k).sum() for k in pair)
        row = sq_dist(z_NZ, ((n_a * m_KZ[a] + n_b * m_KZ[b]) / (n_a + n_b))[None])[:, 0].argmin()
        m_KZ = m_KZ.index_copy(0, torch.as_tensor([a], device=m_KZ.device), z_NZ[row][None])
        state["centers_KD"], state["alive_K"], state["dip_KK"] = (state[t].clone() for t in ("centers_KD", "alive_K", "dip_KK"))
        state["centers_KD"][a], state["alive_K"][b] = data.batch(row[None])[0], 0.0
        state["cluster_N"] = torch.where(state["cluster_N"] == b, a, state["cluster_N"])
        z, cluster, m = (t.double().cpu().numpy() for t in (z_NZ, state["cluster_N"], m_KZ))
        state["dip_KK"][[a, b]], state["dip_KK"][:, [a, b]] = 0.0, 0.0
        for k in state["alive_K"].nonzero()[:, 0].tolist():  # no other pair has changed
            if k != a:
                state["dip_KK"][a, k] = state["dip_KK"][k, a] = p_one_mode(z, cluster, m, (a, k), float(h.size_factor))
        state["rested"] = torch.zeros_like(state["rested"])
        return m_KZ

    def at_rest(self, net, data, h, epoch):
        return bool(net.rested >= h.rest_epochs)

    def phases(self, h):
        together = Descend(self.draw_together, trains=("encoder", "decoder"))
        cluster = Phase("cluster", "epochs", (together,), start=self.place, after_epoch=self.merge, until=self.at_rest)
        return pretraining(), cluster

    def assign(self, net, x_BD, h):
        d_BK = sq_dist(net.encoder(x_BD), net.encoder(net.centers_KD))
        return one_hot(torch.where(net.alive_K > 0, d_BK, torch.inf).argmin(-1), h.n_clusters, d_BK.dtype)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, net.encoder(y_BK @ net.centers_KD), h)

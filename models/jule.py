"""Joint unsupervised learning, JULE (Yang, Parikh & Batra 2016, https://arxiv.org/abs/1604.03628).

Clusters are merged on a graph of neighbours, from short chains of samples on, and the network is trained to tell them apart, in turn: after
every `period` epochs the graph is built anew on the codes, and a share of the clusters is merged, until K are left. A sample is drawn to
the others of its cluster, and away from `n_negatives` of other clusters in the batch, until a margin lies between.
Shapes: B batch, N data set, D features, Z code, K clusters, M neighbours, R negatives.
From the authors' code (github.com/jwyang/JULE.torch) where the paper leaves details open. Differs from it: the gradient is the loss's own
(by reading, theirs moves anchors alone); affinities of all clusters are compared (theirs: of those with a smaller number); one draw of
negatives for each anchor (theirs: for each pair); the rate falls by epochs. Theirs ends when K clusters are left; here one period more
trains at K clusters, and behind each of its epochs the clusters are found anew, from chains on. The network is that for USPS, one
convolution, padded, as digits have 8 x 8 pixels; one hidden layer where samples are no images. K is given, as in the paper. Affinities of
chains are a dense matrix, so the memory grows with the square of the number of samples.
On digits merging the chains of the raw pixels at once has 87.9 already, with one cluster of 353 samples; five seeds of the default lie
between 70.9 and 95.7.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from tuner.clustering import sq_dist
from tuner.losses import one_hot
from tuner.model import SGD, Clusters, Descend, Model, Phase, Term, hp
from tuner.nn import Planes, colours, sides

from ._agglomerate import agglomerated, chains, weights
from ._manifold import neighbours


def drawn_from(layer):
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


class JULE(Model):
    paper = "https://arxiv.org/abs/1604.03628"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        network: str = hp("auto", choices=("auto", "conv", "mlp"), doc="auto: a convolution for images, else fully connected")
        channels: int = hp(50, 1, 1024, static=True, doc="network: conv")
        hidden: int = hp(500, 8, 8192, static=True, doc="network: mlp")
        latent_dim: int = hp(160, 1, 1024, static=True, doc="Z")
        batch_size: int = hp(100, 2, 65536, static=True)
        n_neighbors: int = hp(20, 2, 256, doc="M, K_s in the paper")
        local: int = hp(5, 1, 100, doc="K_c: a cluster's affinities of which the best is to stand out, while there are over 100 clusters")
        unroll: float = hp(0.9, 1e-3, 1.0, doc="eta: share of the clusters that are merged at a time")
        margin: float = hp(0.2, 0.0, 10.0)
        pull: float = hp(1.0, 0.0, 100.0, doc="gamma: weight of the distance within a cluster")
        n_negatives: int = hp(20, 1, 1000, static=True, doc="R")
        lr: float = hp(0.01, 0.0, 1.0, log=True)
        decay: float = hp(2e-3, 0.0, 10.0, doc="the rate is multiplied by (1 + decay * epoch)^-0.75; theirs: 1e-4 for every batch")
        period: int = hp(20, 1, 100000, doc="epochs between two merges")
        merge_epochs: int = hp(200, 0, 100000, doc="epochs at most until K clusters are left")
        epochs: int = hp(20, 1, 100000, doc="epochs at K clusters")

    terms = {"triplet": Term(None, "mean over pairs (a, p) of a cluster and negatives n of max(0, pull |a - p|^2 - |a - n|^2 + margin)")}
    tiny = {
        "n_clusters": 3, "channels": 4, "hidden": 16, "latent_dim": 8, "batch_size": 30, "n_neighbors": 10, "n_negatives": 5, "period": 2,
        "merge_epochs": 8, "epochs": 2,
    }  # fmt: skip

    def networks(self, h, data):
        image = len(data.shape) in (2, 3) if h.network == "auto" else h.network == "conv"
        if not image:
            first, n = [drawn_from(nn.Linear(data.n_features, h.hidden)), nn.BatchNorm1d(h.hidden), nn.ReLU()], h.hidden
        else:
            rows, columns = sides(data)
            conv = drawn_from(nn.Conv2d(colours(data), h.channels, 5, padding=2))
            first = [Planes(rows, columns, colours(data)), conv, nn.BatchNorm2d(h.channels), nn.ReLU()]
            first += [nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(-3)]
            n = h.channels * -(-rows // 2) * -(-columns // 2)
        return {"encoder": nn.Sequential(*first, drawn_from(nn.Linear(n, h.latent_dim)))}

    def tensors(self, h, data):
        N = data.n_samples
        labels = {"cluster_N": torch.zeros(N, dtype=torch.int64), "n_left": torch.zeros(()), "age": torch.zeros(())}
        return labels | {"codes_NZ": torch.zeros(N, h.latent_dim)}  # age: epochs since the last merge

    def draw(self, h, data, B, g):
        return {"order_BB": g.uniform(B, B)}

    def tell_apart(self, net, batch, h, noise):
        z_BZ, c_B = F.normalize(net.encoder(batch.x_BD), dim=-1), net.cluster_N[batch.rows_B]
        d_BB, same_BB = sq_dist(z_BZ, z_BZ), c_B[:, None] == c_B
        rank_BR, rows_BR = torch.where(same_BB, 2.0, noise.order_BB).topk(min(h.n_negatives, len(c_B) - 1), largest=False)
        pair_BB = same_BB.to(d_BB.dtype).triu(1)
        on_BBR = pair_BB[..., None] * (rank_BR < 2).to(d_BB.dtype)[:, None]
        gap_BBR = h.pull * d_BB[..., None] - d_BB.gather(1, rows_BR)[:, None] + h.margin
        return {"triplet": (on_BBR * gap_BBR.relu()).sum() / on_BBR.sum().clamp(min=1)}

    # --- merging, on the host ---------------------------------------------------------------------------------------------

    def graph(self, z_NZ, h):
        """Each sample's neighbours, nearest first, and the weights to them."""
        rows_NM, gap_NM = neighbours(z_NZ, min(int(h.n_neighbors) + 1, len(z_NZ)))
        rows_NM = rows_NM.cpu().numpy()
        return rows_NM, weights(rows_NM, gap_NM.double().cpu().numpy())

    def merged(self, z_NZ, cluster_N, w_NN, n_merges, h):
        merged_N = agglomerated(z_NZ.double().cpu().numpy(), cluster_N, w_NN, n_merges, int(h.local))
        return self.labelled(merged_N, z_NZ)

    def labelled(self, cluster_N, like):
        n_left = like.new_tensor(float(cluster_N.max() + 1))
        return {"cluster_N": torch.as_tensor(cluster_N, device=like.device), "n_left": n_left, "age": torch.zeros_like(n_left)}

    def begin(self, net, data, h, g):
        """Chains of nearest neighbours among the samples themselves, of length 1."""
        x_ND = F.normalize(data.by_rows(lambda x_BD: x_BD), dim=-1)
        return self.labelled(chains(self.graph(x_ND, h)[0][:, 0]), x_ND)

    def merge(self, net, data, h, g):
        if int(net.age) + 1 < int(h.period):
            return {"age": net.age + 1}
        z_NZ, n = data.by_rows(lambda x_BD: self.embed(net, x_BD, h)), int(net.n_left)
        n_merges = max(0, min(math.ceil(float(h.unroll) * n), n - h.n_clusters))
        return self.merged(z_NZ, net.cluster_N.cpu().numpy(), self.graph(z_NZ, h)[1], n_merges, h)

    def find(self, net, data, h, g):
        z_NZ = data.by_rows(lambda x_BD: self.embed(net, x_BD, h))
        rows_NM, w_NN = self.graph(z_NZ, h)
        cluster_N = chains(rows_NM[:, 0])
        n_merges = max(0, int(cluster_N.max()) + 1 - h.n_clusters)
        return {"codes_NZ": z_NZ} | self.merged(z_NZ, cluster_N, w_NN, n_merges, h)

    def few_enough(self, net, data, h, epoch):
        return bool(net.n_left <= h.n_clusters)

    def fall(self, h, epoch):
        return {"lr": h.lr * (1 + h.decay * epoch) ** -0.75}

    def phases(self, h):
        train = (Descend(self.tell_apart, trains=("encoder",), optimizer=SGD(momentum=0.9, weight_decay=5e-5)),)
        unrolled = Phase(
            "merge", "merge_epochs", train, self.draw, clusters=False, start=self.begin, after_epoch=self.merge, until=self.few_enough,
            schedule=self.fall,
        )  # fmt: skip
        return unrolled, Phase("cluster", "epochs", train, self.draw, after_epoch=self.find, schedule=self.fall)

    def assign_rows(self, net, x_BD, rows_B, h):
        return one_hot(net.cluster_N[rows_B], h.n_clusters, x_BD.dtype)

    def assign(self, net, x_BD, h):
        """That of the sample whose code lies nearest."""
        return self.assign_rows(net, x_BD, sq_dist(self.embed(net, x_BD, h), net.codes_NZ).argmin(-1), h)

    def embed(self, net, x_BD, h):
        """(B, Z): of length 1."""
        return F.normalize(net.encoder(x_BD), dim=-1)

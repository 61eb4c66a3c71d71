"""k-means (Lloyd 1982, https://doi.org/10.1109/TIT.1982.1056489) on the raw inputs, one full pass per epoch.

All starts move on together, and the clusters are those of the start whose sum of squared distances is the least by now. To take the best
set of k-means++ centres and to move that alone is not the same: it costs five points of accuracy on USPS.
Shapes: B batch, N data set, D features, I starts, K clusters.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import k_means_plus_plus, lloyd, nearest, ranked, sq_dist
from tuner.model import Clusters, Model, Phase, hp


class KMeans(Model):
    paper = "https://doi.org/10.1109/TIT.1982.1056489"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        n_init: int = hp(10, 1, 1000, static=True, doc="I, starts from k-means++ centres, of which the best is taken")
        epochs: int = hp(50, 1, 100000, doc="Lloyd passes")

    tiny = {"n_clusters": 3, "n_init": 3, "epochs": 4}

    def networks(self, h, data):
        return {}

    def tensors(self, h, data):
        return {"starts_IKD": torch.zeros(h.n_init, h.n_clusters, data.n_features)}  # the best first

    def place(self, net, data, h, g):
        starts_IKD = k_means_plus_plus(data.x_ND, g.exponential(h.n_init, h.n_clusters, data.spec.n_samples))
        return {"starts_IKD": ranked(data.x_ND, starts_IKD)}

    def move(self, net, data, h, g):
        return {"starts_IKD": ranked(data.x_ND, lloyd(data.x_ND, net.starts_IKD))}

    def phases(self, h):
        return (Phase("lloyd", "epochs", start=self.place, after_epoch=self.move),)

    def assign(self, net, x_BD, h):
        return nearest(x_BD, net.starts_IKD[0])

    def distances(self, net, x_BD, h):
        return sq_dist(x_BD, net.starts_IKD[0]).sqrt()

    def embed(self, net, x_BD, h):
        return x_BD

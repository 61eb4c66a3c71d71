"""k-means (Lloyd 1982, https://doi.org/10.1109/TIT.1982.1056489) on the raw inputs, one full pass per epoch.

Shapes: B batch, N data set, D features, K clusters.
"""

from dataclasses import dataclass

import torch

from tuner.cluster import k_means, lloyd, nearest
from tuner.model import Hyper, Model, Phase, hp


class KMeans(Model):
    paper = "https://doi.org/10.1109/TIT.1982.1056489"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Hyper):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        n_init: int = hp(10, 1, 1000, static=True, doc="sets of k-means++ centres, of which the best is taken")
        epochs: int = hp(20, 1, 100000, doc="Lloyd passes")

    tiny = {"n_clusters": 3, "n_init": 3, "epochs": 4}

    def networks(self, h, data):
        return {}

    def tensors(self, h, data):
        return {"centers_KD": torch.zeros(h.n_clusters, data.n_features)}

    def place(self, net, data, h, g):
        return {"centers_KD": k_means(data.x_ND, g.exponential(h.n_init, h.n_clusters, data.spec.n_samples), n_iter=0)}

    def move(self, net, data, h, g):
        return {"centers_KD": lloyd(data.x_ND, net.centers_KD)}

    def phases(self, h):
        return (Phase("lloyd", "epochs", enter=self.place, read=self.move),)

    def assign(self, net, x_BD, h):
        return nearest(x_BD, net.centers_KD)

    def embed(self, net, x_BD, h):
        return x_BD

"""Gaussian mixture by EM (Dempster, Laird & Rubin 1977, https://doi.org/10.1111/j.2517-6161.1977.tb01600.x) on the raw inputs.

Starts from k-means; one epoch is one pass of expectation and maximisation.
Shapes: B batch, N data set, D features, K clusters, I starts of k-means.
Differs from the paper: `reg_covar` is added to every variance, because the likelihood of a feature that never varies has no bound.
"""

from dataclasses import dataclass

from tuner.clustering import Mixture, em, gmm, responsibilities
from tuner.model import Clusters, Model, Phase, hp
from tuner.nn import by_rows


class GMM(Model):
    paper = "https://doi.org/10.1111/j.2517-6161.1977.tb01600.x"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        covariance: str = hp("diag", choices=("diag", "full", "tied"), doc="of each cluster, or one that all share")
        reg_covar: float = hp(1e-2, 1e-6, 1.0, log=True, doc="added to every variance")
        n_init: int = hp(10, 1, 1000, static=True, doc="starts of k-means, of which the best starts the mixture")
        epochs: int = hp(50, 1, 100000, doc="passes of EM")

    tiny = {"n_clusters": 3, "n_init": 3, "epochs": 4}

    def networks(self, h, data):
        return {}

    def tensors(self, h, data):
        return Mixture.blank(h.n_clusters, data.n_features, h.covariance)._asdict()

    def place(self, net, data, h, g):
        e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
        return gmm(data.x_ND, e_IKN, h.covariance, h.reg_covar, n_iter=0)._asdict()

    def improve(self, net, data, h, g):
        return em(data.x_ND, Mixture.of(net), h.covariance, h.reg_covar)[0]._asdict()

    def phases(self, h):
        return (Phase("em", "epochs", start=self.place, after_epoch=self.improve),)

    def assign(self, net, x_BD, h):
        return by_rows(lambda x: responsibilities(x, Mixture.of(net)), x_BD, rows=4096)

    def embed(self, net, x_BD, h):
        return x_BD

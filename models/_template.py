"""My method (its authors, year, https://example.org/my-paper): an auto-encoder whose codes are drawn to the nearest of K centres.

Shapes, with which the names of tensors end: B batch, N data set, D features, Z code, K clusters, I starts of k-means.
Differs from the paper: say here what is not as it is written there.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import k_means, nearest, sq_dist
from tuner.losses import mse
from tuner.model import Clusters, Descend, Model, Phase, Term, hp
from tuner.nn import mlp


class MyModel(Model):
    paper = "https://example.org/my-paper"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):  # what a space may vary: default, legal range. static: shapes, and all that Python branches on
        latent_dim: int = hp(10, 1, 256, static=True, doc="Z")
        hidden: int = hp(256, 8, 8192, static=True, doc="width of the hidden layers")
        batch_size: int = hp(256, 2, 65536, static=True)
        n_init: int = hp(10, 1, 1000, static=True, doc="I")
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate")
        pretrain_epochs: int = hp(20, 0, 100000, doc="epochs of the auto-encoder alone")
        epochs: int = hp(20, 1, 100000, doc="clustering epochs")

    # Every loss term by name: the paper's weight (a space searches `weights.compact`), and what it measures. None: it stands alone in
    # its step, where a weight would change nothing.
    terms = {
        "recon_ae": Term(None, "mean (x - x_hat)^2, before clustering"),
        "recon": Term(1.0, "mean (x - x_hat)^2"),
        "compact": Term(0.01, "|z - m|^2, m the nearest centre"),
    }
    # With these it trains in a second: for `tuner verify`.
    tiny = {"n_clusters": 3, "latent_dim": 4, "hidden": 16, "batch_size": 30, "n_init": 3, "lr": 0.01, "pretrain_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        D, H, Z = data.n_features, h.hidden, h.latent_dim
        return {"encoder": mlp(D, H, H, Z), "decoder": mlp(Z, H, H, D)}

    def tensors(self, h, data):  # state that is no network
        return {"centers_KZ": torch.zeros(h.n_clusters, h.latent_dim)}

    # An update returns its terms, unweighted. It is pure: `noise` has all that is random, and nothing is kept in `self`.
    def autoencode(self, net, batch, h, noise):
        return {"recon_ae": mse(net.decoder(net.encoder(batch.x_BD)), batch.x_BD)}

    def draw_together(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        nearest_B = sq_dist(z_BZ, net.centers_KZ).min(-1).values
        return {"recon": mse(net.decoder(z_BZ), batch.x_BD), "compact": nearest_B.mean()}

    def place(self, net, data, h, g):  # a hook sees the whole data set, and returns the tensors that it replaces
        e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
        return {"centers_KZ": k_means(data.by_rows(net.encoder), e_IKN)}

    def phases(self, h):
        alone = Descend(self.autoencode, trains=("encoder", "decoder"))
        together = Descend(self.draw_together, trains=("encoder", "decoder", "centers_KZ"))
        return (
            Phase("pretrain", "pretrain_epochs", (alone,), clusters=False),
            Phase("cluster", "epochs", (together,), start=self.place),
        )

    def assign(self, net, x_BD, h):  # (B, K) probabilities; one-hot where the method is hard
        return nearest(net.encoder(x_BD), net.centers_KZ)

    def embed(self, net, x_BD, h):  # (B, Z) the codes, for neighbourhood measures and plots
        return net.encoder(x_BD)

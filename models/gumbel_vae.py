"""Simple generative clustering (Arias Figueroa & Ramírez Rivera 2017, https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf).

A variational auto-encoder with deterministic features and two codes that are read off them side by side: a Gaussian z for the style and a
categorical y, made differentiable by Gumbel-softmax, for the cluster. A strong pull of z towards its prior makes the decoder look at y.
Shapes: B batch, D features, F deterministic features, Z code, K clusters.
Differs from the paper: BatchNorm in front of every ReLU, as in its authors' code for few labels; `network: conv` halves images
by strides down to 4 x 4 (theirs: five layers of 3 to 5 pixels); `weights.categorical` is 0.1, not 1. Its term wants every single y
uniform, and where images are small it wins before the decoder has learnt to look at y: on digits ACC is then 0.34 instead of 0.75. The
weight of `gaussian`, 5, is for MNIST: on 64 pixels it extinguishes z, and 1 gained 5 points of ACC on digits, the mean of ten seeds.
"""

from dataclasses import dataclass

from tuner.model import Descend, Model, Phase
from tuner.nn import Network

from ._autoencoder import decoded
from ._gumbel import BOUND, PARTS, Codes, Relaxed, both_codes, bound, cluster_of, code_networks, cool, draw_codes


class GumbelVAE(Model):
    paper = "https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Codes, Relaxed, Network):
        """The two codes, and how the cluster is drawn."""

    terms = BOUND
    tiny = {"n_clusters": 3, "latent_dim": 2, "feature_dim": 8, "hidden": 32, "channels": 4, "batch_size": 30, "lr": 1e-2, "epochs": 15}

    def networks(self, h, data):
        return code_networks(h, data)

    def rebuild(self, net, batch, h, noise):
        return bound(net, batch.x_BD, net.features(batch.x_BD), h, noise)[0]

    def phases(self, h):
        train = Descend(self.rebuild, trains=PARTS)
        return (Phase("train", "epochs", noise=draw_codes, schedule=cool, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return cluster_of(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.features(x_BD)

    def encode(self, net, x_BD, h):
        return both_codes(net, x_BD, h)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

"""Stacked M1+M2 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298).

M1, a variational auto-encoder, learns features from all samples without labels; M2, a deep generative model of class and style, is then
trained on M1's codes, as M2 alone is on pixels. M1 stays as it is.
Shapes: B batch, L labelled samples, D features, H hidden units, Z code of M1, S style, K classes.
Differs from the paper: what M1 and M2 differ in; M2 is given the mean codes, and gives them a Gaussian whose deviation, `noise`, is set
and not learnt: a dimension that M1 does not use hardly varies, and then says nothing, so that none is left out; the mean codes are the
same in every epoch (the authors' code draws them for every batch); the style has 10 numbers (theirs: 50).
"""

import math
from dataclasses import dataclass

import torch

from tuner.model import Descend, Model, PartlyLabelled, Phase, hp

from ._autoencoder import pixels
from ._m1 import ELBO, Features, codes, feature_networks, learn_features
from ._m2 import TERMS, bounds, draw_styles, style_networks


class M1M2(Model):
    paper = "https://arxiv.org/abs/1406.5298"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Features, PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        style_dim: int = hp(10, 1, 1024, static=True, doc="S")
        noise: float = hp(0.25, 0.01, 10.0, log=True, doc="standard deviation of the code given class and style")
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="M2's rate")
        epochs: int = hp(100, 1, 100000, doc="epochs of M2")

    terms = {"elbo": ELBO, **TERMS}
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 4, "style_dim": 2, "hidden": 32, "batch_size": 30,
        "lr_pretrain": 1e-2, "pretrain_epochs": 10, "lr": 3e-3, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        return {**feature_networks(h, data), **style_networks(h.latent_dim, h.latent_dim, h, h.style_dim)}

    def draw(self, h, data, B, g):
        return draw_styles(h, h.style_dim, B, g)

    def infer(self, net, batch, h, noise):
        def gaussian(mean_BZ, z_BZ):
            """-log N(z; mean, noise^2)."""
            return 0.5 * ((z_BZ - mean_BZ) / h.noise).square() + h.noise.log() + 0.5 * math.log(2 * math.pi)

        x_LD, y_L = batch.labelled
        return bounds(net, codes(net, batch.x_BD), (codes(net, x_LD), y_L), noise, gaussian)

    def phases(self, h):
        train = Descend(self.infer, trains=("classifier", "encoder", "decoder"))
        return learn_features(), Phase("train", "epochs", noise=self.draw, updates=(train,))

    def assign(self, net, x_BD, h):
        return net.classifier(codes(net, x_BD)).softmax(-1)

    def embed(self, net, x_BD, h):
        return codes(net, x_BD)

    def decode(self, net, e_BE, h):
        return pixels(net.pixels(e_BE), h)

    def n_styles(self, h):
        return h.style_dim

    def generate(self, net, y_BK, eps_BS, h):
        return self.decode(net, net.decoder(torch.cat([y_BK, eps_BS], -1)), h)

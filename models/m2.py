"""Semi-supervised deep generative model M2 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298).

A class y and a style z make x: y ~ uniform, z ~ N(0, I), x ~ p(x | y, z). A classifier q(y | x) and an encoder q(z | x, y) infer them.
Where y is not known it is summed out: the bound is computed for every class and weighed by the classifier.
Shapes: B batch, L labelled samples, D features, Z style, K classes.
Differs from the paper: ReLU instead of softplus, `recon_loss`, and every term is a mean over its own samples. The paper's sums weigh
`labelled` by N_labelled / N_unlabelled and `classify` by alpha / N = 0.1. No prior of the weights (theirs: N(0, 1), a decay of 1 / N); the
rate is 1e-3 (3e-4); every step sees labelled samples (theirs: once an epoch), and the others' batches hold them, too.
"""

from dataclasses import dataclass

import torch

from tuner.losses import misfit, one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, hp

from ._autoencoder import check_pixels, decoded
from ._m2 import TERMS, bounds, draw_styles, style_networks


class M2(Model):
    paper = "https://arxiv.org/abs/1406.5298"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        latent_dim: int = hp(50, 1, 1024, static=True, doc="Z")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of the hidden layer of classifier, encoder and decoder")
        batch_size: int = hp(100, 2, 65536, static=True)
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | y, z): pixels in [0, 1], or any data")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = TERMS
    tiny = {"n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 2, "hidden": 32, "batch_size": 30, "lr": 3e-3, "epochs": 8}

    def networks(self, h, data):
        check_pixels(h, data)
        return style_networks(data.n_features, data.n_features, h, h.latent_dim)

    def draw(self, h, data, B, g):
        return draw_styles(h, h.latent_dim, B, g)

    def infer(self, net, batch, h, noise):
        return bounds(net, batch.x_BD, batch.labelled, noise, lambda out_BD, x_BD: misfit(out_BD, x_BD, h.recon_loss))

    def phases(self, h):
        train = Descend(self.infer, trains=("classifier", "encoder", "decoder"))
        return (Phase("train", "epochs", noise=self.draw, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return net.classifier(x_BD).softmax(-1)

    def embed(self, net, x_BD, h):
        """(B, H): what the class is read from. Not the style, which is to know nothing of it."""
        return net.classifier(x_BD, True)

    def encode(self, net, x_BD, h):
        """(B, K + Z): the likeliest class, one-hot, and the mean style under it."""
        y_BK = one_hot(net.classifier(x_BD).argmax(-1), h.n_clusters, x_BD.dtype)
        return torch.cat([y_BK, net.encoder(torch.cat([x_BD, y_BK], -1)).chunk(2, -1)[0]], -1)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

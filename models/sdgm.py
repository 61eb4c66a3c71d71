"""Skip deep generative model (Maaløe, Sønderby, Sønderby & Winther 2016, https://arxiv.org/abs/1602.05473).

The auxiliary deep generative model, `adgm`, with the auxiliary number on the way to the sample: y ~ uniform, z ~ N(0, I),
a ~ p(a | z, y), x ~ p(x | a, z, y), where z and y skip a. The inference is the same.
Shapes: B batch, L labelled samples, S samples, D features, Z style, A auxiliary, K classes.
Differs from the authors' code: as `adgm` does.
"""

from dataclasses import dataclass

import torch

from tuner.model import Descend, Model, PartlyLabelled, Phase

from ._autoencoder import decoded
from ._auxiliary import (
    PARTS,
    TERMS,
    Auxiliary,
    auxiliary_networks,
    auxiliary_tensors,
    bounds,
    class_features,
    draw_both,
    mean_codes,
    predict,
)


class SDGM(Model):
    paper = "https://arxiv.org/abs/1602.05473"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Auxiliary, PartlyLabelled):
        pass

    terms = TERMS
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 2, "aux_dim": 2, "hidden": 32, "batch_size": 30,
        "n_predict": 3, "lr": 3e-3, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        codes = h.n_clusters + h.latent_dim
        return auxiliary_networks(h, data, decoder_sees=codes + h.aux_dim, prior_sees=codes)

    def tensors(self, h, data):
        return auxiliary_tensors(h, data)

    def generate_both(self, net, x_SD, y_SK, a_SA, z_SZ):
        """p(x | a, z, y) and p(a | z, y)."""
        yz_SE = torch.cat([y_SK, z_SZ], -1)
        return net.decoder(torch.cat([yz_SE, a_SA], -1)), net.auxiliary_prior(yz_SE)

    def infer(self, net, batch, h, noise):
        return bounds(net, batch, h, noise, self.generate_both)

    def phases(self, h):
        train = Descend(self.infer, trains=PARTS, clip="max_norm")
        return (Phase("train", "epochs", noise=draw_both, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return predict(net, x_BD)

    def embed(self, net, x_BD, h):
        return class_features(net, x_BD)

    def encode(self, net, x_BD, h):
        return torch.cat(mean_codes(net, x_BD, h), -1)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

    def generate(self, net, y_BK, eps_BS, h):
        """Of the mean auxiliary number of the class and the style."""
        yz_BE = torch.cat([y_BK, eps_BS], -1)
        return decoded(net, torch.cat([yz_BE, net.auxiliary_prior(yz_BE).chunk(2, -1)[0]], -1), h)

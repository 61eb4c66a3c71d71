"""Auto-encoder (Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647) with k-means or a Gaussian mixture on its codes.

The two-stage baseline of the deep clustering papers, and the auto-encoder that they pre-train: D-500-500-2000-Z and back, ReLU between,
codes and output linear. The head is fitted anew after every epoch, on the codes as they now are.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: no layer-wise pre-training, Adam; dropout of the inputs is the only noise. What is stacked on it is the baseline of
Xie, Girshick & Farhadi 2016, https://arxiv.org/abs/1511.06335, who train the same network layer by layer.
"""

from dataclasses import dataclass

from tuner.model import Descend, Model, Phase, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, TINY, Coders, Denoised, autoencode, coders, decoded, drop_inputs
from ._heads import Head, blank_head, by_head, fit_head, head_centers, head_distances


class AE(Model):
    paper = "https://doi.org/10.1126/science.1127647"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head, Denoised, Coders, Network):
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {"recon_ae": RECON_AE}
    tiny = {**TINY, "epochs": 6}

    def networks(self, h, data):
        return coders(h, data)

    def tensors(self, h, data):
        return blank_head(h)

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(net.encoder), h, g)

    def phases(self, h):
        train = Descend(autoencode, trains=("encoder", "decoder"))
        return (Phase("train", "epochs", noise=drop_inputs, updates=(train,), after_epoch=self.fit),)

    def assign(self, net, x_BD, h):
        return by_head(net, net.encoder(x_BD), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, net.encoder(x_BD), h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ head_centers(net, h), h)

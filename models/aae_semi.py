"""Semi-supervised adversarial auto-encoder (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2016, https://arxiv.org/abs/1511.05644).

An encoder emits a class y (softmax) and a style z; a decoder rebuilds x from both; two critics push y towards one-hot and z towards
N(0, I); labelled samples teach the encoder their class. Each in a step of its own, as in the paper.
Shapes: B batch, L labelled samples, N = B + L, D features, Z code, K classes, H hidden units.
Differs from the paper: batch-normalised heads, Adam. Differs from the code of `aae_unsup`'s extra losses, whose other mode this is: the
cross-entropy is of the softmax and not of a softmax of the softmax, which could not fall below 1.46 for ten classes; the running
statistics of BatchNorm are of the step that rebuilds alone; that step rebuilds the labelled samples, too (theirs: the others only), which
are half of what those statistics are of; rates stay (theirs: a tenth from epoch 51 on); the others' batches hold the labelled samples, too.
`embed` is the last hidden layer, from which y and z are read, and not z, which the losses keep free of the class.
"""

from dataclasses import dataclass

import torch

from tuner.losses import bce, one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import mlp

from ._adversarial import Encoder, adversaries, fooled, told_apart


class AAESemi(Model):
    paper = "https://arxiv.org/abs/1511.05644"
    labels = "partial"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        latent_dim: int = hp(5, 1, 256, static=True, doc="Z")
        hidden: int = hp(1000, 8, 8192, static=True, doc="width of both hidden layers of every network")
        batch_size: int = hp(100, 2, 65536, static=True)
        lr_ae: float = hp(8e-4, 0.0, 1.0, log=True)
        lr_gen: float = hp(1e-3, 0.0, 1.0, log=True)
        lr_disc: float = hp(2e-4, 0.0, 1.0, log=True)
        lr_class: float = hp(1e-3, 0.0, 1.0, log=True)
        input_noise: float = hp(0.3, 0.0, 10.0, doc="standard deviation of the noise on the images that are rebuilt")
        epochs: int = hp(100, 1, 100000)

    terms = {
        "recon": Term(None, "mean BCE(x_hat, x), over batch and labelled samples"),
        "adv_y": Term(1.0, "-log D_y(y)"),
        "adv_z": Term(1.0, "-log D_z(z)"),
        "critic_y": Term(None, "-log D_y(real y) - log(1 - D_y(y))"),
        "critic_z": Term(None, "-log D_z(real z) - log(1 - D_z(z))"),
        "classify": Term(None, "-log y_k, k the label, mean over the labelled samples"),
    }
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 2, "hidden": 32, "batch_size": 30, "lr_ae": 3e-3,
        "lr_class": 3e-3, "epochs": 10,
    }  # fmt: skip

    def networks(self, h, data):
        D, H, K, Z = data.n_features, h.hidden, h.n_clusters, h.latent_dim
        return {"encoder": Encoder(D, H, K, Z), "decoder": mlp(K + Z, H, H, D), **adversaries(h)}

    def draw(self, h, data, B, g):
        y_BK = one_hot(g.integers(h.n_clusters, B), h.n_clusters, g.dtype)
        return {"eps_ND": g.normal(B + h.labelled_batch, data.n_features), "y_BK": y_BK, "z_BZ": g.normal(B, h.latent_dim)}

    def reconstruct(self, net, batch, h, noise):
        x_ND = torch.cat([batch.x_BD, batch.labelled[0]])
        y_NK, z_NZ = net.encoder(x_ND + h.input_noise * noise.eps_ND)
        return {"recon": bce(net.decoder(torch.cat([y_NK, z_NZ], -1)), x_ND)}

    def deceive(self, net, batch, h, noise):
        return fooled(net, *net.still.encoder(batch.x_BD))

    def discriminate(self, net, batch, h, noise):
        return told_apart(net, (noise.y_BK, noise.z_BZ), net.eval.encoder(batch.x_BD))

    def classify(self, net, batch, h, noise):
        x_LD, y_L = batch.labelled
        y_LK, _ = net.still.encoder(x_LD)
        return {"classify": -y_LK.gather(-1, y_L[:, None]).clamp(min=1e-30).log().mean()}

    def phases(self, h):
        return (
            Phase("train", "epochs", noise=self.draw, updates=(
                Descend(self.reconstruct, trains=("encoder", "decoder"), lr="lr_ae"),
                Descend(self.discriminate, trains=("critic_y", "critic_z"), lr="lr_disc"),
                Descend(self.deceive, trains=("encoder",), lr="lr_gen"),
                Descend(self.classify, trains=("encoder",), lr="lr_class"),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return net.encoder(x_BD)[0]

    def embed(self, net, x_BD, h):
        """(B, H): what clusters are read from. Not the style, out of which the critic drives them."""
        return net.encoder(x_BD, None, True)

    def encode(self, net, x_BD, h):
        return torch.cat(net.encoder(x_BD), -1)

    def decode(self, net, e_BE, h):
        return net.decoder(e_BE).sigmoid()

    def n_styles(self, h):
        return h.latent_dim

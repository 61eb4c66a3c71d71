"""Latent-feature discriminative model M1 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298).

A variational auto-encoder learns features from all samples, then a transductive support vector machine on them learns the classes
from the labelled ones: its margin must also be empty of unlabelled samples.
Shapes: B batch, L labelled samples, D features, H hidden units, Z code, K classes.
Differs from the paper: ReLU instead of softplus, Adam, `recon_loss`; the machine is one against the rest, trained by gradient on the
mean codes (after Chapelle & Zien 2005, https://proceedings.mlr.press/r5/chapelle05b.html: the unlabelled loss is smooth, and the
labels' balance holds among the unlabelled, too), with `svm_hidden` units between codes and classes in a kernel's place.
"""

from dataclasses import dataclass

from tuner.losses import one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import mlp

from ._autoencoder import pixels
from ._m1 import ELBO, Features, codes, feature_networks, learn_features


class M1(Model):
    paper = "https://arxiv.org/abs/1406.5298"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Features, PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        svm_hidden: int = hp(100, 0, 8192, static=True, doc="units between codes and classes; 0: the machine is linear")
        sharpness: float = hp(3.0, 0.1, 100.0, log=True, doc="s: how narrow the margin is that is to be empty")
        lr: float = hp(1e-2, 0.0, 1.0, log=True, doc="the machine's rate")
        epochs: int = hp(30, 1, 100000, doc="epochs of the machine")

    terms = {
        "elbo": ELBO,
        "hinge": Term(1.0, "sum_k max(0, 1 - t_k f_k(x))^2, t_k = 1 for the class and -1 for the others, mean over the labelled samples"),
        "empty": Term(0.3, "sum_k exp(-s f_k(x)^2), mean over the batch: no unlabelled sample within the margin"),
        "balance": Term(1.0, "sum_k (mean over the batch of f_k - mean over the labelled samples of t_k)^2"),
    }
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 4, "hidden": 32, "batch_size": 15,
        "svm_hidden": 16, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "lr": 5e-2, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        sizes = (h.latent_dim, *([h.svm_hidden] if h.svm_hidden else []), h.n_clusters)
        return {**feature_networks(h, data), "machine": mlp(*sizes)}

    def separate(self, net, batch, h, noise):
        x_LD, y_L = batch.labelled
        t_LK = 2 * one_hot(y_L, h.n_clusters, x_LD.dtype) - 1
        f_LK, f_BK = net.machine(codes(net, x_LD)), net.machine(codes(net, batch.x_BD))
        return {
            "hinge": (1 - t_LK * f_LK).relu().square().sum(-1).mean(),
            "empty": (-h.sharpness * f_BK.square()).exp().sum(-1).mean(),
            "balance": (f_BK.mean(0) - t_LK.mean(0)).square().sum(),
        }

    def phases(self, h):
        return learn_features(), Phase("classify", "epochs", updates=(Descend(self.separate, trains=("machine",)),))

    def assign(self, net, x_BD, h):
        return net.machine(codes(net, x_BD)).softmax(-1)

    def embed(self, net, x_BD, h):
        return codes(net, x_BD)

    def decode(self, net, e_BE, h):
        return pixels(net.pixels(e_BE), h)

"""Latent-feature discriminative model M1 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298).

A variational auto-encoder learns features from all samples, then a transductive support vector machine on them learns the classes
from the labelled ones: its margin must also be empty of unlabelled samples.
Shapes: B batch, L labelled samples, D features, H hidden units, Z code, K classes.
Differs from the paper: ReLU instead of softplus, Adam, `recon_loss`; the machine is one against the rest, trained by gradient on the
mean codes (after Chapelle & Zien 2005, https://proceedings.mlr.press/r5/chapelle05b.html: the unlabelled loss is smooth, and the
labels' balance holds among the unlabelled, too), with `svm_hidden` units between codes and classes in a kernel's place.
"""

from dataclasses import dataclass

from tuner.losses import kl_normal, misfit, one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import mlp

from .ae import MISFIT, check_pixels
from .vae import draw_code, sampled


@dataclass(frozen=True, kw_only=True)
class Features(PartlyLabelled):
    """For the models that start from M1's features: every field here, and no other, decides how they turn out."""

    latent_dim: int = hp(50, 1, 1024, static=True, doc="Z")
    hidden: int = hp(500, 8, 8192, static=True, doc="width of the variational auto-encoder's two hidden layers, either way")
    batch_size: int = hp(100, 2, 65536, static=True)
    recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z): pixels in [0, 1], or any data")
    lr_pretrain: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate while the features are learnt")
    pretrain_epochs: int = hp(300, 0, 100000)


ELBO = Term(None, f"sum over features of {MISFIT} + KL(q(z | x) || N(0, I)), mean over the batch")


def feature_networks(h, data):
    check_pixels(h, data)
    D, H, Z = data.n_features, h.hidden, h.latent_dim
    return {"features": mlp(D, H, H, 2 * Z), "pixels": mlp(Z, H, H, D)}


def bound(net, batch, noise, h):
    """Minus the ELBO."""
    mu_BZ, log_var_BZ = net.features(batch.x_BD).chunk(2, -1)
    recon_B = misfit(net.pixels(sampled(mu_BZ, log_var_BZ, noise.eps_BZ)), batch.x_BD, h.recon_loss).sum(-1)
    return {"elbo": (recon_B + kl_normal(mu_BZ, log_var_BZ)).mean()}


def learn_features():
    train = Descend(bound, trains=("features", "pixels"), lr="lr_pretrain")
    depends = tuple(Features.__annotations__)
    return Phase("pretrain", "pretrain_epochs", clusters=False, depends=depends, noise=draw_code, updates=(train,))


def codes(net, x_BD):
    return net.features(x_BD).chunk(2, -1)[0]


class M1(Model):
    paper = "https://arxiv.org/abs/1406.5298"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Features):
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

    def separate(self, net, batch, noise, h):
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

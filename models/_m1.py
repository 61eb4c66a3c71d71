"""M1 (Kingma, Rezende, Mohamed & Welling 2014, https://arxiv.org/abs/1406.5298): features by a variational auto-encoder, without labels.

Shapes: B batch, D features, H hidden units, Z code.
"""

from dataclasses import dataclass, fields

from tuner.losses import kl_normal, misfit
from tuner.model import Descend, Hyper, Phase, Term, hp
from tuner.nn import mlp

from ._autoencoder import MISFIT, check_pixels
from ._vae import draw_code, sampled


@dataclass(frozen=True, kw_only=True)
class Features(Hyper):
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


def bound(net, batch, h, noise):
    """Minus the ELBO."""
    mu_BZ, log_var_BZ = net.features(batch.x_BD).chunk(2, -1)
    recon_B = misfit(net.pixels(sampled(mu_BZ, log_var_BZ, noise.eps_BZ)), batch.x_BD, h.recon_loss).sum(-1)
    return {"elbo": (recon_B + kl_normal(mu_BZ, log_var_BZ)).mean()}


def learn_features():
    train = Descend(bound, trains=("features", "pixels"), lr="lr_pretrain")
    depends = tuple(f.name for f in fields(Features) if f.metadata)
    return Phase("pretrain", "pretrain_epochs", clusters=False, depends=depends, noise=draw_code, updates=(train,))


def codes(net, x_BD):
    return net.features(x_BD).chunk(2, -1)[0]

"""What the models with an auto-encoder share: its shape, what it rebuilds, and how it trains alone before clustering.

Codes and outputs are linear, D-500-500-2000-Z and back by default, the auto-encoder of Xie, Girshick & Farhadi 2016,
https://arxiv.org/abs/1511.06335; or convolutions.
Shapes: B batch, N data set, D features, Z code, K clusters, I starts of k-means.
"""

from dataclasses import dataclass, fields

from tuner.clustering import k_means
from tuner.errors import UserError
from tuner.losses import misfit
from tuner.model import Descend, Hyper, Phase, Term, hp
from tuner.nn import Network, decoder, encoder

# --- hyper-parameters --------------------------------------------------------------------------------------------------
# A model's Hyper lists the parts that it is made of, the last one first in what users see:
# `class Hyper(Pretrained, Denoised, Coders, Network)`.


@dataclass(frozen=True, kw_only=True)
class Coders(Hyper):
    """The auto-encoder's shape and what it is trained to rebuild."""

    latent_dim: int = hp(10, 1, 256, static=True, doc="Z")
    hidden: int = hp(500, 8, 8192, static=True, doc="width of the first two hidden layers; the third is four times as wide")
    batch_size: int = hp(256, 2, 65536, static=True)
    recon_loss: str = hp("mse", choices=("mse", "bce"), doc="squared error, or cross-entropy of pixels in [0, 1] with a sigmoid output")


@dataclass(frozen=True, kw_only=True)
class Denoised(Hyper):
    """What the auto-encoder sees while it trains alone."""

    input_dropout: float = hp(0.0, 0.0, 0.95, doc="share of the inputs hidden while the auto-encoder trains alone")


@dataclass(frozen=True, kw_only=True)
class Pretrained(Hyper):
    """For the models that start from a trained auto-encoder."""

    lr_pretrain: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate in pre-training")
    pretrain_epochs: int = hp(100, 0, 100000)


# Every field of these parts, and no other, decides how a pre-trained auto-encoder turns out.
SHAPED_BY = tuple(f.name for part in (Network, Coders, Denoised, Pretrained) for f in fields(part) if f.metadata)

MISFIT = "(x - x_hat)^2 or BCE(x_hat, x), whichever `recon_loss` says"
RECON_AE = Term(None, f"mean over features of {MISFIT}, x_hat rebuilt from the inputs left by `input_dropout`")
RECON_MEAN = Term(1.0, f"mean over features of {MISFIT}")
RECON_SUM = Term(1.0, f"sum over features of {MISFIT}, mean over the batch")
TINY = {"n_clusters": 3, "hidden": 16, "channels": 4, "latent_dim": 4, "batch_size": 32, "n_init": 3}


def coder(h, data, n_codes):
    """An encoder to `n_codes` numbers."""
    return encoder(h, data, h.hidden, h.hidden, 4 * h.hidden, n_codes)


def check_pixels(h, data):
    if h.recon_loss == "bce" and not data.unit_range:
        raise UserError("'recon_loss: bce' rebuilds pixels in [0, 1], but the data have other values: say mse, or 'scale: minmax'.")


def coders(h, data, n_codes=None):
    """Encoder and decoder. An encoder may emit more than the code: `n_codes` numbers, the code first."""
    check_pixels(h, data)
    return {
        "encoder": coder(h, data, n_codes or h.latent_dim),
        "decoder": decoder(h, data, h.latent_dim, 4 * h.hidden, h.hidden, h.hidden),
    }


def pixels(output_BD, h):
    """What the decoder's output means as data."""
    return output_BD.sigmoid() if h.recon_loss == "bce" else output_BD


def decoded(net, z_BZ, h):
    """(B, D): what a code means as data."""
    return pixels(net.decoder(z_BZ), h)


def drop_inputs(h, data, B, g):
    return {"keep_BD": (g.uniform(B, data.n_features) >= h.input_dropout) / (1 - h.input_dropout)}


def autoencode(net, batch, h, noise):
    z_BZ = net.encoder(batch.x_BD * noise.keep_BD)[:, : h.latent_dim]
    return {"recon_ae": misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()}


ALONE = Descend(autoencode, trains=("encoder", "decoder"), lr="lr_pretrain")


def pretraining(updates=(ALONE,), noise=drop_inputs, depends=()):
    """The phase before clustering. `depends`: what its outcome depends on beside what shapes the auto-encoder."""
    return Phase("pretrain", "pretrain_epochs", clusters=False, depends=SHAPED_BY + depends, noise=noise, updates=updates)


def place_centers(net, data, h, g):
    e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
    return {"centers_KZ": k_means(data.by_rows(net.encoder), e_IKN)}

"""Mixing consistent deep clustering (Lutscher, el Hassouni, Stol & Hoogendoorn 2020, https://arxiv.org/abs/2011.01977) on IDEC.

ACAI's critic stands beside IDEC's auto-encoder while it is pre-trained and while it clusters: a decoded mixture of two codes is to look
unmixed, and like the sample whose code has the larger share.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the networks are acai's; Adam without weight decay (theirs: AMSGrad in clustering). Differs from the authors' code:
KL is a mean over the batch, not over its K times as many entries, targets keep to their samples, and rates are 1e-3 (theirs: 1e-4).
"""

from dataclasses import dataclass

from tuner.losses import misfit
from tuner.model import Descend, Model, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_MEAN, TINY, Coders, Denoised, Pretrained, decoded
from ._mixing import INTERP, MIX, PRETRAINED_TERMS, Constrained, coders_and_critic, interpolate, phases_mixed
from ._self_taught import KL, SelfTaught, centers_and_target, kl_to_target, soft_assign


class ACAIIDEC(Model):
    paper = "https://arxiv.org/abs/2011.01977"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Constrained, SelfTaught, Pretrained, Denoised, Coders, Network):
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate in clustering")
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {**PRETRAINED_TERMS, "recon": RECON_MEAN, "kl": Term(0.1, KL), "interp": Term(1.0, INTERP), "mix": Term(1.0, MIX)}
    tiny = {**TINY, "refresh_every": 4, "lr_pretrain": 1e-2, "pretrain_epochs": 15, "epochs": 4}

    def networks(self, h, data):
        return coders_and_critic(h, data)

    def tensors(self, h, data):
        return centers_and_target(h, data)

    def sharpen(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        recon = misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()
        kl = kl_to_target(net, z_BZ, batch.rows_B, h)
        return {"recon": recon, "kl": kl} | interpolate(net, z_BZ, batch, h, noise)

    def phases(self, h):
        return phases_mixed(h, Descend(self.sharpen, trains=("encoder", "decoder", "centers_KZ")))

    def assign(self, net, x_BD, h):
        return soft_assign(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ net.centers_KZ, h)

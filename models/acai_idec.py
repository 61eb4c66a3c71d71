"""Mixing consistent deep clustering (Lutscher, el Hassouni, Stol & Hoogendoorn 2020, https://arxiv.org/abs/2011.01977) on IDEC.

ACAI's critic stands beside IDEC's auto-encoder while it is pre-trained and while it clusters: a decoded mixture of two codes is to look
unmixed, and like the sample whose code has the larger share.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the networks are acai's; Adam without weight decay (theirs: AMSGrad in clustering). Differs from the authors' code:
KL is a mean over the batch, not over its K times as many entries, and targets keep to their samples.
"""

from dataclasses import dataclass

from tuner.losses import misfit
from tuner.model import Descend, Model, Term, hp

from .acai import CRITIC_DATA, CRITIC_MIX, INTERP, MIX, RECON, coders_and_critic, criticise, draw_shares, interpolate
from .ae import RECON_AE, TINY, autoencode, drop_inputs, pretraining
from .dec import KL, SelfTaught, centers_and_target, kl_to_target, self_taught, soft_assign
from .idec import IDEC


@dataclass(frozen=True, kw_only=True)
class Constrained(SelfTaught):
    """For the models whose codes are both clustered and mixed."""

    blend: float = hp(0.2, 0.0, 1.0, doc="the data's share in what the critic is to find unmixed; ACAI's gamma")
    lr_critic: float = hp(1e-3, 0.0, 1.0, log=True, doc="the critic's rate, in both phases")


PRETRAINED_TERMS = {
    "recon_ae": Term(1.0, RECON_AE.doc),
    "interp_ae": Term(0.5, f"{INTERP}, in pre-training"),
    "mix_ae": Term(1.0, f"{MIX}, in pre-training"),
    "critic_mix": CRITIC_MIX,
    "critic_data": CRITIC_DATA,
}
CRITICISE = Descend(criticise, trains=("critic",), lr="lr_critic")


def autoencode_mixed(net, batch, noise, h):
    z_BZ = net.encoder(batch.x_BD)
    return autoencode(net, batch, noise, h) | interpolate(net, z_BZ, batch, noise, h, names=("interp_ae", "mix_ae"))


def pretraining_mixed():
    def draw(g, B, h, data):
        return drop_inputs(g, B, h, data) | draw_shares(g, B, h, data)

    weights = tuple(f"weights.{term}" for term in PRETRAINED_TERMS)
    both = Descend(autoencode_mixed, trains=("encoder", "decoder"), lr="lr_pretrain")
    return pretraining((both, CRITICISE), draw, depends=("blend", "lr_critic", *weights))


def phases_mixed(h, sharpen):
    """Pre-training, then clustering by this update, the critic beside both."""
    return pretraining_mixed(), self_taught(h, sharpen, CRITICISE, noise=draw_shares)


class ACAIIDEC(Model):
    paper = "https://arxiv.org/abs/2011.01977"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(IDEC.Hyper, Constrained):
        """IDEC's, and what ACAI adds."""

    terms = {**PRETRAINED_TERMS, "recon": RECON, "kl": Term(0.1, KL), "interp": Term(1.0, INTERP), "mix": Term(1.0, MIX)}
    tiny = {**TINY, "refresh_every": 4, "lr_pretrain": 1e-2, "pretrain_epochs": 15, "epochs": 4}

    def networks(self, h, data):
        return coders_and_critic(h, data)

    def tensors(self, h, data):
        return centers_and_target(h, data)

    def sharpen(self, net, batch, noise, h):
        z_BZ = net.encoder(batch.x_BD)
        recon = misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()
        kl = kl_to_target(net, z_BZ, batch.rows_B, h)
        return {"recon": recon, "kl": kl} | interpolate(net, z_BZ, batch, noise, h)

    def phases(self, h):
        return phases_mixed(h, Descend(self.sharpen, trains=("encoder", "decoder", "centers_KZ")))

    def assign(self, net, x_BD, h):
        return soft_assign(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

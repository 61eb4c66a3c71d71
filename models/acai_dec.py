"""Mixing consistent deep clustering (Lutscher, el Hassouni, Stol & Hoogendoorn 2020, https://arxiv.org/abs/2011.01977) on DEC.

The auto-encoder is pre-trained beside ACAI's critic; then DEC sharpens its clusters, while codes must still decode, in mixtures, into what
the critic takes for data. The decoder stays as pre-trained: nothing is rebuilt any more, and it could please the critic alone.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: theirs is IDEC, which rebuilds; see acai_idec, whose pre-training and rates these are.
"""

from dataclasses import dataclass

from tuner.model import SGD, Descend, Model, Term, hp
from tuner.nn import Network

from ._autoencoder import TINY, Coders, Denoised, Pretrained, decoded
from ._mixing import INTERP, MIX, PRETRAINED_TERMS, Constrained, coders_and_critic, interpolate, phases_mixed
from ._self_taught import KL, SelfTaught, centers_and_target, kl_to_target, soft_assign


class ACAIDEC(Model):
    paper = "https://arxiv.org/abs/2011.01977"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Constrained, SelfTaught, Pretrained, Denoised, Coders, Network):
        lr: float = hp(0.01, 0.0, 1.0, log=True, doc="SGD's rate in clustering")
        momentum: float = hp(0.9, 0.0, 1.0)
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {**PRETRAINED_TERMS, "kl": Term(1.0, KL), "interp": Term(1.0, INTERP), "mix": Term(0.0, MIX)}
    tiny = {**TINY, "refresh_every": 4, "lr_pretrain": 1e-2, "pretrain_epochs": 15, "epochs": 4}

    def networks(self, h, data):
        return coders_and_critic(h, data)

    def tensors(self, h, data):
        return centers_and_target(h, data)

    def sharpen(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        return {"kl": kl_to_target(net, z_BZ, batch.rows_B, h)} | interpolate(net, z_BZ, batch, h, noise)

    def phases(self, h):
        return phases_mixed(h, Descend(self.sharpen, trains=("encoder", "centers_KZ"), optimizer=SGD(momentum="momentum")))

    def assign(self, net, x_BD, h):
        return soft_assign(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ net.centers_KZ, h)

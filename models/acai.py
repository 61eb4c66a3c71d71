"""Adversarially constrained auto-encoder interpolation (Berthelot, Raffel, Roy & Goodfellow 2019, https://arxiv.org/abs/1807.07543).

An auto-encoder is to decode mixtures of two codes into what looks like data. A critic sees a decoded mixture and guesses how much of the
other code is in it; the auto-encoder wants it to guess none. Clusters are k-means' on the whitened codes.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the auto-encoder of DEC, or convolutions that halve images by strides and end in a dense code, and a critic of the
shape of its encoder; data in their own range (theirs: [-1, 1], where squared errors are four times as large, so that their weight of
`interp`, 0.5, is 0.125 here); Adam's rate is 1e-3 (theirs: 1e-4, for 262,144 steps); k-means++ in place of random starts, 20 of them, not
1000. `mix` is that of acai_idec's paper, where a mixture counts under the sample whose share is the larger; here, as in ACAI's code, it
counts under the other one, which is the same. Whitening is for their 32 or 256 convolutional codes. Of ten numbers it blows up those that
carry least: on digits `whiten: false` finds clusters 6 to 11 points of ACC better, with convolutional codes of 32 numbers, too.
"""

from dataclasses import dataclass

from tuner.losses import misfit
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_MEAN, TINY, Coders, decoded
from ._heads import Head, blank_head, by_head, fit_head, head_centers, head_distances
from ._mixing import CRITIC_DATA, CRITIC_MIX, INTERP, MIX, coders_and_critic, criticise, draw_shares, interpolate


class ACAI(Model):
    paper = "https://arxiv.org/abs/1807.07543"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head, Coders, Network):
        batch_size: int = hp(64, 2, 65536, static=True)
        whiten: bool = hp(True, doc="the head sees codes without correlations, all of variance 1")
        blend: float = hp(0.2, 0.0, 1.0, doc="the data's share in what the critic is to find unmixed; the paper's gamma")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        lr_critic: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {
        "recon": RECON_MEAN,
        "interp": Term(0.125, INTERP),
        "mix": Term(0.0, MIX),
        "critic_mix": CRITIC_MIX,
        "critic_data": CRITIC_DATA,
    }
    tiny = {**TINY, "lr": 3e-3, "lr_critic": 3e-3, "epochs": 10}

    def networks(self, h, data):
        return coders_and_critic(h, data)

    def tensors(self, h, data):
        return blank_head(h)

    def reconstruct(self, net, batch, h, noise):
        z_BZ = net.encoder(batch.x_BD)
        recon = misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).mean()
        return {"recon": recon} | interpolate(net, z_BZ, batch, h, noise)

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(net.encoder), h, g)

    def phases(self, h):
        updates = (
            Descend(self.reconstruct, trains=("encoder", "decoder")),
            Descend(criticise, trains=("critic",), lr="lr_critic"),
        )
        return (Phase("train", "epochs", noise=draw_shares, updates=updates, after_epoch=self.fit),)

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

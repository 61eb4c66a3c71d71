"""Unsupervised adversarial auto-encoder (Makhzani, Shlens, Jaitly, Goodfellow & Frey 2016, https://arxiv.org/abs/1511.05644) with
four extra losses.

An encoder emits a cluster y (softmax) and a style z; a decoder rebuilds x from both; two critics push y towards one-hot and z towards
N(0, I). The extra losses give meaning to y: cyclic (encode, decode, encode again), l2_z, mode (a second decoder sees only y) and
pairwise (the decoder's modes lie apart).
Shapes: B batch, D features, Z code, K clusters, H hidden units.
Differs from the paper: batch-normalised heads, Adam, dropout behind the first layer. Differs from the code that added the losses, where
that code's behaviour is not a named choice (`updates: separate`, `l2: norm`, `pairwise_form: original`): logits instead of guarded
logarithms, auxiliary passes leave BatchNorm's running statistics alone, a rate drop keeps Adam's moments, `hidden` is 1000 by default
(theirs: 3000). The defaults are nobody's configuration: all four extra losses are on, where that code's has l2_z and pairwise alone.
`embed` is the last hidden layer, from which y and z are read, and not z, which the losses keep free of the cluster.
"""

from dataclasses import dataclass

import torch
from torch import nn

from tuner.losses import bce, bernoulli, mse, one_hot
from tuner.model import Clusters, Descend, Model, Phase, Term, hp
from tuner.nn import mlp

from ._adversarial import Encoder, adversaries, fooled, told_apart


def apart(modes_KD, original):
    """The pairwise loss of the modes' logits: minus their mean absolute distance, or the original's unbounded, one-sided BCE."""
    n = len(modes_KD)
    x_KD = modes_KD.sigmoid()
    if not original:
        return -(x_KD[:, None] - x_KD).abs().mean(-1).sum() / (n * (n - 1))
    t_KD = x_KD.detach()
    pair_KK = nn.functional.softplus(modes_KD).mean(-1)[:, None] - modes_KD @ t_KD.T / modes_KD.shape[-1]  # BCE(x_a, x_b)
    return -2 / (n * (n - 1)) * pair_KK.triu(1).sum()


class AAEUnsup(Model):
    paper = "https://arxiv.org/abs/1511.05644"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        latent_dim: int = hp(5, 1, 256, static=True, doc="Z")
        hidden: int = hp(1000, 8, 8192, static=True, doc="width of both hidden layers of every network")
        batch_size: int = hp(100, 2, 65536, static=True)
        updates: str = hp(
            "joint", choices=("joint", "separate"), doc="one step for all that rebuilds, or a step for each loss as the original"
        )
        l2: str = hp("mean", choices=("mean", "norm"), doc="l2_z is mean |z|^2, or the original's Frobenius norm of the batch")
        pairwise_form: str = hp("symmetric", choices=("symmetric", "original"), doc="bounded distance of all pairs, or -BCE of a < b")
        categorical_prior: str = hp(
            "uniform", choices=("uniform", "balancing"), doc="real labels: any, or rather those used least in the batch"
        )
        prior_temperature: float = hp(1.0, 0.01, 1000.0, log=True, doc="balancing: p = softmax(-counts / T)")
        lr_ae: float = hp(8e-4, 0.0, 1.0, log=True)
        lr_gen: float = hp(2e-3, 0.0, 1.0, log=True)
        lr_disc: float = hp(2e-4, 0.0, 1.0, log=True)
        lr_cyclic: float = hp(1e-5, 0.0, 1.0, log=True, doc="updates: separate")
        lr_mode: float = hp(8e-4, 0.0, 1.0, log=True, doc="updates: separate")
        lr_pairwise: float = hp(5e-6, 0.0, 1.0, log=True, doc="updates: separate")
        input_noise: float = hp(0.3, 0.0, 10.0, doc="standard deviation of the noise on the images that are rebuilt")
        dropout: float = hp(0.2, 0.0, 0.95)
        drop_epoch: int = hp(50, 1, 100000, doc="the last epoch before all rates are multiplied by drop_factor")
        drop_factor: float = hp(0.1, 0.0, 1.0)
        epochs: int = hp(100, 1, 100000)

    terms = {
        "recon": Term(1.0, "mean BCE(x_hat, x)"),
        "cyclic": Term(0.01, "mean BCE(y', sg[y]), y' the cluster of the decoded image"),
        "cyclic_z": Term(0.001, "mean (z' - sg[z])^2"),
        "mode": Term(1.0, "mean BCE(M(y), x), M the mode decoder"),
        "pairwise": Term(0.006, "- mean over a != b of mean |x_a - x_b|, x_a = P(e_a, 0)"),
        "adv_y": Term(1.0, "-log D_y(y)"),
        "adv_z": Term(1.0, "-log D_z(z)"),
        "l2_z": Term(0.15, "mean |z|^2"),
        "critic_y": Term(None, "-log D_y(real y) - log(1 - D_y(y))"),
        "critic_z": Term(None, "-log D_z(real z) - log(1 - D_z(z))"),
    }
    tiny = {"n_clusters": 3, "latent_dim": 2, "hidden": 32, "batch_size": 30, "lr_ae": 3e-3, "epochs": 15}

    def networks(self, h, data):
        D, H, K, Z = data.n_features, h.hidden, h.n_clusters, h.latent_dim
        return {
            "encoder": Encoder(D, H, K, Z),
            "decoder": mlp(K + Z, H, H, D),
            "mode_decoder": mlp(K, H, H, D),
            **adversaries(h),
        }

    def draw(self, h, data, B, g):
        def mask():
            return (g.uniform(B, h.hidden) >= h.dropout) / (1 - h.dropout)

        noise = {"eps_BD": g.normal(B, data.n_features), "z_BZ": g.normal(B, h.latent_dim), "recon_BH": mask(), "fool_BH": mask()}
        if h.categorical_prior == "balancing":
            noise["e_BK"] = g.exponential(B, h.n_clusters)
        else:
            noise["y_BK"] = one_hot(g.integers(h.n_clusters, B), h.n_clusters, noise["z_BZ"].dtype)
        if h.uses("cyclic", "cyclic_z"):
            noise |= {"cycle_BH": mask(), "back_BH": mask()}
        if h.updates == "separate" and h.uses("mode"):
            noise["mode_BH"] = mask()
        return noise

    def reconstruct(self, net, batch, h, noise):
        y_BK, z_BZ = self._noisy(net, batch, h, noise, noise.recon_BH)
        terms = {"recon": bce(net.decoder(torch.cat([y_BK, z_BZ], -1)), batch.x_BD)}
        if h.updates == "separate":
            return terms
        if h.uses("mode"):
            terms["mode"] = bce(net.mode_decoder(y_BK), batch.x_BD)
        if h.uses("cyclic", "cyclic_z"):
            terms |= self.cycle(net, batch, h, noise)
        if h.uses("pairwise"):
            terms |= self.spread(net, batch, h, noise)
        return terms

    def cycle(self, net, batch, h, noise):
        y_BK, z_BZ = net.still.encoder(batch.x_BD, noise.cycle_BH)
        again_BD = net.decoder(torch.cat([y_BK, z_BZ], -1)).sigmoid()
        y2_BK, z2_BZ = net.still.encoder(again_BD, noise.back_BH)
        return {"cyclic": bernoulli(y2_BK, y_BK.detach()), "cyclic_z": mse(z2_BZ, z_BZ.detach())}

    def picture(self, net, batch, h, noise):
        y_BK, _ = self._noisy(net.still, batch, h, noise, noise.mode_BH)
        return {"mode": bce(net.mode_decoder(y_BK), batch.x_BD)}

    def spread(self, net, batch, h, noise):
        K, like = h.n_clusters, batch.x_BD
        modes_KD = net.decoder(torch.eye(K, K + h.latent_dim, dtype=like.dtype, device=like.device))
        return {"pairwise": apart(modes_KD, h.pairwise_form == "original")}

    def deceive(self, net, batch, h, noise):
        y_BK, z_BZ = net.still.encoder(batch.x_BD, noise.fool_BH)
        l2 = z_BZ.square().sum(-1).mean() if h.l2 == "mean" else z_BZ.square().sum().sqrt()
        return {**fooled(net, y_BK, z_BZ), "l2_z": l2}

    def discriminate(self, net, batch, h, noise):
        y_BK, z_BZ = net.eval.encoder(batch.x_BD)
        real_BK = self._balancing(y_BK, noise.e_BK, h) if h.categorical_prior == "balancing" else noise.y_BK
        return told_apart(net, (real_BK, noise.z_BZ), (y_BK, z_BZ))

    def _noisy(self, net, batch, h, noise, mask_BH):
        return net.encoder(batch.x_BD + h.input_noise * noise.eps_BD, mask_BH)

    def _balancing(self, y_BK, e_BK, h):
        """Labels drawn with p_k = softmax(-n_k / T), n_k the samples of this batch in cluster k."""
        n_K = one_hot(y_BK.argmax(-1), h.n_clusters, y_BK.dtype).sum(0)
        log_p_K = (-n_K / h.prior_temperature).log_softmax(-1)
        return one_hot((e_BK.log() - log_p_K).argmin(-1), h.n_clusters, y_BK.dtype)

    def drop_rates(self, h, epoch):
        rates = ("lr_ae", "lr_gen", "lr_disc", "lr_cyclic", "lr_mode", "lr_pairwise")
        return {rate: getattr(h, rate) * h.drop_factor for rate in rates} if epoch > h.drop_epoch else {}

    def phases(self, h):
        both = ("encoder", "decoder")
        together = (Descend(self.reconstruct, trains=(*both, "mode_decoder"), lr="lr_ae"),)
        apart = (
            Descend(self.reconstruct, trains=both, lr="lr_ae"),
            Descend(self.cycle, trains=both, lr="lr_cyclic"),
            Descend(self.picture, trains=("encoder", "mode_decoder"), lr="lr_mode"),
            Descend(self.spread, trains=("decoder",), lr="lr_pairwise"),
        )
        return (
            Phase("train", "epochs", noise=self.draw, schedule=self.drop_rates, updates=(
                *(together if h.updates == "joint" else apart),
                Descend(self.deceive, trains=("encoder",), lr="lr_gen"),
                Descend(self.discriminate, trains=("critic_y", "critic_z"), lr="lr_disc"),
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

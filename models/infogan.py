"""InfoGAN (Chen, Duan, Houthooft, Schulman, Sutskever & Abbeel 2016, https://arxiv.org/abs/1606.03657).

A generator makes samples from a cluster y, a few continuous codes c and noise z; beside the usual critic, a second head on the critic's
trunk reads y and c back from them, which keeps them visible in the sample. The cluster of a real sample is what that head reads.
Shapes: B batch, D features, H hidden units, K clusters, C continuous codes, Z noise, I = K + C + Z, R units of the reading head.
Differs from the paper: fully connected networks, BatchNorm where the authors have it; samples that are looked at a second time leave its
running statistics alone. A term of the information stands in both steps and has a weight in each. Networks begin with
torch's initial weights (theirs: N(0, 0.02)).
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from tuner.losses import fool, one_hot, tell_apart
from tuner.model import Adam, Clusters, Descend, Model, Phase, Term, hp
from tuner.nn import mlp

from ._gan import leaky


class InfoGAN(Model):
    paper = "https://arxiv.org/abs/1606.03657"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        n_codes: int = hp(2, 1, 64, static=True, doc="C, uniform in [-1, 1]")
        latent_dim: int = hp(62, 1, 1024, static=True, doc="Z, noise, uniform in [-1, 1]")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of both hidden layers of generator and trunk")
        read_hidden: int = hp(128, 8, 8192, static=True, doc="R")
        batch_size: int = hp(128, 2, 65536, static=True)
        lr_gen: float = hp(1e-3, 0.0, 1.0, log=True)
        lr_disc: float = hp(2e-4, 0.0, 1.0, log=True)
        beta1: float = hp(0.5, 0.0, 0.999, doc="Adam's, of both")
        epochs: int = hp(100, 1, 100000)

    terms = {
        "critic": Term(1.0, "-log D(x) - log(1 - D(G(y, c, z)))"),
        "read_y": Term(1.0, "-log q(y | G(y, c, z)), where the critic learns"),
        "read_c": Term(1.0, "-log N(c; mean read from G(y, c, z), 1), where the critic learns"),
        "fool": Term(1.0, "-log D(G(y, c, z))"),
        "write_y": Term(1.0, "as read_y, where the generator learns"),
        "write_c": Term(1.0, "as read_c, where the generator learns"),
    }
    tiny = {
        "n_clusters": 3, "n_codes": 1, "latent_dim": 4, "hidden": 32, "read_hidden": 16, "batch_size": 20, "lr_gen": 3e-3,
        "lr_disc": 3e-3, "epochs": 40,
    }  # fmt: skip

    def networks(self, h, data):
        D, H, R = data.n_features, h.hidden, h.read_hidden
        return {
            "generator": mlp(h.n_clusters + h.n_codes + h.latent_dim, H, H, D, norm=True),
            "trunk": nn.Sequential(*leaky(D, H, norm=False), *leaky(H, H)),
            "critic": nn.Linear(H, 1),
            "reader": nn.Sequential(*leaky(H, R), nn.Linear(R, h.n_clusters + h.n_codes)),
        }

    def draw(self, h, data, B, g):
        def inputs():
            y_BK = one_hot(g.integers(h.n_clusters, B), h.n_clusters, g.dtype)
            return torch.cat([y_BK, 2 * g.uniform(B, h.n_codes + h.latent_dim) - 1], -1)

        return {"critic_BI": inputs(), "generator_BI": inputs()}

    def misread(self, read_BR, inputs_BI, h):
        """Minus what is known of y and c: the bound on their mutual information with the sample, but for their own entropy."""
        y_BK, c_BC, _ = inputs_BI.split((h.n_clusters, h.n_codes, h.latent_dim), -1)
        logits_BK, mean_BC = read_BR.split((h.n_clusters, h.n_codes), -1)
        of_c_B = 0.5 * ((c_BC - mean_BC).square() + math.log(2 * math.pi)).sum(-1)
        return F.cross_entropy(logits_BK, y_BK), of_c_B.mean()

    def discriminate(self, net, batch, h, noise):
        fake_BH = net.still.trunk(net.still.generator(noise.critic_BI).sigmoid())
        real_BH = net.trunk(batch.x_BD)
        read_y, read_c = self.misread(net.reader(fake_BH), noise.critic_BI, h)
        return {"critic": tell_apart(net.critic(real_BH), net.critic(fake_BH)), "read_y": read_y, "read_c": read_c}

    def deceive(self, net, batch, h, noise):
        fake_BH = net.still.trunk(net.generator(noise.generator_BI).sigmoid())
        write_y, write_c = self.misread(net.still.reader(fake_BH), noise.generator_BI, h)
        return {"fool": fool(net.critic(fake_BH)), "write_y": write_y, "write_c": write_c}

    def phases(self, h):
        adam = Adam(beta1="beta1")
        return (
            Phase("train", "epochs", noise=self.draw, updates=(
                Descend(self.discriminate, trains=("trunk", "critic", "reader"), lr="lr_disc", optimizer=adam),
                Descend(self.deceive, trains=("generator",), lr="lr_gen", optimizer=adam),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return net.reader(net.trunk(x_BD))[:, : h.n_clusters].softmax(-1)

    def embed(self, net, x_BD, h):
        return net.trunk(x_BD)

    def n_styles(self, h):
        return h.n_codes + h.latent_dim

    def generate(self, net, y_BK, eps_BS, h):
        uniform_BS = 2 * torch.special.ndtr(eps_BS) - 1
        return net.generator(torch.cat([y_BK, uniform_BS], -1)).sigmoid()

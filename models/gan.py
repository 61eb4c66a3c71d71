"""Generative adversarial network (Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville & Bengio 2014,
https://arxiv.org/abs/1406.2661), with k-means or a Gaussian mixture on what its discriminator sees.

A generator makes samples of noise, a discriminator tells them from real ones. It has no encoder: a sample's code is the last hidden layer
of the discriminator, and the head is fitted to these codes anew after every epoch. The baseline beside `infogan` and `catgan`.
Shapes: B batch, N data set, D features, H hidden units, Z noise, K clusters.
Differs from the paper: the networks, rates and BatchNorm are those of `infogan` without its codes; the generator learns by -log D(G(z)),
as the paper advises; Adam (theirs: SGD with momentum), leaky ReLU (maxout), no dropout. The paper has no clusters.
On digits, five seeds of the default: ACC 72.2 +- 1.3, NMI 78.0 +- 0.6 (k-means on the pixels: 79.0, 74.5). The codes are learnt to tell
real samples from made ones, and nothing draws them to clusters: what `infogan` and `catgan` add is what is missing here.
"""

from dataclasses import dataclass

from torch import nn

from tuner.losses import fool, tell_apart
from tuner.model import Adam, Descend, Model, Phase, Term, hp
from tuner.nn import mlp

from ._gan import leaky
from ._heads import Head, blank_head, by_head, fit_head, head_distances


class GAN(Model):
    paper = "https://arxiv.org/abs/1406.2661"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head):
        latent_dim: int = hp(62, 1, 1024, static=True, doc="Z, noise, uniform in [-1, 1]")
        hidden: int = hp(500, 8, 8192, static=True, doc="H, width of both hidden layers of either network")
        batch_size: int = hp(128, 2, 65536, static=True)
        lr_gen: float = hp(1e-3, 0.0, 1.0, log=True)
        lr_disc: float = hp(2e-4, 0.0, 1.0, log=True)
        beta1: float = hp(0.5, 0.0, 0.999, doc="Adam's, of both")
        epochs: int = hp(100, 1, 100000)

    terms = {
        "critic": Term(None, "-log D(x) - log(1 - D(G(z))); 2 log 2 where D cannot tell"),
        "fool": Term(None, "-log D(G(z))"),
    }
    tiny = {
        "n_clusters": 3, "latent_dim": 4, "hidden": 32, "batch_size": 30, "n_init": 3, "lr_gen": 3e-3, "lr_disc": 3e-3, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        D, H = data.n_features, h.hidden
        trunk = nn.Sequential(*leaky(D, H, norm=False), *leaky(H, H))
        return {"generator": mlp(h.latent_dim, H, H, D, norm=True), "trunk": trunk, "critic": nn.Linear(H, 1)}

    def tensors(self, h, data):
        return blank_head(h, h.hidden)

    def draw(self, h, data, B, g):
        return {"z_BZ": 2 * g.uniform(B, h.latent_dim) - 1, "z_again_BZ": 2 * g.uniform(B, h.latent_dim) - 1}

    def discriminate(self, net, batch, h, noise):
        """Real and made-up samples in batches of their own; BatchNorm's running statistics are of real ones."""
        fake_B1 = net.critic(net.still.trunk(net.still.generator(noise.z_BZ).sigmoid()))
        return {"critic": tell_apart(net.critic(net.trunk(batch.x_BD)), fake_B1)}

    def deceive(self, net, batch, h, noise):
        return {"fool": fool(net.critic(net.still.trunk(net.generator(noise.z_again_BZ).sigmoid())))}

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(net.trunk), h, g)

    def phases(self, h):
        adam = Adam(beta1="beta1")
        return (
            Phase("train", "epochs", noise=self.draw, after_epoch=self.fit, updates=(
                Descend(self.discriminate, trains=("trunk", "critic"), lr="lr_disc", optimizer=adam),
                Descend(self.deceive, trains=("generator",), lr="lr_gen", optimizer=adam),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return by_head(net, net.trunk(x_BD), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, net.trunk(x_BD), h)

    def embed(self, net, x_BD, h):
        return net.trunk(x_BD)

"""Categorical generative adversarial network (Springenberg 2016, https://arxiv.org/abs/1511.06390).

The discriminator is the clusterer: sure of the cluster of real samples, unsure of that of made-up ones, and all clusters equally used.
The generator makes samples that it is sure of, of all clusters equally.
Shapes: B batch, D features, Z noise, H hidden units, K clusters.
Differs from the paper: fully connected networks of two hidden layers, leaky ReLU, dropout and noise on the inputs of the discriminator
and no BatchNorm there; unsupervised, the labelled samples' cross-entropy is left out. The entropy of the mean is the batch's, which
therefore must hold many samples for each cluster. K is 10 (the published 90.3 of MNIST has 20). 100 epochs of batches of 200 are 800 steps
on digits, which are too few: 300 epochs gained 7 points of ACC there, the mean of ten seeds.
"""

from dataclasses import dataclass

from torch import nn

from tuner.model import Adam, Clusters, Descend, Model, Phase, Term, hp
from tuner.nn import mlp


class Discriminator(nn.Module):
    """Features, then logits. The masks drop units of the hidden layers."""

    def __init__(self, n_features, hidden, n_clusters):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(n_features, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, n_clusters)

    def features(self, x_BD, masks):
        a_BH = nn.functional.leaky_relu(self.first(x_BD), 0.1)
        a_BH = nn.functional.leaky_relu(self.second(a_BH if masks is None else a_BH * masks[0]), 0.1)
        return a_BH if masks is None else a_BH * masks[1]

    def forward(self, x_BD, masks=None):
        a_BH = self.features(x_BD, masks)
        return self.last(a_BH), a_BH


def entropy(log_p):
    """H[p] over the last axis, from log p."""
    return -(log_p.exp() * log_p).sum(-1)


def entropy_of_mean(log_p_BK):
    """H of the batch's mean p."""
    return entropy(log_p_BK.logsumexp(0).log_softmax(-1))


class CatGAN(Model):
    paper = "https://arxiv.org/abs/1511.06390"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        latent_dim: int = hp(64, 1, 1024, static=True, doc="Z, the noise that samples are made from")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of both hidden layers of either network")
        batch_size: int = hp(200, 2, 65536, static=True)
        lr_disc: float = hp(1e-3, 0.0, 1.0, log=True)
        lr_gen: float = hp(2e-4, 0.0, 1.0, log=True)
        beta1: float = hp(0.5, 0.0, 0.999, doc="Adam's, of both")
        dropout: float = hp(0.3, 0.0, 0.95, doc="share of the discriminator's hidden units that are dropped")
        input_noise: float = hp(0.2, 0.0, 10.0, doc="standard deviation of the noise on all that the discriminator sees")
        epochs: int = hp(100, 1, 100000)

    terms = {
        "sure": Term(1.0, "H[p(y | x)], mean over the batch"),
        "balance": Term(1.0, "- H[mean over the batch of p(y | x)]"),
        "unsure": Term(1.0, "- H[p(y | G(z))], mean over the batch"),
        "sure_fake": Term(1.0, "H[p(y | G(z))], mean over the batch"),
        "balance_fake": Term(1.0, "- H[mean over the batch of p(y | G(z))]"),
    }
    tiny = {"n_clusters": 3, "latent_dim": 4, "hidden": 32, "batch_size": 50, "lr_disc": 3e-3, "lr_gen": 6e-4, "epochs": 20}

    def networks(self, h, data):
        D, H, K, Z = data.n_features, h.hidden, h.n_clusters, h.latent_dim
        return {"discriminator": Discriminator(D, H, K), "generator": mlp(Z, H, H, D, norm=True)}

    def draw(self, h, data, B, g):
        noise = {"z_BZ": g.normal(B, h.latent_dim), "z_again_BZ": g.normal(B, h.latent_dim)}
        for name in ("real", "fake", "again"):
            noise[f"{name}_BD"] = g.normal(B, data.n_features)
            noise[f"{name}_first_BH"], noise[f"{name}_second_BH"] = (self._mask(h, B, g) for _ in range(2))
        return noise

    def _mask(self, h, B, g):
        return (g.uniform(B, h.hidden) >= h.dropout) / (1 - h.dropout)

    def _log_p(self, net, x_BD, h, noise, name):
        masks = (getattr(noise, f"{name}_first_BH"), getattr(noise, f"{name}_second_BH"))
        return net.discriminator(x_BD + h.input_noise * getattr(noise, f"{name}_BD"), masks)[0].log_softmax(-1)

    def discriminate(self, net, batch, h, noise):
        """Equation 7."""
        real_BK = self._log_p(net, batch.x_BD, h, noise, "real")
        fake_BK = self._log_p(net, net.still.generator(noise.z_BZ).sigmoid(), h, noise, "fake")
        return {"sure": entropy(real_BK).mean(), "balance": -entropy_of_mean(real_BK), "unsure": -entropy(fake_BK).mean()}

    def imitate(self, net, batch, h, noise):
        """Equation 8."""
        fake_BK = self._log_p(net, net.generator(noise.z_again_BZ).sigmoid(), h, noise, "again")
        return {"sure_fake": entropy(fake_BK).mean(), "balance_fake": -entropy_of_mean(fake_BK)}

    def phases(self, h):
        adam = Adam(beta1="beta1")
        return (
            Phase("train", "epochs", noise=self.draw, updates=(
                Descend(self.discriminate, trains=("discriminator",), lr="lr_disc", optimizer=adam),
                Descend(self.imitate, trains=("generator",), lr="lr_gen", optimizer=adam),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return net.discriminator(x_BD)[0].softmax(-1)

    def embed(self, net, x_BD, h):
        return net.discriminator(x_BD)[1]

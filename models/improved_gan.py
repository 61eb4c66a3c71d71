"""Semi-supervised GAN by feature matching (Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen 2016, https://arxiv.org/abs/1606.03498).

The discriminator is the classifier: its K logits l say the class, and D(x) = Z / (Z + 1), Z = sum exp l, whether the sample is real, as if
made-up samples were a class of logit 0. The generator matches the mean of the discriminator's last hidden layer over real samples.
Shapes: B batch, L labelled samples, D features, Z noise, F last hidden layer, K classes.
Differs from the authors' code for MNIST: hidden layers of 400-200-100-100-100 units (theirs: 1000-500-250-250-250) and 200 (500), as
digits have 64 pixels; the weights that are evaluated are the last ones (theirs: a mean over some 10,000 steps; 100 epochs of digits are
1,700); all lengths of weight normalisation are trained; BatchNorm has a scale; the others' batches hold the labelled samples, too. There
is no minibatch discrimination, which the authors use for pictures.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from tuner.model import Adam, Descend, Model, PartlyLabelled, Phase, Term, hp


class WeightNorm(nn.Module):
    """Linear, each row of its weights a direction and a length (Salimans & Kingma 2016, https://arxiv.org/abs/1602.07868)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.direction = nn.Parameter(0.1 * torch.randn(n_out, n_in))
        self.length, self.bias = nn.Parameter(torch.ones(n_out)), nn.Parameter(torch.zeros(n_out))

    def forward(self, x_BI):
        return x_BI @ unit_rows(self.direction).mT * self.length + self.bias


def unit_rows(w_OI):
    return w_OI / w_OI.norm(dim=-1, keepdim=True)


def softplus(n_in, n_out):
    return [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.Softplus()]


def widths(h):
    """Of the discriminator's hidden layers."""
    return (2 * h.hidden, h.hidden, h.hidden // 2, h.hidden // 2, h.hidden // 2)


class Discriminator(nn.Module):
    """Logits, and the last hidden layer. `noises`: what is added to the sample and to each hidden layer."""

    def __init__(self, n_features, hidden, n_clusters):
        super().__init__()
        sizes = (n_features, *hidden, n_clusters)
        self.layers = nn.ModuleList(WeightNorm(i, o) for i, o in pairwise(sizes))

    def forward(self, x_BD, noises=None):
        noises = noises or [0.0] * len(self.layers)
        a_BH = x_BD + noises[0]
        for layer, noise in zip(self.layers, noises[1:], strict=False):
            a_BH = layer(a_BH).relu() + noise
        return self.layers[-1](a_BH), a_BH


class ImprovedGAN(Model):
    paper = "https://arxiv.org/abs/1606.03498"
    labels = "partial"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        latent_dim: int = hp(100, 1, 1024, static=True, doc="Z, the noise that samples are made from, uniform in [0, 1)")
        hidden: int = hp(200, 8, 8192, static=True, doc="units of the generator's layers; twice, once and half as many in the critic's")
        batch_size: int = hp(100, 2, 65536, static=True)
        input_noise: float = hp(0.3, 0.0, 10.0, doc="standard deviation of the noise on all that the discriminator sees")
        layer_noise: float = hp(0.5, 0.0, 10.0, doc="and of the noise on its hidden layers")
        lr_disc: float = hp(3e-3, 0.0, 1.0, log=True)
        lr_gen: float = hp(3e-3, 0.0, 1.0, log=True)
        beta1: float = hp(0.5, 0.0, 0.999, doc="Adam's, of both")
        epochs: int = hp(100, 1, 100000)

    terms = {
        "classify": Term(1.0, "-log softmax(l(x))_y, mean over the labelled samples"),
        "real": Term(1.0, "-1/2 log D(x), mean over the batch"),
        "fake": Term(1.0, "-1/2 log(1 - D(G(z))), mean over the batch"),
        "match": Term(None, "mean over f of (mean f(G(z)) - mean f(x))^2, f the last hidden layer"),
    }
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "latent_dim": 4, "hidden": 32, "batch_size": 30, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        D, H, Z = data.n_features, h.hidden, h.latent_dim
        layers = [*softplus(Z, H), *softplus(H, H), WeightNorm(H, D)]
        return {"discriminator": Discriminator(D, widths(h), h.n_clusters), "generator": nn.Sequential(*layers)}

    def draw(self, h, data, B, g):
        noise = {"z_BZ": g.uniform(B, h.latent_dim), "z_again_BZ": g.uniform(B, h.latent_dim)}
        seen = {"labelled": h.labelled_batch, "real": B, "fake": B, "real_again": B, "fake_again": B}
        for name, n in seen.items():
            noise |= {f"{name}_{i}": g.normal(n, size) for i, size in enumerate((data.n_features, *widths(h)))}
        return noise

    def judge(self, net, x_BD, h, noise, name):
        """Logits and features of noisy samples."""
        scales = [h.input_noise] + [h.layer_noise] * len(widths(h))
        return net.discriminator(x_BD, [scale * getattr(noise, f"{name}_{i}") for i, scale in enumerate(scales)])

    def discriminate(self, net, batch, h, noise):
        """-log D(x) = softplus(log Z) - log Z, and -log(1 - D(x)) = softplus(log Z)."""
        x_LD, y_L = batch.labelled
        logits_LK, _ = self.judge(net, x_LD, h, noise, "labelled")
        real_B = self.judge(net, batch.x_BD, h, noise, "real")[0].logsumexp(-1)
        fake_B = self.judge(net, net.still.generator(noise.z_BZ).sigmoid(), h, noise, "fake")[0].logsumexp(-1)
        return {
            "classify": F.cross_entropy(logits_LK, y_L),
            "real": 0.5 * (F.softplus(real_B) - real_B).mean(),
            "fake": 0.5 * F.softplus(fake_B).mean(),
        }

    def imitate(self, net, batch, h, noise):
        _, real_BF = self.judge(net, batch.x_BD, h, noise, "real_again")
        _, fake_BF = self.judge(net, net.generator(noise.z_again_BZ).sigmoid(), h, noise, "fake_again")
        return {"match": (fake_BF.mean(0) - real_BF.mean(0)).square().mean()}

    def fit_scales(self, net, data, h, g):
        """Data-dependent initialisation: on 500 samples, noisy as in training, every unit has mean 0 and variance 1."""
        n = min(500, data.spec.n_samples)
        a_MH, state = data.x_ND[torch.arange(n, device=data.x_ND.device)] + h.input_noise * g.normal(n, data.spec.n_features), {}
        sizes = (data.spec.n_features, *widths(h), h.n_clusters)
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            direction_OI = 0.1 * g.normal(n_out, n_in)
            out_MO = a_MH @ unit_rows(direction_OI).mT
            length_O = 1 / out_MO.std(0, correction=0).clamp(min=1e-6)
            bias_O = -out_MO.mean(0) * length_O
            a_MH = (out_MO * length_O + bias_O).relu() + h.layer_noise * g.normal(n, n_out)
            state |= {f"layers.{i}.direction": direction_OI, f"layers.{i}.length": length_O, f"layers.{i}.bias": bias_O}
        return {"discriminator": state}

    def phases(self, h):
        adam = Adam(beta1="beta1")
        return (
            Phase("train", "epochs", noise=self.draw, start=self.fit_scales, updates=(
                Descend(self.discriminate, trains=("discriminator",), lr="lr_disc", optimizer=adam),
                Descend(self.imitate, trains=("generator",), lr="lr_gen", optimizer=adam),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return net.discriminator(x_BD)[0].softmax(-1)

    def embed(self, net, x_BD, h):
        return net.discriminator(x_BD)[1]

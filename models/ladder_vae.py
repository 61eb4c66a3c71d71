"""Ladder variational auto-encoder (Sønderby, Raiko, Maaløe, Sønderby & Winther 2016, https://arxiv.org/abs/1602.02282) with k-means or a
Gaussian mixture on its codes.

Codes upon codes: z_L ~ N(0, I), z_l ~ N(m_l(z_{l+1}), s_l^2(z_{l+1})), x ~ p(x | z_1). An upward pass without randomness says of each level
what the sample says; a downward pass joins that with what the level above expects, each weighed by its precision, and draws.
Shapes: B batch, N data set, D features, Z code of a level, E codes of all levels, K clusters.
Differs from the paper: three levels (theirs: five), as in the authors' code, which has an estimate of its own where the paper, and this
file, join with the prior; log-variances and no softplus; divergences are exact given the level above (theirs: of a sample); mean and
log-variance have no BatchNorm; x is not binarised; the warm-up is a tenth of 100 epochs, as theirs is of 2,000; the rate is 1e-3 (2e-4),
batches hold 100 samples (256): digits have 1,700 steps (470,000). The head is fitted anew after every epoch, on the means of all levels.
"""

from dataclasses import dataclass

import torch
from torch import nn

from tuner.losses import misfit
from tuner.model import Adam, Descend, Model, Phase, Term, hp

from ._autoencoder import RECON_SUM, check_pixels, pixels
from ._heads import Head, blank_head, by_head, fit_head, head_centers, head_distances
from ._vae import risen, sampled


def leaky(n_in, n_out):
    return [nn.Linear(n_in, n_out, bias=False), nn.BatchNorm1d(n_out), nn.LeakyReLU(0.1)]


def coded(n_in, hidden, n_out):
    return nn.Sequential(*leaky(n_in, hidden), *leaky(hidden, hidden), nn.Linear(hidden, n_out))


def sizes(h):
    """The codes' and the hidden layers' widths, from the lowest level up."""
    return [(max(1, h.latent_dim >> level), max(4, h.hidden >> level)) for level in range(h.n_levels)]


class Upward(nn.Module):
    """(mu_l, log sigma_l^2) of every level, side by side, from the lowest up. A level sees the mean of the one below."""

    def __init__(self, n_features, levels):
        super().__init__()
        below = [n_features, *(z for z, _ in levels)]
        self.levels = nn.ModuleList(coded(n_in, hidden, 2 * z) for n_in, (z, hidden) in zip(below, levels, strict=False))

    def forward(self, x_BD):
        found, seen = [], x_BD
        for level in self.levels:
            found.append(level(seen))
            seen = found[-1].chunk(2, -1)[0]
        return found


def joined(mu_BZ, log_var_BZ, mu_p_BZ, log_var_p_BZ):
    """Equations 9 and 10: mean and log-variance of the product of two Gaussians, as if both had seen another part of the data."""
    log_var_q_BZ = -torch.logaddexp(-log_var_BZ, -log_var_p_BZ)
    mean_BZ = mu_BZ * (log_var_q_BZ - log_var_BZ).exp() + mu_p_BZ * (log_var_q_BZ - log_var_p_BZ).exp()
    return mean_BZ, log_var_q_BZ


def kl(mu_BZ, log_var_BZ, mu_p_BZ, log_var_p_BZ):
    """(B,) KL(N(mu, sigma^2) || N(mu_p, sigma_p^2))."""
    ratio_BZ = (log_var_BZ - log_var_p_BZ).exp() + (mu_BZ - mu_p_BZ).square() * (-log_var_p_BZ).exp()
    return 0.5 * (log_var_p_BZ - log_var_BZ + ratio_BZ - 1).sum(-1)


class LadderVAE(Model):
    paper = "https://arxiv.org/abs/1602.02282"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head):
        n_levels: int = hp(3, 1, 6, static=True, doc="L")
        latent_dim: int = hp(64, 1, 1024, static=True, doc="Z of the lowest level; half as many on each further one")
        hidden: int = hp(512, 8, 8192, static=True, doc="width of the lowest level's two hidden layers, either way; halved likewise")
        batch_size: int = hp(100, 2, 65536, static=True)
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z_1): pixels in [0, 1], or any data")
        warm_up: int = hp(10, 0, 100000, doc="epochs over which the divergences rise from 0 to their weight")
        max_norm: float = hp(4.0, 1e-3, 1e6, log=True, doc="the gradient's norm is cut to it")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {"recon": RECON_SUM, "kl": Term(1.0, "sum over levels of KL(q(z_l | x, z_{l+1}) || p(z_l | z_{l+1})), mean over the batch")}
    tiny = {
        "n_clusters": 3, "n_levels": 2, "latent_dim": 4, "hidden": 16, "batch_size": 30, "n_init": 3, "warm_up": 1, "lr": 3e-3,
        "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        check_pixels(h, data)
        levels = sizes(h)
        priors = {
            f"prior_{level}": coded(levels[level][0], hidden, 2 * z) for level, (z, hidden) in enumerate(levels[:-1], start=1)
        }  # prior_1: of z_1, from z_2
        return {"upward": Upward(data.n_features, levels), **priors, "decoder": coded(levels[0][0], levels[0][1], data.n_features)}

    def tensors(self, h, data):
        return blank_head(h, sum(z for z, _ in sizes(h)))

    def draw(self, h, data, B, g):
        return {f"eps_{level}_BZ": g.normal(B, z) for level, (z, _) in enumerate(sizes(h), start=1)}

    def descend(self, net, x_BD, h, noise=None):
        """(mean, log-variance) of q and of p for each level, from the top down, and the codes; these are the means without `noise`."""
        upward, found = net.upward(x_BD), []
        for level in range(h.n_levels, 0, -1):
            q = upward[level - 1].chunk(2, -1)
            if level == h.n_levels:
                p = (torch.zeros_like(q[0]), torch.zeros_like(q[1]))
            else:
                p = getattr(net, f"prior_{level}")(found[-1][2]).chunk(2, -1)
                q = joined(*q, *p)
            found.append((q, p, q[0] if noise is None else sampled(*q, getattr(noise, f"eps_{level}_BZ"))))
        return found

    def bound(self, net, batch, h, noise):
        """Minus the bound of equation 11, of one sample of the codes."""
        found = self.descend(net, batch.x_BD, h, noise)
        recon_B = misfit(net.decoder(found[-1][2]), batch.x_BD, h.recon_loss).sum(-1)
        return {"recon": recon_B.mean(), "kl": sum(kl(*q, *p) for q, p, _ in found).mean()}

    def warm(self, h, epoch):
        return {"weights.kl": h.weights["kl"] * risen(h, epoch)}

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(lambda x_BD: self.embed(net, x_BD, h)), h, g)

    def phases(self, h):
        trains = ("upward", *(f"prior_{level}" for level in range(1, h.n_levels)), "decoder")
        train = Descend(self.bound, trains=trains, optimizer=Adam(eps=1e-4), clip="max_norm")
        return (Phase("train", "epochs", noise=self.draw, schedule=self.warm, updates=(train,), after_epoch=self.fit),)

    def assign(self, net, x_BD, h):
        return by_head(net, self.embed(net, x_BD, h), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, self.embed(net, x_BD, h), h)

    def embed(self, net, x_BD, h):
        """(B, E): the means of all levels, the lowest first."""
        return torch.cat([z_BZ for *_, z_BZ in reversed(self.descend(net, x_BD, h))], -1)

    def decode(self, net, e_BE, h):
        return pixels(net.decoder(e_BE[:, : h.latent_dim]), h)

    def generate(self, net, y_BK, eps_BS, h):
        return self.decode(net, y_BK @ head_centers(net, h), h)

"""Gaussian mixture VAE (Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran & Shanahan 2016, https://arxiv.org/abs/1611.02648).

`form: original`: w ~ N(0, I), c ~ uniform, z ~ N(m_c(w), s_c^2(w)), x ~ p(x | z): a network makes K Gaussians of a style w, and
p(c | z, w) is Bayes' rule. `form: simple` has no w: q(c | x) is a network's and drawn by Gumbel-softmax, q(z | x, c) sees it, and p(z | c)
is one Gaussian for each cluster.
Shapes: B batch, S samples (`n_draws` for each of the batch), D features, Z code (the paper's x), W style, K clusters, H hidden units.
Differs from the paper: the networks, be they for vectors or images; smaller codes (theirs: 200 and 150); `free_nats` is 1.5 (theirs: 0.5,
which pulls most samples to uniform where K is 10), of the batch's mean; `entropy`, from the paper's first version, is off by default. The
simple form is that of J. Arias Figueroa's public code, with log-variances in place of softplus, BatchNorm (his: none; nor is there any in
the authors' fully connected decoder), free nats (none), codes of 10 numbers (64), batches of 100 (64), 500 hidden units (512), torch's
initial weights (Xavier's). Nats of the code weigh against nats of the data: on 64 pixels twelve times as much as on MNIST, where the
weights of the papers belong; on digits `weights.recon: 5` gained 14 points of ACC, the mean of ten seeds.
"""

from dataclasses import dataclass

import torch
from torch import nn

from tuner.clustering import log_gauss
from tuner.losses import kl_normal, misfit
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Network, decoder, encoder

from ._autoencoder import RECON_SUM, check_pixels, decoded
from ._gumbel import Relaxed, cool, kl_to_uniform, relax
from ._vae import kl_to_each, sampled


def log_normal(z_SZ, mu_SZ, log_var_SZ):
    """(S,) log N(z; mu, sigma^2)."""
    return log_gauss(z_SZ[:, None], mu_SZ[:, None], log_var_SZ[:, None])[:, 0, 0]


class GMVAE(Model):
    paper = "https://arxiv.org/abs/1611.02648"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Relaxed, Network):
        form: str = hp("original", choices=("original", "simple"))
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        latent_dim: int = hp(10, 1, 1024, static=True, doc="Z")
        style_dim: int = hp(10, 1, 1024, static=True, doc="W; form: original")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of all hidden layers")
        batch_size: int = hp(100, 2, 65536, static=True)
        n_draws: int = hp(1, 1, 100, static=True, doc="samples of the codes for each of the batch; the paper's M")
        free_nats: float = hp(1.5, 0.0, 10.0, doc="what of kl_c costs nothing; the paper's lambda; from log K on all of it")
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z): pixels in [0, 1], or any data")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {
        "recon": RECON_SUM,
        "kl_z": Term(1.0, "sum_c p(c | z, w) KL(q(z | x) || N(m_c(w), s_c^2(w))); simple: log q(z | x, c) - log p(z | c), of a sample"),
        "kl_c": Term(1.0, "KL(p(c | z, w) || uniform), at least `free_nats`; simple: KL(q(c | x) || uniform), the same"),
        "kl_w": Term(1.0, "KL(q(w | x) || N(0, I)); form: original"),
        "entropy": Term(0.0, "H(p(c | z, w)), or H(q(c | x))"),
    }
    tiny = {"n_clusters": 3, "latent_dim": 4, "style_dim": 2, "hidden": 32, "channels": 4, "batch_size": 10, "lr": 1e-2, "epochs": 10}

    def networks(self, h, data):
        H, Z, W, K = h.hidden, h.latent_dim, h.style_dim, h.n_clusters
        check_pixels(h, data)
        rebuild = decoder(h, data, Z, H, H, norm=True)
        if h.form == "simple":
            return {
                "classifier": encoder(h, data, H, H, K, norm=True),
                "encoder": encoder(h, data, H, H, 2 * Z, norm=True, beside=K),
                "prior": nn.Linear(K, 2 * Z),
                "decoder": rebuild,
            }
        prior = nn.Sequential(nn.Linear(W, H), nn.Tanh(), nn.Linear(H, 2 * K * Z))
        return {"encoder": encoder(h, data, H, H, 2 * (Z + W), norm=True), "prior": prior, "decoder": rebuild}

    def infer(self, net, x_BD, h):
        """mu and log sigma^2 of q(z | x), then of q(w | x)."""
        Z, W = h.latent_dim, h.style_dim
        return net.encoder(x_BD).split((Z, Z, W, W), -1)

    def mixture(self, net, w_SW, h):
        """(S, K, Z) means and log-variances of p(z | c, w)."""
        return net.prior(w_SW).unflatten(-1, (h.n_clusters, 2 * h.latent_dim)).chunk(2, -1)

    def draw(self, h, data, B, g):
        S = B * h.n_draws
        rest = {"e_SK": g.exponential(S, h.n_clusters)} if h.form == "simple" else {"eps_SW": g.normal(S, h.style_dim)}
        return {"eps_SZ": g.normal(S, h.latent_dim)} | rest

    def bound(self, net, batch, h, noise):
        """Minus the ELBO."""
        x_SD = batch.x_BD.repeat(h.n_draws, 1)
        z_SZ, log_p_SK, terms = (self.simple if h.form == "simple" else self.original)(net, batch.x_BD, h, noise)
        return terms | {
            "recon": misfit(net.decoder(z_SZ), x_SD, h.recon_loss).sum(-1).mean(),
            "kl_c": kl_to_uniform(log_p_SK).mean().clamp(min=h.free_nats),
            "entropy": -(log_p_SK.exp() * log_p_SK).sum(-1).mean(),
        }

    def original(self, net, x_BD, h, noise):
        mu_SZ, log_var_SZ, mu_SW, log_var_SW = (t.repeat(h.n_draws, 1) for t in self.infer(net, x_BD, h))
        z_SZ = sampled(mu_SZ, log_var_SZ, noise.eps_SZ)
        means_SKZ, log_vars_SKZ = self.mixture(net, sampled(mu_SW, log_var_SW, noise.eps_SW), h)
        log_p_SK = log_gauss(z_SZ[:, None], means_SKZ, log_vars_SKZ)[:, 0].log_softmax(-1)
        kl_SK = kl_to_each(mu_SZ, log_var_SZ, means_SKZ, log_vars_SKZ)
        return z_SZ, log_p_SK, {"kl_z": (log_p_SK.exp() * kl_SK).sum(-1).mean(), "kl_w": kl_normal(mu_SW, log_var_SW).mean()}

    def simple(self, net, x_BD, h, noise):
        logits_SK = net.classifier(x_BD).repeat(h.n_draws, 1)
        c_SK = relax(logits_SK, noise.e_SK, h)
        mu_SZ, log_var_SZ = net.encoder(torch.cat([x_BD.repeat(h.n_draws, 1), c_SK], -1)).chunk(2, -1)
        z_SZ = sampled(mu_SZ, log_var_SZ, noise.eps_SZ)
        kl_S = log_normal(z_SZ, mu_SZ, log_var_SZ) - log_normal(z_SZ, *net.prior(c_SK).chunk(2, -1))
        return z_SZ, logits_SK.log_softmax(-1), {"kl_z": kl_S.mean()}

    def phases(self, h):
        networks = ("classifier", "encoder", "prior", "decoder") if h.form == "simple" else ("encoder", "prior", "decoder")
        return (Phase("train", "epochs", noise=self.draw, schedule=cool, updates=(Descend(self.bound, trains=networks),)),)

    def assign(self, net, x_BD, h):
        if h.form == "simple":
            return net.classifier(x_BD).softmax(-1)
        mu_BZ, _, mu_BW, _ = self.infer(net, x_BD, h)
        return log_gauss(mu_BZ[:, None], *self.mixture(net, mu_BW, h))[:, 0].softmax(-1)

    def embed(self, net, x_BD, h):
        if h.form == "simple":
            c_BK = self.assign(net, x_BD, h)
            return net.encoder(torch.cat([x_BD, c_BK], -1))[:, : h.latent_dim]
        return self.infer(net, x_BD, h)[0]

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim if h.form == "simple" else h.style_dim

    def generate(self, net, y_BK, eps_BS, h):
        if h.form == "simple":
            return decoded(net, sampled(*net.prior(y_BK).chunk(2, -1), eps_BS), h)
        means_BKZ, _ = self.mixture(net, eps_BS, h)
        return decoded(net, (y_BK[..., None] * means_BKZ).sum(-2), h)

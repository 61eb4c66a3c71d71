"""Variational deep embedding (Jiang, Zheng, Tan, Tang & Zhou 2017, https://arxiv.org/abs/1611.05148).

A variational auto-encoder whose prior is a Gaussian mixture: c ~ Cat(pi), z ~ N(m_c, s_c^2), x ~ p(x | z); q(z | x) = N(mu, sigma^2), and
q(c | x) = p(c | z) at the sampled z. The auto-encoder is pre-trained and the mixture fitted to its codes; then the ELBO trains both.
Shapes: B batch, N data set, D features, Z code, K clusters.
Differs from the paper: the auto-encoder is pre-trained end to end with Adam, not layer by layer; the divergences warm up (`warm_up: 0` is
the paper's), and sigma starts at the scale of the fitted clusters, not at 1, which would drown codes that lie closer together. Differs
from the authors' code: pi starts from the fitted mixture, not uniform, and counts once in p(c | z), not once for every dimension of z;
logits and log-variances are trained, so that no weight or variance turns negative; responsibilities stay in log space.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import gmm, log_gauss
from tuner.losses import misfit
from tuner.model import Adam, Descend, Model, Phase, Term, hp
from tuner.nn import Network

from ._autoencoder import RECON_AE, RECON_SUM, TINY, Coders, Denoised, Pretrained, coders, decoded, pretraining
from ._vae import draw_code, kl_to_each, risen, sampled


def log_gamma(net, z_BZ):
    """(B, K) log p(c | z)."""
    return (net.logits_K.log_softmax(-1) + log_gauss(z_BZ, net.means_KZ, net.log_vars_KZ)).log_softmax(-1)


class VaDE(Model):
    paper = "https://arxiv.org/abs/1611.05148"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Denoised, Coders, Network):
        batch_size: int = hp(100, 2, 65536, static=True)
        pretrain_epochs: int = hp(50, 0, 100000)
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z): pixels in [0, 1], or any data")
        n_clusters: int = hp(10, 2, 256, static=True, doc="K")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of the k-means from which the mixture is fitted to the codes")
        lr: float = hp(2e-3, 0.0, 1.0, log=True, doc="the networks' rate in clustering")
        lr_gmm: float = hp(2e-3, 0.0, 1.0, log=True, doc="the mixture's")
        decay: float = hp(0.9, 0.0, 1.0, doc="both rates are multiplied by it")
        decay_every: int = hp(10, 1, 100000, doc="epochs between two decays")
        decay_floor: float = hp(0.1, 0.0, 1.0, doc="share of the first rate at which decay ends")
        warm_up: int = hp(10, 0, 100000, doc="epochs over which both KL terms rise from 0 to their weight")
        epochs: int = hp(100, 1, 100000, doc="clustering epochs")

    terms = {
        "recon_ae": RECON_AE,
        "recon": RECON_SUM,
        "kl_z": Term(1.0, "sum_c gamma_c KL(q(z | x) || N(m_c, s_c^2)), gamma_c = p(c | z)"),
        "kl_c": Term(1.0, "KL(gamma || pi)"),
    }
    tiny = {**TINY, "lr_pretrain": 1e-2, "pretrain_epochs": 10, "epochs": 4}

    def networks(self, h, data):
        return coders(h, data, n_codes=2 * h.latent_dim)  # mu, then log sigma^2, which pre-training leaves fresh

    def tensors(self, h, data):
        K, Z = h.n_clusters, h.latent_dim
        return {"logits_K": torch.zeros(K), "means_KZ": torch.zeros(K, Z), "log_vars_KZ": torch.zeros(K, Z), "shift_Z": torch.zeros(Z)}

    def place(self, net, data, h, g):
        mu_NZ = data.by_rows(lambda x_BD: self.embed(net, x_BD, h))
        e_IKN = g.exponential(h.n_init, h.n_clusters, data.spec.n_samples)
        fitted = gmm(mu_NZ, e_IKN, "diag", reg_covar=1e-6)
        log_vars_KZ = 2 * fitted.scale.log()
        return {"logits_K": fitted.log_pi_K, "means_KZ": fitted.means_KZ, "log_vars_KZ": log_vars_KZ, "shift_Z": log_vars_KZ.mean(0)}

    def bound(self, net, batch, h, noise):
        """Minus the ELBO, of one sample of z."""
        mu_BZ, raw_BZ = net.encoder(batch.x_BD).chunk(2, -1)
        log_var_BZ = raw_BZ + net.shift_Z
        z_BZ = sampled(mu_BZ, log_var_BZ, noise.eps_BZ)
        log_gamma_BK = log_gamma(net, z_BZ)
        gamma_BK = log_gamma_BK.exp()
        kl_BK = kl_to_each(mu_BZ, log_var_BZ, net.means_KZ, net.log_vars_KZ)
        return {
            "recon": misfit(net.decoder(z_BZ), batch.x_BD, h.recon_loss).sum(-1).mean(),
            "kl_z": (gamma_BK * kl_BK).sum(-1).mean(),
            "kl_c": (gamma_BK * (log_gamma_BK - net.logits_K.log_softmax(-1))).sum(-1).mean(),
        }

    def cool(self, h, epoch):
        left = max(h.decay ** ((epoch - 1) // h.decay_every), h.decay_floor)
        warm = {f"weights.{kl}": h.weights[kl] * risen(h, epoch) for kl in ("kl_z", "kl_c")}
        return {"lr": h.lr * left, "lr_gmm": h.lr_gmm * left} | warm

    def phases(self, h):
        rates = {"encoder": "lr", "decoder": "lr", "logits_K": "lr_gmm", "means_KZ": "lr_gmm", "log_vars_KZ": "lr_gmm"}
        return (
            pretraining(),
            Phase("cluster", "epochs", start=self.place, noise=draw_code, schedule=self.cool, updates=(
                Descend(self.bound, trains=rates, optimizer=Adam(eps=1e-4)),
            )),
        )  # fmt: skip

    def assign(self, net, x_BD, h):
        return log_gamma(net, self.embed(net, x_BD, h)).exp()

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)[:, : h.latent_dim]

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ net.means_KZ + (y_BK @ net.log_vars_KZ / 2).exp() * eps_BS, h)

"""Deep latent Gaussian mixture (Nalisnick, Hertel & Smyth 2016, https://bayesiandeeplearning.org/2016/papers/BDL_20.pdf), with a head.

A variational auto-encoder with a mixture on either side: pi ~ Dirichlet(1, ..., 1), z ~ sum_c pi_c N(m_c, I), x ~ p(x | z). Of a sample,
C heads of the encoder say q(z | x) = sum_c pi_c N(mu_c, sigma_c^2), and C - 1 more say where the stick of length 1 is broken into pi:
v_c ~ Kumaraswamy(a_c, b_c), pi_c = v_c prod_{j<c} (1 - v_j). The bound is computed for every c and weighed by E[pi_c], which is exact. The
means m_c are fixed, the same number in all directions. The code is the mean of q(z | x); the paper has no clusters, but looks at the codes'
neighbours: k-means or a mixture finds them here, anew after every epoch.
Shapes: B batch, N data set, D features, Z code, K clusters, C components, J = C - 1 sticks, T terms of a series.
From the authors' code (github.com/enalisnick/mixture_density_VAEs) where the paper was not at hand. Its entropy of q(z | x), that of the
mixture, is up to log C nats too good, and pays for every sample's pi to be uniform; with `entropy: components`, sum_c E[pi_c] H(q_c), the
sum is a bound. With ten components neither made them classes of digits (NMI of the likeliest one at most 0.42, and falling). Differs from
it: the mixture's entropy is estimated at one draw of each component, weighed by E[pi_c] (theirs takes each component's density at a draw
of its own, which is no density of the mixture); a ReLU behind the encoder's second layer, too; sticks start at the prior (theirs at v =
1/2); log a and log b stay in [-5, 5]; Z is 10 (25 or 50) and the rate 1e-3 (3e-4), as digits have 64 pixels and 1,700 steps; x is not
binarised; the length is fixed (theirs: until the bound rests).
"""

import math
from dataclasses import dataclass

import torch

from tuner.clustering import log_gauss
from tuner.losses import misfit
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import mlp

from ._autoencoder import check_pixels, decoded
from ._heads import Head, blank_head, by_head, fit_head, head_centers, head_distances
from ._vae import sampled

EULER, LOG_2_PI, T = 0.5772156649015329, math.log(2 * math.pi), 11  # T: the authors'


def log_beta(p, q):
    """log B(p, q)."""
    return torch.lgamma(p) + torch.lgamma(q) - torch.lgamma(p + q)


def log_gamma(x):
    """log Gamma of x > 0 to 1e-10, by Stirling's series seven steps above x. In what an exported program needs: ONNX has no lgamma."""
    steps, y = math.prod(x + i for i in range(7)), x + 7
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * y**2)) / y**2) / y**2) / y
    return (y - 0.5) * y.log() - y + 0.5 * LOG_2_PI + series - steps.log()


def mean_stick(a_BJ, b_BJ):
    """E[v] under Kumaraswamy(a, b): b B(1 + 1/a, b)."""
    p_BJ = 1 + 1 / a_BJ
    return (b_BJ.log() + log_gamma(p_BJ) + log_gamma(b_BJ) - log_gamma(p_BJ + b_BJ)).exp()


def log_shares(v_BJ):
    """(B, C) log pi of a stick of length 1, which is broken at v of what is left."""
    left_BJ = torch.log1p(-v_BJ.clamp(max=1 - 1e-6)).cumsum(-1)
    zero_B1 = torch.zeros_like(v_BJ[:, :1])
    return torch.cat([v_BJ.clamp(min=1e-12).log(), zero_B1], -1) + torch.cat([zero_B1, left_BJ], -1)


def kl_to_beta(a_BJ, b_BJ, beta_J):
    """(B, J) KL(Kumaraswamy(a, b) || Beta(1, beta)), with T terms of -E[log(1 - v)] = sum_m E[v^m] / m."""
    m_T = torch.arange(1, T + 1, dtype=a_BJ.dtype, device=a_BJ.device)
    a_BJ1, b_BJ1 = a_BJ[..., None], b_BJ[..., None]
    series_BJ = (log_beta(m_T / a_BJ1, b_BJ1).exp() / (m_T + a_BJ1 * b_BJ1)).sum(-1)
    kl_BJ = (a_BJ - 1) / a_BJ * (-EULER - torch.digamma(b_BJ) - 1 / b_BJ) + (a_BJ * b_BJ).log() - beta_J.log() - (b_BJ - 1) / b_BJ
    return kl_BJ + (beta_J - 1) * b_BJ * series_BJ


class DLGMM(Model):
    paper = "https://bayesiandeeplearning.org/2016/papers/BDL_20.pdf"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head):
        n_components: int = hp(5, 2, 256, static=True, doc="C")
        latent_dim: int = hp(10, 1, 1024, static=True, doc="Z")
        hidden: int = hp(500, 8, 8192, static=True, doc="width of all hidden layers")
        batch_size: int = hp(100, 2, 65536, static=True)
        spread: float = hp(1.5, 0.0, 100.0, doc="the prior's means run from minus it to it; 0: nothing tells components apart")
        entropy: str = hp("mixture", choices=("components", "mixture"), doc="of q(z | x): of its components, or of all of it")
        recon_loss: str = hp("bce", choices=("bce", "mse"), doc="p(x | z): pixels in [0, 1], or any data")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {
        "recon": Term(1.0, "sum_c E[pi_c] sum over features of (x - x_hat_c)^2 or BCE(x_hat_c, x), x_hat_c rebuilt from z_c"),
        "kl_z": Term(1.0, "sum_c E[pi_c] KL(N(mu_c, sigma_c^2) || N(m_c, I)); entropy: mixture: with log q(z_c | x) of the mixture"),
        "kl_pi": Term(1.0, "sum_c KL(Kumaraswamy(a_c, b_c) || Beta(1, C - c))"),
    }
    tiny = {
        "n_clusters": 3, "n_components": 3, "latent_dim": 4, "hidden": 32, "n_init": 3, "batch_size": 30, "lr": 1e-2, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        check_pixels(h, data)
        D, H, Z, C = data.n_features, h.hidden, h.latent_dim, h.n_components
        return {"encoder": mlp(D, H, H, 2 * C * Z + 2 * (C - 1)), "decoder": mlp(Z, H, H, D)}

    def tensors(self, h, data):
        prior = {"place_C": torch.linspace(-1, 1, h.n_components), "beta_J": torch.arange(h.n_components - 1.0, 0, -1)}
        return prior | blank_head(h)

    def infer(self, net, x_BD, h):
        """(B, C, Z) mu and log sigma^2, and (B, J) a and b."""
        C, Z = h.n_components, h.latent_dim
        gauss, sticks = net.encoder(x_BD).split((2 * C * Z, 2 * (C - 1)), -1)
        log_a_BJ, log_b_BJ = sticks.clamp(-5, 5).chunk(2, -1)
        return *gauss.unflatten(-1, (C, 2 * Z)).chunk(2, -1), log_a_BJ.exp(), (log_b_BJ + net.beta_J.log()).clamp(-5, 5).exp()

    def means(self, net, h):
        """(C, 1): the prior's."""
        return h.spread * net.place_C[:, None]

    def draw(self, h, data, B, g):
        return {"eps_BCZ": g.normal(B, h.n_components, h.latent_dim)}

    def bound(self, net, batch, h, noise):
        mu_BCZ, log_var_BCZ, a_BJ, b_BJ = self.infer(net, batch.x_BD, h)
        log_pi_BC = log_shares(mean_stick(a_BJ, b_BJ))
        pi_BC, z_BCZ = log_pi_BC.exp(), sampled(mu_BCZ, log_var_BCZ, noise.eps_BCZ)
        hat_BCD = net.decoder(z_BCZ)
        recon_BC = misfit(hat_BCD, batch.x_BD[:, None].expand_as(hat_BCD), h.recon_loss).sum(-1)
        gap_BCZ = (mu_BCZ - self.means(net, h)).square() + log_var_BCZ.exp()
        cross_BC = 0.5 * (gap_BCZ + LOG_2_PI).sum(-1)
        if h.entropy == "mixture":
            log_q_BC = (log_pi_BC[:, None] + log_gauss(z_BCZ, mu_BCZ, log_var_BCZ)).logsumexp(-1)
        else:
            log_q_BC = -0.5 * (log_var_BCZ + LOG_2_PI + 1).sum(-1)  # minus the entropy of each
        return {
            "recon": (pi_BC * recon_BC).sum(-1).mean(),
            "kl_z": (pi_BC * (cross_BC + log_q_BC)).sum(-1).mean(),
            "kl_pi": kl_to_beta(a_BJ, b_BJ, net.beta_J).sum(-1).mean(),
        }

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(lambda x_BD: self.embed(net, x_BD, h)), h, g)

    def phases(self, h):
        train = Descend(self.bound, trains=("encoder", "decoder"))
        return (Phase("train", "epochs", noise=self.draw, updates=(train,), after_epoch=self.fit),)

    def assign(self, net, x_BD, h):
        return by_head(net, self.embed(net, x_BD, h), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, self.embed(net, x_BD, h), h)

    def embed(self, net, x_BD, h):
        """(B, Z): the mean of q(z | x)."""
        mu_BCZ, _, a_BJ, b_BJ = self.infer(net, x_BD, h)
        return (log_shares(mean_stick(a_BJ, b_BJ)).exp()[..., None] * mu_BCZ).sum(1)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def generate(self, net, y_BK, eps_BS, h):
        return decoded(net, y_BK @ head_centers(net, h), h)

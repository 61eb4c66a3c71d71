"""What the variational auto-encoders share: a code drawn from N(mu, sigma^2), divergences of Gaussians, and a warm-up.

Shapes: B batch, Z code, K clusters.
"""

import math


def sampled(mu_BZ, log_var_BZ, eps_BZ):
    """z ~ N(mu, sigma^2) from standard normal draws, so that its gradient reaches mu and sigma."""
    return mu_BZ + (log_var_BZ / 2).exp() * eps_BZ


def log_density(z_BZ, mu_BZ, log_var_BZ):
    """(B,) log N(z; mu, sigma^2)."""
    return -0.5 * ((z_BZ - mu_BZ).square() * (-log_var_BZ).exp() + log_var_BZ + math.log(2 * math.pi)).sum(-1)


def draw_code(h, data, B, g):
    return {"eps_BZ": g.normal(B, h.latent_dim)}


def risen(h, epoch):
    """The share of its weight that a term has which warms up from 0 in the first epoch."""
    return min((epoch - 1) / h.warm_up, 1.0) if h.warm_up else 1.0


def kl_to_each(mu_BZ, log_var_BZ, means_KZ, log_vars_KZ):
    """(B, K) KL(N(mu, sigma^2) || N(m_k, s_k^2)); every sample may have Gaussians of its own, (B, K, Z)."""
    gap_BKZ = mu_BZ[:, None] - means_KZ
    log_ratio_BKZ = log_vars_KZ - log_var_BZ[:, None]  # log s^2 / sigma^2
    return 0.5 * (log_ratio_BKZ + (-log_ratio_BKZ).exp() + gap_BKZ.square() * (-log_vars_KZ).exp() - 1).sum(-1)

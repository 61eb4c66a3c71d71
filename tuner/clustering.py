"""k-means, batched over its starts, and Gaussian mixtures, as tensor code on the data's device. scikit-learn's are the oracle in the
tests."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .losses import one_hot
from .nn import by_rows, by_slices

# What is computed for all samples and starts together has at most so many numbers, 512 MiB of float32; anything larger goes in pieces of
# `_PIECE`. Below it results stay what they always were: in pieces sums are rounded in another order.
WHOLE, _PIECE = 1 << 27, 1 << 22


def sq_dist(z_NZ: Tensor, centers_KZ: Tensor) -> Tensor:
    """(..., N, K) squared Euclidean distances."""
    cross = z_NZ @ centers_KZ.mT
    return (z_NZ.square().sum(-1)[..., :, None] - 2 * cross + centers_KZ.square().sum(-1)[..., None, :]).clamp(min=0)


def nearest(z_NZ: Tensor, centers_KZ: Tensor) -> Tensor:
    """(N, K) one-hot: the centre that lies nearest."""
    return one_hot(sq_dist(z_NZ, centers_KZ).argmin(-1), centers_KZ.shape[-2], z_NZ.dtype)


def _gaps(z_NZ: Tensor, centers_IKZ: Tensor) -> Tensor:
    """(N, I, K) squared distances to the centres of I sets, less |z|^2, which is the same for all. One matrix product: a batched one
    of such flat matrices takes several times as long on a CPU."""
    gap_NQ = torch.addmm(centers_IKZ.square().sum(-1).flatten(), z_NZ, centers_IKZ.flatten(0, 1).mT, alpha=-2)
    return gap_NQ.view(-1, *centers_IKZ.shape[:2])


def _rows(z_NZ: Tensor, centers_IKZ: Tensor) -> int:
    """How many samples may meet all centres at once; all of them where they may."""
    met = centers_IKZ.shape[0] * centers_IKZ.shape[1]
    return max(1, len(z_NZ) if len(z_NZ) * met <= WHOLE else _PIECE // met)


def _closest(z_NZ: Tensor, centers_IKZ: Tensor) -> Tensor:
    """(N, I): of each set the centre that lies nearest."""
    return by_slices(lambda part: _gaps(z_NZ[part], centers_IKZ).argmin(-1), len(z_NZ), _rows(z_NZ, centers_IKZ))


def _means(z_NZ: Tensor, cluster_NI: Tensor, centers_IKZ: Tensor) -> Tensor:
    """(I, K, Z): the mean of each centre's samples; a centre without samples stays."""
    n_IK1, sum_IKZ = torch.zeros_like(centers_IKZ[..., :1]), torch.zeros_like(centers_IKZ)
    rows = _rows(z_NZ, centers_IKZ)
    for i in range(0, len(z_NZ), rows):
        s_BIK = one_hot(cluster_NI[i : i + rows], centers_IKZ.shape[1], z_NZ.dtype)
        n_IK1 = n_IK1 + s_BIK.sum(0)[..., None]
        sum_IKZ = sum_IKZ + (s_BIK.flatten(1).mT @ z_NZ[i : i + rows]).view_as(centers_IKZ)
    return torch.where(n_IK1 > 0, sum_IKZ / n_IK1.clamp(min=1), centers_IKZ)


def lloyd(z_NZ: Tensor, centers_IKZ: Tensor) -> Tensor:
    """(I, K, Z): one pass over I sets of centres at once; a centre without samples stays."""
    return _means(z_NZ, _closest(z_NZ, centers_IKZ), centers_IKZ)


def k_means_plus_plus(z_NZ: Tensor, e_IKN: Tensor) -> Tensor:
    """(I, K, Z): I sets of starting centres (Arthur & Vassilvitskii 2007, https://dl.acm.org/doi/10.5555/1283383.1283494).

    `e_IKN`: exponential draws; argmin(e / w) picks i with probability w_i / sum(w) and, unlike a search in the cumulative sum,
    is not moved by rounding.
    """
    if len(e_IKN) > 1 and len(e_IKN) * z_NZ.numel() > WHOLE:  # one start at a time
        return torch.cat([k_means_plus_plus(z_NZ, e_1KN) for e_1KN in e_IKN[:, None]])
    z_INZ = z_NZ.expand(e_IKN.shape[0], *z_NZ.shape)

    def take(i_I: Tensor) -> Tensor:
        return z_INZ.gather(-2, i_I[:, None, None].expand(-1, 1, z_NZ.shape[-1]))

    centers_IkZ = take(e_IKN[:, 0].argmin(-1))
    far_IN = sq_dist(z_INZ, centers_IkZ)[..., 0]
    for k in range(1, e_IKN.shape[1]):
        new_I1Z = take((e_IKN[:, k] / far_IN).argmin(-1))
        centers_IkZ = torch.cat([centers_IkZ, new_I1Z], -2)
        far_IN = torch.minimum(far_IN, sq_dist(z_INZ, new_I1Z)[..., 0])
    return centers_IkZ


def k_means(z_NZ: Tensor, e_IKN: Tensor) -> Tensor:
    """(K, Z) centres: the best of I starts of k-means++, by the sum of squared distances.

    A start rests when none of its samples changes its cluster, or after 300 passes.
    """
    centers_IKZ = k_means_plus_plus(z_NZ, e_IKN)
    moving_m = torch.arange(len(centers_IKZ), device=z_NZ.device)
    before_Nm = None
    for _ in range(300):
        cluster_Nm = _closest(z_NZ, centers_IKZ[moving_m])
        if before_Nm is not None:
            changed_m = (cluster_Nm != before_Nm).any(0)
            if not changed_m.any():
                break
            moving_m, cluster_Nm = moving_m[changed_m], cluster_Nm[:, changed_m]
        before_Nm = cluster_Nm
        centers_IKZ[moving_m] = _means(z_NZ, cluster_Nm, centers_IKZ[moving_m])
    return ranked(z_NZ, centers_IKZ)[0]


def ranked(z_NZ: Tensor, centers_IKZ: Tensor) -> Tensor:
    """(I, K, Z): the sets of centres by their sum of squared distances, the least first."""
    least_NI = by_slices(lambda part: _gaps(z_NZ[part], centers_IKZ).amin(-1), len(z_NZ), _rows(z_NZ, centers_IKZ))
    inertia_I = (least_NI + z_NZ.square().sum(-1, keepdim=True)).clamp(min=0).sum(0)
    # Sets that are the same but for their order differ by rounding, which must not choose between them.
    precision = torch.finfo(z_NZ.dtype)
    grain = (inertia_I.amin() * precision.eps**0.5).clamp(min=precision.tiny)
    return centers_IKZ[(inertia_I / grain).round().argsort(stable=True)]


def whitening(z_NZ: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (Z,) and symmetric (Z, Z) that give codes covariance I: (z - mean) @ matrix; directions without variance vanish.
    Codes that are not finite are left as they are.

    The symmetric root is one of many, all a rotation apart, which distances do not see; unlike PCA's it has no signs to choose.
    """
    mean_Z = z_NZ.mean(0)
    gap_NZ = (z_NZ - mean_Z).double()  # variances may differ by more than float32 can hold
    cov_ZZ = gap_NZ.mT @ gap_NZ / len(z_NZ)
    # Codes of a trial that diverges: eigh would raise, and the trial end as failed, before anybody could tell.
    cov_ZZ = torch.where(cov_ZZ.isfinite().all(), cov_ZZ, torch.eye(len(cov_ZZ), dtype=cov_ZZ.dtype, device=cov_ZZ.device))
    values_Z, vectors_ZZ = torch.linalg.eigh(cov_ZZ)
    alive_Z = values_Z > 1e-10 * values_Z[-1]
    root_Z = torch.where(alive_Z, values_Z.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0.0)
    return mean_Z, ((vectors_ZZ * root_Z) @ vectors_ZZ.mT).to(z_NZ.dtype)


# --- Gaussian mixtures -------------------------------------------------------------------------------------------------


class Mixture(NamedTuple):
    """K Gaussians. `scale` is a root of the covariances: standard deviations (K, Z), or lower Cholesky factors, (K, Z, Z), or (1, Z, Z)
    where all share one. It is kept in place of the covariances so that no E-step can fail to factorise a rounded one."""

    log_pi_K: Tensor
    means_KZ: Tensor
    scale: Tensor

    @classmethod
    def blank(cls, n_clusters: int, n_features: int, covariance: str) -> Mixture:
        """Of the right shapes. `covariance`: diag, full or tied, as scikit-learn has it."""
        if covariance == "diag":
            scale = torch.ones(n_clusters, n_features)
        else:
            scale = torch.eye(n_features).repeat(1 if covariance == "tied" else n_clusters, 1, 1)
        return cls(torch.full((n_clusters,), -math.log(n_clusters)), torch.zeros(n_clusters, n_features), scale)

    @classmethod
    def of(cls, net: Any) -> Mixture:
        """The one that a model keeps in tensors of these names."""
        return cls(*(getattr(net, name) for name in cls._fields))


def log_gauss(z_NZ: Tensor, means_KZ: Tensor, log_vars_KZ: Tensor) -> Tensor:
    """(..., N, K) log N(z; m_k, diag s^2_k). Also runs under `vmap`."""
    gap_NKZ = z_NZ[..., :, None, :] - means_KZ[..., None, :, :]
    square_NK = (gap_NKZ.square() * (-log_vars_KZ).exp()[..., None, :, :]).sum(-1)
    return -0.5 * (square_NK + log_vars_KZ.sum(-1)[..., None, :] + z_NZ.shape[-1] * math.log(2 * math.pi))


def log_joint(z_NZ: Tensor, mixture: Mixture) -> Tensor:
    """(N, K) log pi_k N(z; m_k, Sigma_k)."""
    log_pi_K, means_KZ, scale = mixture
    if scale.dim() == 2:
        return log_pi_K + log_gauss(z_NZ, means_KZ, 2 * scale.log())
    gap_KZN = (z_NZ - means_KZ[:, None]).mT
    square_KN: Tensor = torch.linalg.solve_triangular(scale, gap_KZN, upper=False).square().sum(-2)
    log_det_K = 2 * scale.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return log_pi_K - 0.5 * (square_KN.mT + log_det_K + z_NZ.shape[-1] * math.log(2 * math.pi))


def responsibilities(z_NZ: Tensor, mixture: Mixture) -> Tensor:
    """(N, K) p(k | z): the E-step."""
    return log_joint(z_NZ, mixture).softmax(-1)


def drawn(mixture: Mixture, e_BK: Tensor, eps_BZ: Tensor) -> Tensor:
    """(B, Z) samples of the mixture, from exponential and standard normal draws. Also runs under `vmap`."""
    log_pi_K = mixture.log_pi_K
    k_BK = one_hot((e_BK.log() - log_pi_K).argmin(-1), len(log_pi_K), eps_BZ.dtype)  # argmin(e / pi): see `k_means_plus_plus`
    return around(mixture, k_BK, eps_BZ)


def around(mixture: Mixture, k_BK: Tensor, eps_BZ: Tensor) -> Tensor:
    """(B, Z) samples of the Gaussians that `k_BK` names, one-hot, from standard normal draws; 0 gives their means."""
    _, means_KZ, scale = mixture
    if scale.dim() == 2:
        return k_BK @ means_KZ + (k_BK @ scale) * eps_BZ
    roots_BZZ = scale if len(scale) == 1 else (k_BK @ scale.flatten(1)).reshape(-1, *scale.shape[1:])
    return k_BK @ means_KZ + (roots_BZZ @ eps_BZ[..., None])[..., 0]


def weigh(z_NZ: Tensor, p_NK: Tensor, covariance: str, reg_covar: float | Tensor) -> Mixture:
    """The M-step: the mixture that makes samples shared out as `p_NK` likeliest, with `reg_covar` added to every variance.

    In float64, because what is left of a small variance after the mean's square is taken off it would be rounding in float32.
    """
    dtype, z_NZ, p_NK = z_NZ.dtype, z_NZ.double(), p_NK.double()
    n_K = p_NK.sum(0) + 10 * torch.finfo(torch.float64).eps  # scikit-learn's guard for a Gaussian without samples
    means_KZ = p_NK.mT @ z_NZ / n_K[:, None]
    if covariance == "diag":
        var_KZ = (p_NK.mT @ z_NZ.square() / n_K[:, None] - means_KZ.square()).clamp(min=0)
        scale = (var_KZ + reg_covar).sqrt()
    else:
        if covariance == "tied":
            cov = (z_NZ.mT @ z_NZ - (n_K[:, None] * means_KZ).mT @ means_KZ)[None] / n_K.sum()
        else:
            gaps = (z_NZ - m_Z for m_Z in means_KZ)  # one Gaussian at a time: (K, N, D) would be ten times the data set
            cov = torch.stack([(p_N[:, None] * gap_NZ).mT @ gap_NZ / n for p_N, gap_NZ, n in zip(p_NK.mT, gaps, n_K, strict=True)])
        scale = torch.linalg.cholesky(cov + reg_covar * torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device))
    return Mixture((n_K / n_K.sum()).log().to(dtype), means_KZ.to(dtype), scale.to(dtype))


def em(z_NZ: Tensor, mixture: Mixture, covariance: str, reg_covar: float | Tensor) -> tuple[Mixture, Tensor]:
    """One pass of expectation and maximisation, and the mean log-likelihood before it."""
    log_NK = by_rows(lambda z: log_joint(z, mixture), z_NZ, rows=4096)
    return weigh(z_NZ, log_NK.softmax(-1), covariance, reg_covar), log_NK.logsumexp(-1).mean()


def gmm(z_NZ: Tensor, e_IKN: Tensor, covariance: str, reg_covar: float | Tensor, n_iter: int = 100, tol: float = 1e-3) -> Mixture:
    """A Gaussian mixture by EM from `k_means`, until a pass gains less than `tol` nats a sample. `n_iter=0`: k-means' clusters."""
    mixture = weigh(z_NZ, nearest(z_NZ, k_means(z_NZ, e_IKN)), covariance, reg_covar)
    before = -math.inf
    for _ in range(n_iter):
        mixture, likelihood = em(z_NZ, mixture, covariance, reg_covar)
        if float(likelihood) - before < tol:
            break
        before = float(likelihood)
    return mixture

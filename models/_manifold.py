"""UMAP (McInnes, Healy & Melville 2018, https://arxiv.org/abs/1802.03426) as tensor code on the data's device: a graph of neighbours, and
points of few dimensions that are laid out by it.

Shapes: N data set, Z code, E manifold, M = n_neighbors - 1 neighbours, S negative samples.
Differs from umap-learn: points start from the codes' principal components, its `init="pca"`; in a pass one edge of every sample moves
at once, then the next one of each, where it takes edge after edge; neighbours are exact.
"""

import math

import numpy as np
import torch
from scipy.optimize import curve_fit

from tuner.clustering import sq_dist
from tuner.nn import by_rows

CLIP, PUSHES = 4.0, 5  # umap-learn's: bound of a coordinate's step, and its negative samples for an edge


def closest(z_BZ, codes_NZ, n):
    """Rows (B, n) of the codes that lie closest, and their distances, the least first; computed from differences, so that a code is at 0
    from itself."""
    rows_Bn = sq_dist(z_BZ, codes_NZ).topk(n, largest=False).indices
    gap_Bn = (z_BZ[:, None] - codes_NZ[rows_Bn]).square().sum(-1).sqrt()
    gap_Bn, order_Bn = gap_Bn.sort(stable=True)
    return rows_Bn.gather(1, order_Bn), gap_Bn


def neighbours(z_NZ, n_neighbors):
    """Rows (N, M) and distances of each code's neighbours, itself left out; `n_neighbors` counts it, as umap-learn's does."""
    own_N1 = torch.arange(len(z_NZ), device=z_NZ.device)[:, None]

    def others(own_B1):
        rows_Bn, gap_Bn = closest(z_NZ[own_B1[:, 0]], z_NZ, n_neighbors)
        # Among equal codes the sample itself may stand anywhere, or be cut off: then the last one goes.
        keep_Bn = (rows_Bn != own_B1).int()
        first_Bn = keep_Bn.sort(dim=1, descending=True, stable=True).indices[:, : n_neighbors - 1]
        return torch.stack([rows_Bn.gather(1, first_Bn).to(gap_Bn.dtype), gap_Bn.gather(1, first_Bn)], -1)

    found_NM2 = by_rows(others, own_N1.to(torch.int64))
    return found_NM2[..., 0].long(), found_NM2[..., 1]


def memberships(gap_NM):
    """(N, M): exp(-(d - rho) / sigma), rho the distance of the nearest, sigma such that they sum to log2(M + 1)."""
    target = math.log2(gap_NM.shape[1] + 1)
    over_NM = (gap_NM - gap_NM[:, :1]).clamp(min=0)
    low_N1, high_N1 = torch.zeros_like(gap_NM[:, :1]), torch.full_like(gap_NM[:, :1], float(gap_NM.max()) * 1e3 + 1e-12)
    for _ in range(64):
        sigma_N1 = (low_N1 + high_N1) / 2
        above_N1 = (-over_NM / sigma_N1).exp().sum(1, keepdim=True) > target
        high_N1, low_N1 = torch.where(above_N1, sigma_N1, high_N1), torch.where(above_N1, low_N1, sigma_N1)
    floor_N1 = 1e-3 * gap_NM.mean(1, keepdim=True) + 1e-12  # umap-learn's, where most neighbours are equally near
    return (-over_NM / torch.maximum(sigma_N1, floor_N1)).exp()


def united(rows_NM, w_NM):
    """(N, M): of each edge w + w' - w w', w' the membership the other way; an edge that has no other way counts for both."""
    back_NM = torch.zeros_like(w_NM)
    mutual_NM = torch.zeros_like(w_NM)
    own_N1 = torch.arange(len(rows_NM), device=rows_NM.device)[:, None]
    for m in range(rows_NM.shape[1]):
        same_NM = rows_NM[rows_NM[:, m]] == own_N1  # where in its neighbour's list a sample stands
        back_NM[:, m] = (w_NM[rows_NM[:, m]] * same_NM).sum(1)
        mutual_NM[:, m] = same_NM.any(1).to(w_NM.dtype)
    return (w_NM + back_NM - w_NM * back_NM) * (2 - mutual_NM)


def curve(min_dist):
    """a, b of 1 / (1 + a d^2b), fitted to a similarity that is 1 up to `min_dist` and falls as exp(min_dist - d) behind it."""
    d = np.linspace(0, 3, 300)
    want = np.where(d < min_dist, 1.0, np.exp(min_dist - d))
    (a, b), _ = curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), d, want)
    return float(a), float(b)


def spread(z_NZ, n_dims, eps_NE):
    """(N, E): principal components, scaled to at most 10, and a little noise. Each axis' largest entry is positive."""
    gap_NZ = (z_NZ - z_NZ.mean(0)).double()
    axes_ZE = torch.linalg.eigh(gap_NZ.mT @ gap_NZ).eigenvectors.flip(1)[:, :n_dims]
    sign_E = axes_ZE.gather(0, axes_ZE.abs().argmax(0, keepdim=True)).sign()
    y_NE = torch.zeros(len(z_NZ), n_dims, dtype=torch.float64, device=z_NZ.device)
    y_NE[:, : axes_ZE.shape[1]] = gap_NZ @ (axes_ZE * sign_E)
    return (10 * y_NE / y_NE.abs().max().clamp(min=1e-12)).to(eps_NE.dtype) + 1e-4 * eps_NE


def pull(gap_BE, a, b):
    """(B, E): the step of a sample towards its neighbour, `gap_BE` away from it: the gradient of log 1 / (1 + a d^2b)."""
    d2_B1 = gap_BE.square().sum(-1, keepdim=True)
    safe_B1 = d2_B1.clamp(min=1e-12)
    return (torch.where(d2_B1 > 0, -2 * a * b * safe_B1 ** (b - 1) / (1 + a * safe_B1**b), 0.0) * gap_BE).clamp(-CLIP, CLIP)


def push(gap_BE, a, b):
    """(B, E): the step of a sample away from another: the gradient of log(1 - 1 / (1 + a d^2b)), 0.001 added to d^2 below it."""
    d2_B1 = gap_BE.square().sum(-1, keepdim=True)
    return (2 * b / ((0.001 + d2_B1) * (1 + a * d2_B1**b)) * gap_BE).clamp(-CLIP, CLIP)


def one_pass(y_NE, rows_NM, edge_NM, rate, ab, g):
    """(N, E): the points after every edge was taken with its probability; both ends of it draw near, and the first moves away from S
    samples."""
    N = len(y_NE)
    taken_NM = (g.uniform(*edge_NM.shape) < edge_NM / edge_NM.max()).to(y_NE.dtype)
    for m in range(rows_NM.shape[1]):
        near_N, take_N1 = rows_NM[:, m], taken_NM[:, m : m + 1]
        step_NE = rate * take_N1 * pull(y_NE - y_NE[near_N], *ab)
        y_NE = (y_NE + step_NE).index_add(0, near_N, -step_NE)
        far_NS = g.integers(N, N, PUSHES)
        y_NE = y_NE + rate * take_N1 * push(y_NE[:, None] - y_NE[far_NS], *ab).sum(1)
    return y_NE

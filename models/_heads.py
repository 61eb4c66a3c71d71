"""k-means or a Gaussian mixture on a model's codes, fitted anew whenever the model asks.

Shapes: B batch, N data set, Z code, K clusters, I starts of k-means.
"""

from dataclasses import dataclass

import torch

from tuner.clustering import Mixture, gmm, k_means, nearest, responsibilities, sq_dist, whitening
from tuner.model import Hyper, hp


@dataclass(frozen=True, kw_only=True)
class Head(Hyper):
    """For the models whose clusters are found in the codes after training, and take no part in it."""

    n_clusters: int = hp(10, 2, 256, static=True, doc="K")
    head: str = hp("kmeans", choices=("kmeans", "gmm"))
    whiten: bool = hp(False, doc="the head sees codes without correlations, all of variance 1")
    covariance: str = hp("full", choices=("diag", "full", "tied"), doc="head: gmm")
    reg_covar: float = hp(1e-6, 1e-6, 1.0, log=True, doc="head: gmm; added to every variance")
    n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means, of which the best is taken; the mixture starts from it")


def blank_head(h, n_codes=None):
    """`n_codes`: Z, where it is not `latent_dim`."""
    Z = n_codes or h.latent_dim
    white = {"mean_Z": torch.zeros(Z), "whiten_ZZ": torch.eye(Z)} if h.whiten else {}
    if h.head == "kmeans":
        return white | {"centers_KZ": torch.zeros(h.n_clusters, Z)}
    return white | Mixture.blank(h.n_clusters, Z, h.covariance)._asdict()


def fit_head(z_NZ, h, g):
    """The head's tensors, fitted to all codes."""
    e_IKN = g.exponential(h.n_init, h.n_clusters, len(z_NZ))
    white = {}
    if h.whiten:
        white = dict(zip(("mean_Z", "whiten_ZZ"), whitening(z_NZ), strict=True))
        z_NZ = (z_NZ - white["mean_Z"]) @ white["whiten_ZZ"]
    if h.head == "kmeans":
        return white | {"centers_KZ": k_means(z_NZ, e_IKN)}
    return white | gmm(z_NZ, e_IKN, h.covariance, h.reg_covar)._asdict()


def by_head(net, z_BZ, h):
    """(B, K): what the head makes of codes."""
    z_BZ = _whitened(net, z_BZ, h)
    return nearest(z_BZ, net.centers_KZ) if h.head == "kmeans" else responsibilities(z_BZ, Mixture.of(net))


def head_distances(net, z_BZ, h):
    """(B, K) to the centres of k-means; None of a mixture, which has probabilities."""
    return sq_dist(_whitened(net, z_BZ, h), net.centers_KZ).sqrt() if h.head == "kmeans" else None


def head_centers(net, h):
    """(K, Z): the clusters' centres among the codes."""
    centers_KZ = net.centers_KZ if h.head == "kmeans" else net.means_KZ
    return centers_KZ @ torch.linalg.pinv(net.whiten_ZZ) + net.mean_Z if h.whiten else centers_KZ


def _whitened(net, z_BZ, h):
    return (z_BZ - net.mean_Z) @ net.whiten_ZZ if h.whiten else z_BZ

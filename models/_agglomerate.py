"""Agglomerative clustering on a directed graph of neighbours (Zhang, Wang, Zhao & Tang 2012, https://arxiv.org/abs/1208.5092), as Yang,
Parikh & Batra 2016, https://arxiv.org/abs/1604.03628, use it.

Shapes: N data set, Z code, M neighbours, C clusters at first, c some of them. Affinities of clusters are a dense matrix: 372 x 372 for the
chains of 1,797 digits.
"""

import numpy as np
from scipy.sparse import csr_matrix

FEW = 100  # clusters from which on the neighbourhood of a pair is not looked at; the authors'


def weights(rows_NM, gap_NM):
    """(N, N), sparse: exp(-d^2 / s^2) to the M neighbours of each sample, s^2 the mean of all d^2."""
    square_NM = np.square(gap_NM)
    w_NM = np.exp(-square_NM / max(square_NM.mean(), 1e-300))
    N, M = rows_NM.shape
    return csr_matrix((w_NM.ravel(), rows_NM.ravel(), np.arange(0, N * M + 1, M)), shape=(N, N))


def chains(next_N):
    """(N,) clusters 0, 1, ...: each sample follows its nearest neighbour to one that has a cluster, or was met, or is 50 links away."""
    cluster_N, n = np.full(len(next_N), -1), 0
    for i in range(len(next_N)):
        met, j = [], i
        while cluster_N[j] == -1 and len(met) <= 50:
            met.append(j)
            cluster_N[j] = -2
            j = next_N[j]
        if cluster_N[j] < 0:
            cluster_N[j], n = n, n + 1
        cluster_N[met] = cluster_N[j]
    return cluster_N


def through(w_NN, cluster_N):
    """(C, C) P_ij, the sum over samples m of cluster i of the weights from j to m times those from m to j; 0 on the diagonal."""
    N, C = len(cluster_N), int(cluster_N.max()) + 1
    s_NC = csr_matrix((np.ones(N), cluster_N, np.arange(N + 1)), shape=(N, C))
    p_CC = (s_NC.T @ (w_NN @ s_NC).multiply(w_NN.T @ s_NC)).toarray()
    np.fill_diagonal(p_CC, 0)
    return p_CC


class Merging:
    """Clusters as they are merged; those that are gone keep their number. `local`: K_c, how many of a cluster's affinities decide how much
    its best one stands out."""

    def __init__(self, z_NZ, cluster_N, w_NN, local):
        self.p_CC, self.size_C = through(w_NN, cluster_N), np.bincount(cluster_N).astype(float)
        self.sum_CZ = np.zeros((len(self.size_C), z_NZ.shape[1]))
        np.add.at(self.sum_CZ, cluster_N, z_NZ)
        self.into_C, self.left, self.local = np.arange(len(self.size_C)), len(self.size_C), min(local, len(self.size_C))
        self.score_C = self.scores(self.into_C)

    def affinities(self, i_c):
        """(c, C) A(i -> j) + A(j -> i), A(i -> j) = 1' W_ij W_ji 1 / |i|^2."""
        return self.p_CC[:, i_c].T / self.size_C[i_c, None] ** 2 + self.p_CC[i_c] / self.size_C**2

    def scores(self, i_c):
        """(c,) the best affinity; while there are many clusters, also how far it stands out of the next ones."""
        best_cK = -np.sort(np.partition(-self.affinities(i_c), self.local - 1)[:, : self.local])
        out_c = (best_cK[:, :1] - best_cK[:, 1:]).sum(1) / max(self.local - 1, 1)
        return best_cK[:, 0] + (out_c if self.left > FEW else 0.0)

    def pair(self):
        """The two clusters to merge next, the smaller number first; without any affinity left, the smallest and the one nearest to it."""
        i = int(self.score_C.argmax())
        if self.score_C[i] > 0:
            j = int(self.affinities([i])[0].argmax())
        else:
            alive_C = self.score_C > -1
            i = int(np.where(alive_C, self.size_C, np.inf).argmin())
            means_CZ = self.sum_CZ / self.size_C[:, None]
            alive_C[i] = False
            j = int(np.where(alive_C, np.square(means_CZ - means_CZ[i]).sum(1), np.inf).argmin())
        return min(i, j), max(i, j)

    def merge(self, a, b):
        """b into a, by the authors' fast update: P_.a += P_.b, P_a. += P_b. ."""
        self.p_CC[:, a] += self.p_CC[:, b]
        self.p_CC[a] += self.p_CC[b]
        self.p_CC[:, b] = self.p_CC[b] = self.p_CC[a, a] = 0
        self.size_C[a] += self.size_C[b]
        self.sum_CZ[a] += self.sum_CZ[b]
        self.into_C[self.into_C == b], self.left, self.score_C[b] = a, self.left - 1, -1.0
        touched_C = (self.p_CC[a] > 0) | (self.p_CC[:, a] > 0) | (self.left == FEW)
        touched_C[a] = True
        changed_c = np.flatnonzero(touched_C & (self.score_C > -1))
        self.score_C[changed_c] = self.scores(changed_c)


def agglomerated(z_NZ, cluster_N, w_NN, n_merges, local):
    """(N,) clusters 0, 1, ... after `n_merges`, at most until one is left."""
    state = Merging(z_NZ, cluster_N, w_NN, local)
    for _ in range(min(n_merges, state.left - 1)):
        state.merge(*state.pair())
    return np.unique(state.into_C[cluster_N], return_inverse=True)[1]

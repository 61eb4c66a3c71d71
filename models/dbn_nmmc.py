"""Deep belief network with nonparametric maximum margin clustering, NMMC (Chen 2015, https://arxiv.org/abs/1501.03084), or DNC, "deep
nonparametric clustering".

Restricted Boltzmann machines are trained one upon the other by contrastive divergence. On the codes of the topmost, of length 1, clusters
with a vector w_k each are found by Gibbs sampling under a Chinese restaurant process, without a number of clusters: a sample joins one the
likelier, the more samples that has and the further w_k h lies above the best rival, or founds one; w_k and the rival's vector then move
until the margin is 1. The margins, with a little reconstruction, are propagated back through the network. `n_used` is the estimate of K.
Shapes: B batch, N data set, V visible and H hidden units, D features, Z code, K clusters at most, Q = K + 1 choices, I starts of k-means.
The paper was not at hand but for its abstract: the sampler is rebuilt from accounts of it, step by step as in `sweep`, and the fine-tuning
from that of its sibling in DCN's code (github.com/boyangumn/DCN-New). So no figure of the paper can be expected of it. Chosen here:
`sharpness`, since codes have length 1, so that a margin of 1 weighs e^2 against the sizes of two clusters, which end in one (20: more than
the logarithm of any number of samples); `limit` 0.05, as larger steps forget what other samples taught; the sizes are DEC's; sampling
begins with k-means' clusters, as a single cluster, which has no rival, would stay one; a cluster without a rival has its margin over 0;
the decoder's weights are the machines' own; weight decay holds for biases, too; both terms are means over the batch (sums, with the
sibling's rate, end in one cluster); 50 epochs for each machine, since 20 are 360 steps on digits.
On digits it ends with ACC 52.7 ± 4.7 on five seeds (k-means 79.0), one of them with 8 clusters: sizes draw clusters together. The codes are
better than that: k-means on them has an AMI of 0.62, as the best that a search found has with the sampler.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tuner.clustering import k_means, sq_dist
from tuner.losses import one_hot
from tuner.model import SGD, Clusters, Descend, Model, Phase, Term, hp

LEVELS = (1, 2, 3, 4)  # the machines, of which the last has a Gaussian code


class RBM(nn.Module):
    """`way`: up, what hidden units are given; down, what visible ones are given; energy, the free energy of visible ones, (B,)."""

    def __init__(self, n_visible, n_hidden, gaussian):
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(n_hidden, n_visible))
        self.hidden, self.visible = nn.Parameter(torch.zeros(n_hidden)), nn.Parameter(torch.zeros(n_visible))
        self.gaussian = gaussian

    def forward(self, x_B_, way):
        if way == "down":
            return x_B_ @ self.weight + self.visible
        up_BH = x_B_ @ self.weight.mT + self.hidden
        if way == "up":
            return up_BH
        return -x_B_ @ self.visible - (up_BH.square() / 2 if self.gaussian else F.softplus(up_BH)).sum(-1)


def sizes(h, data):
    return (data.n_features, h.hidden, h.hidden, 4 * h.hidden, h.latent_dim)


def unit(z_BZ):
    """Of length 1. A code of a machine that has not learnt yet, shorter than 0.01, is lengthened a hundred times and no more: its gradient
    is, too, and would throw the weights away."""
    return F.normalize(z_BZ, dim=-1, eps=0.01)


def sweep(codes_NZ, cluster_N, w_KZ, draws, alpha, limit, sharpness):
    """One sweep of Gibbs sampling over all samples; changes `cluster_N` and `w_KZ`. A row of `w_KZ` without samples means nothing.

    `draws`: an order of the samples; for each exponential numbers of K + 1 choices, and the noise of a new vector.
    """
    order_N, e_NQ, eps_NZ = draws
    n_K = np.bincount(cluster_N, minlength=len(w_KZ))
    for i in order_N:
        code_Z = codes_NZ[i]
        n_K[cluster_N[i]] -= 1
        score_K = np.where(n_K > 0, w_KZ @ code_Z, -np.inf)
        new_Z = code_Z + eps_NZ[i]  # w* ~ N(h, I)
        log_p_Q = np.full(len(w_KZ) + 1, -np.inf)
        used = np.flatnonzero(n_K)
        log_p_Q[used] = np.log(n_K[used]) + sharpness * (score_K[used] - rivals(score_K)[used])
        if len(used) < len(w_KZ):
            log_p_Q[-1] = np.log(alpha) + sharpness * (new_Z @ code_Z - (score_K.max() if len(used) else 0.0))
        c = int((np.log(e_NQ[i]) - log_p_Q).argmin())  # argmin(e / p) is c with probability p_c
        if c == len(w_KZ):
            c = int(n_K.argmin())  # a row that is free
            w_KZ[c] = new_Z
            score_K[c] = new_Z @ code_Z
        n_K[c] += 1
        cluster_N[i] = c
        passive_aggressive(w_KZ, score_K, c, code_Z, limit)


def rivals(score_K):
    """(K,) the best score of all others; 0 where there is no other."""
    best = int(score_K.argmax())
    others_K = score_K.copy()
    others_K[best] = -np.inf
    rival_K = np.full_like(score_K, score_K[best])
    rival_K[best] = others_K.max()
    return np.where(np.isfinite(rival_K), rival_K, 0.0)


def passive_aggressive(w_KZ, score_K, c, code_Z, limit):
    """Moves the cluster's and its best rival's vector by the least step after which the margin is 1, at most `limit` codes long."""
    others_K = np.where(np.arange(len(score_K)) == c, -np.inf, score_K)
    r = int(others_K.argmax())
    if np.isfinite(others_K[r]):
        tau = min(limit, max(0.0, 1 - score_K[c] + score_K[r]) / (2 * code_Z @ code_Z))
        w_KZ[c] += tau * code_Z
        w_KZ[r] -= tau * code_Z


class DBNNMMC(Model):
    paper = "https://arxiv.org/abs/1501.03084"
    rebuilds_pixels = True

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Clusters):
        n_clusters: int = hp(30, 2, 256, static=True, doc="K, clusters at most")
        start_clusters: int = hp(20, 1, 256, static=True, doc="k-means' clusters, from which sampling begins; at most `n_clusters`")
        n_init: int = hp(20, 1, 1000, static=True, doc="starts of k-means on the codes")
        latent_dim: int = hp(10, 1, 256, static=True, doc="Z")
        hidden: int = hp(500, 8, 8192, static=True, doc="units of the first two machines; the third has four times as many")
        batch_size: int = hp(100, 2, 65536, static=True)
        lr_rbm: float = hp(0.1, 0.0, 1.0, log=True)
        lr_top: float = hp(1e-3, 0.0, 1.0, log=True, doc="of the last machine, whose code has no bounds")
        momentum: float = hp(0.9, 0.0, 0.999, doc="0.5 in a machine's first five epochs")
        weight_decay: float = hp(2e-4, 0.0, 1.0, doc="of the machines")
        rbm_epochs: int = hp(50, 0, 100000, doc="of each machine")
        alpha: float = hp(1.0, 1e-6, 1e6, log=True, doc="concentration: how readily a cluster is founded")
        limit: float = hp(0.05, 0.0, 1e3, log=True, doc="C, of a step of w")
        sharpness: float = hp(20.0, 0.0, 1e3, doc="what a margin is multiplied by beside the logarithm of a cluster's size")
        sweeps: int = hp(20, 0, 100000, doc="before fine-tuning; one behind each of its epochs")
        lr: float = hp(5e-3, 0.0, 1.0, log=True, doc="of fine-tuning, over the root of the epoch")
        epochs: int = hp(10, 1, 100000, doc="of fine-tuning")

    terms = {
        **{f"cd_{level}": Term(None, "F(v) - F(v'), v' rebuilt once from a sampled code; its gradient is CD-1's") for level in LEVELS},
        "margin": Term(1.0, "max(0, 1 - (w_c - w_r) h), c its cluster, r the best rival; mean over the batch"),
        "recon": Term(0.05, "|x - x_hat|^2, mean over the batch"),
    }
    tiny = {
        "n_clusters": 3, "start_clusters": 3, "n_init": 3, "latent_dim": 4, "hidden": 16, "batch_size": 30, "rbm_epochs": 30,
        "lr_top": 1e-2, "sweeps": 3, "epochs": 4,
    }  # fmt: skip

    def networks(self, h, data):
        layers = enumerate(pairwise(sizes(h, data)), start=1)
        return {f"rbm_{level}": RBM(n_in, n_out, gaussian=level == LEVELS[-1]) for level, (n_in, n_out) in layers}

    def tensors(self, h, data):
        K = h.n_clusters
        vectors = {"w_KZ": torch.zeros(K, h.latent_dim), "mean_Z": torch.zeros(h.latent_dim)}
        return vectors | {"cluster_N": torch.zeros(data.n_samples, dtype=torch.int64), "used_K": torch.ones(K)}

    # --- the machines ---------------------------------------------------------------------------------------------------

    def lift(self, net, x_BD, levels=LEVELS):
        """(B, H): the activations of these machines, the lowest first."""
        for level in levels:
            x_BD = getattr(net, f"rbm_{level}")(x_BD, "up")
            x_BD = x_BD if level == LEVELS[-1] else x_BD.sigmoid()
        return x_BD

    def draw(self, h, data, B, g, level):
        n_hidden = sizes(h, data)[level]
        return {"hidden_BH": g.normal(B, n_hidden) if level == LEVELS[-1] else g.uniform(B, n_hidden)}

    def contrast(self, net, batch, h, noise, level):
        """CD-1: visible units are rebuilt as probabilities, from hidden units that are drawn."""
        rbm, top = getattr(net, f"rbm_{level}"), level == LEVELS[-1]
        v_BV = self.lift(net, batch.x_BD, LEVELS[: level - 1]).detach()
        up_BH = rbm(v_BV, "up")
        hidden_BH = up_BH + noise.hidden_BH if top else (noise.hidden_BH < up_BH.sigmoid()).to(up_BH.dtype)
        again_BV = rbm(hidden_BH, "down").sigmoid().detach()
        return {f"cd_{level}": (rbm(v_BV, "energy") - rbm(again_BV, "energy")).mean()}

    def gain(self, h, epoch):
        return {"momentum": min(0.5, h.momentum) if epoch <= 5 else h.momentum}

    # --- the clusters ---------------------------------------------------------------------------------------------------

    def found(self, net, data, h, g):
        """k-means' clusters, their centres as vectors, and some sweeps."""
        top_NZ = data.by_rows(lambda x_BD: self.lift(net, x_BD))
        mean_Z, n = top_NZ.mean(0), min(h.start_clusters, h.n_clusters)
        h_NZ = unit(top_NZ - mean_Z)
        centers_kZ = k_means(h_NZ, g.exponential(h.n_init, n, len(h_NZ)))
        w_KZ = torch.cat([centers_kZ, torch.zeros_like(net.w_KZ[n:])])
        return {"mean_Z": mean_Z} | self.swept(h_NZ, sq_dist(h_NZ, centers_kZ).argmin(-1), w_KZ, int(h.sweeps), h, g)

    def resample(self, net, data, h, g):
        h_NZ = data.by_rows(lambda x_BD: self.embed(net, x_BD, h))
        return self.swept(h_NZ, net.cluster_N, net.w_KZ, 1, h, g)

    def swept(self, h_NZ, cluster_N, w_KZ, n, h, g):
        codes, cluster, w = (t.cpu().numpy().astype(kind) for t, kind in ((h_NZ, float), (cluster_N, int), (w_KZ, float)))
        for _ in range(n):
            drawn = g.permutation(len(codes)), g.exponential(len(codes), len(w) + 1), g.normal(*codes.shape)
            sweep(codes, cluster, w, [d.cpu().numpy() for d in drawn], float(h.alpha), float(h.limit), float(h.sharpness))
        used = np.bincount(cluster, minlength=len(w)) > 0
        found = {"w_KZ": w, "cluster_N": cluster, "used_K": used}
        return {name: torch.as_tensor(t).to(w_KZ.device, torch.int64 if name == "cluster_N" else w_KZ.dtype) for name, t in found.items()}

    def finetune(self, net, batch, h, noise):
        top_BZ = x_hat = self.lift(net, batch.x_BD)
        score_BK = self.scores(net, unit(top_BZ - net.mean_Z))
        c_BK = one_hot(net.cluster_N[batch.rows_B], h.n_clusters, top_BZ.dtype)
        rival_B = torch.where(c_BK > 0, -1e9, score_BK).amax(-1)
        own_B = (c_BK * score_BK).sum(-1)
        for level in reversed(LEVELS):
            x_hat = getattr(net, f"rbm_{level}")(x_hat, "down").sigmoid()
        return {"margin": (1 - own_B + rival_B).relu().mean(), "recon": (x_hat - batch.x_BD).square().sum(-1).mean()}

    def slow(self, h, epoch):
        return {"lr": h.lr / epoch**0.5}

    def phases(self, h):
        depends = ("hidden", "latent_dim", "batch_size", "lr_rbm", "lr_top", "momentum", "weight_decay", "rbm_epochs")
        machines = [
            Phase(
                f"rbm_{level}", "rbm_epochs", clusters=False, noise=partial(self.draw, level=level), schedule=self.gain, depends=depends,
                updates=(
                    Descend(partial(self.contrast, level=level), (f"rbm_{level}",), "lr_top" if level == LEVELS[-1] else "lr_rbm",
                            SGD(momentum="momentum", weight_decay="weight_decay"), name=f"contrast_{level}"),
                ),
            ) for level in LEVELS
        ]  # fmt: skip
        trains = tuple(f"rbm_{level}" for level in LEVELS)
        update = Descend(self.finetune, trains, optimizer=SGD(momentum="momentum"))
        return (*machines, Phase("cluster", "epochs", (update,), start=self.found, after_epoch=self.resample, schedule=self.slow))

    def scores(self, net, h_BZ):
        """(B, K) w_k h; far below all where there is no cluster."""
        return torch.where(net.used_K > 0, h_BZ @ net.w_KZ.mT, -1e9)

    def assign(self, net, x_BD, h):
        return one_hot(self.scores(net, self.embed(net, x_BD, h)).argmax(-1), h.n_clusters, x_BD.dtype)

    def embed(self, net, x_BD, h):
        """(B, Z): the code, of length 1."""
        return unit(self.lift(net, x_BD) - net.mean_Z)

"""Semi-supervised simple generative model (Arias Figueroa & Ramírez Rivera 2017, https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf).

The model of `gumbel_vae` with two losses for a few labels: each unlabelled sample takes the class that most of its nearest labelled
neighbours in the batch have, nearness judged by the features. The classifier learns these classes, and the features learn to lie close
together within a class and apart between classes.
Shapes: B batch, L labelled samples, N = B + L, D features of the data, F deterministic features, Z code, K classes.
The metric is the lifted structure loss (Oh Song, Xiang, Jegelka & Savarese 2016, https://arxiv.org/abs/1511.06452) or that of semi-hard
triplets (Schroff, Kalenichenko & Philbin 2015, https://arxiv.org/abs/1503.03832).
The paper has the model without labels; this form of it is of Arias Figueroa's master's thesis (2018) and its code.
Differs from its authors' code: a tie of votes goes to the nearer neighbours; no pre-training, no annealed metric; the rate is 1e-3 (theirs:
1e-2) and is halved in epochs 31, 61 and 91 (30, 60, 90); z has 64 numbers (150); fully connected by default, and features are linear where
theirs end in BatchNorm and ReLU; the other samples' batches hold the labelled ones, too.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from tuner.clustering import sq_dist
from tuner.losses import one_hot
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import Network

from ._autoencoder import decoded
from ._gumbel import BOUND, PARTS, Codes, Relaxed, both_codes, bound, cluster_of, code_networks, cool, draw_codes


def vote(f_BF, f_LF, y_L, n_neighbours, n_classes):
    """(B,) the class that most of the nearest labelled samples have."""
    k = min(n_neighbours, len(y_L))
    near_Bk = sq_dist(f_BF, f_LF).topk(k, largest=False).indices
    nearer_k = 1 + torch.arange(k, 0, -1, device=y_L.device) / (k + 1) ** 2  # all that is above 1 is no vote together
    return (one_hot(y_L, n_classes, f_BF.dtype)[near_Bk] * nearer_k[:, None].to(f_BF.dtype)).sum(-2).argmax(-1)


def lifted(f_NF, y_N, margin):
    """Every pair of a class is pulled together, against all samples of other classes that come within `margin` of either."""
    d_NN = sq_dist(f_NF, f_NF).clamp(min=1e-12).sqrt()  # the root of 0 has no gradient
    same_NN = y_N[:, None] == y_N
    others_N = torch.where(same_NN, -1e9, margin - d_NN).logsumexp(-1)  # no infinity: its gradient is NaN where there are no others
    cost_NN = (torch.logaddexp(others_N[:, None], others_N[None]) + d_NN).relu().square()
    pair_NN = same_NN & ~torch.eye(len(y_N), dtype=torch.bool, device=y_N.device)
    return torch.where(pair_NN, cost_NN, 0.0).sum() / (2 * pair_NN.sum().clamp(min=1))


def triplet(f_NF, y_N, margin):
    """Every pair of a class lies `margin` closer, in squared distance, than the nearest sample of another class that is farther than
    the pair, or else the farthest such sample. Memory grows with N^3."""
    d_NN, same_NN = sq_dist(f_NF, f_NF), y_N[:, None] == y_N
    other_NN = torch.where(same_NN, 1e9, d_NN.detach())  # of anchor and negative
    farther_NNN = torch.where(other_NN[:, None] > d_NN.detach()[:, :, None], other_NN[:, None], 1e9)  # anchor, positive, negative
    nearest_NN, which_NN = farther_NNN.min(-1)
    farthest_N1 = torch.where(same_NN, -1e9, d_NN.detach()).argmax(-1, keepdim=True)
    negative_NN = torch.where(nearest_NN < 1e9, which_NN, farthest_N1)  # chosen without a gradient, which would cost twice as much
    cost_NN = (d_NN + margin - d_NN.gather(-1, negative_NN)).relu()
    pair_NN = same_NN & ~torch.eye(len(y_N), dtype=torch.bool, device=y_N.device) & ~same_NN.all(-1, keepdim=True)
    return torch.where(pair_NN, cost_NN, 0.0).sum() / pair_NN.sum().clamp(min=1)


METRICS = {"lifted": lifted, "triplet": triplet}


class GumbelVAESemi(Model):
    paper = "https://ic.unicamp.br/~adin/downloads/pubs/AriasFigueroa2017a.pdf"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Codes, Relaxed, Network, PartlyLabelled):
        batch_size: int = hp(100, 2, 65536, static=True, doc="B, the labelled samples not counted")
        n_neighbours: int = hp(7, 1, 255, static=True, doc="labelled neighbours that vote for a sample's class")
        metric: str = hp("lifted", choices=tuple(METRICS), doc="which loss pulls the features of a class together")
        margin: float = hp(0.5, 0.0, 100.0, doc="how far apart classes are to lie, in the features' own units")
        temperature_rate: float = hp(0.00693, 0.0, 10.0, doc="by how much its logarithm falls in an epoch")
        halve_every: int = hp(30, 1, 100000, doc="epochs after which the rate is halved, again and again")

    terms = {
        "recon": BOUND["recon"],
        "gaussian": Term(1.1, BOUND["gaussian"].doc),
        "categorical": Term(1.2, BOUND["categorical"].doc),
        "assign": Term(4.7, "-log q(y | x), y the label or the neighbours' vote, mean over batch and labelled samples"),
        "metric": Term(0.85, "lifted structure or semi-hard triplet loss of the features, whichever `metric` says, the same y"),
    }
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "n_neighbours": 3, "latent_dim": 2, "feature_dim": 8, "hidden": 32,
        "channels": 4, "batch_size": 30, "lr": 1e-2, "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        return code_networks(h, data)

    def draw(self, h, data, B, g):
        return draw_codes(h, data, B + h.labelled_batch, g)

    def learn(self, net, batch, h, noise):
        x_LD, y_L = batch.labelled
        x_ND = torch.cat([batch.x_BD, x_LD])
        f_NF = net.features(x_ND)
        terms, logits_NK = bound(net, x_ND, f_NF, h, noise)
        if h.uses("assign", "metric"):
            f_BF, f_LF = f_NF.detach().split((len(batch.x_BD), len(x_LD)))
            y_N = torch.cat([vote(f_BF, f_LF, y_L, h.n_neighbours, h.n_clusters), y_L])
            terms["assign"] = F.cross_entropy(logits_NK, y_N)
            terms["metric"] = METRICS[h.metric](f_NF, y_N, h.margin)
        return terms

    def cool(self, h, epoch):
        return cool(h, epoch) | {"lr": h.lr * 0.5 ** ((epoch - 1) // h.halve_every)}

    def phases(self, h):
        train = Descend(self.learn, trains=PARTS)
        return (Phase("train", "epochs", noise=self.draw, schedule=self.cool, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return cluster_of(net, x_BD, h)

    def embed(self, net, x_BD, h):
        return net.features(x_BD)

    def encode(self, net, x_BD, h):
        return both_codes(net, x_BD, h)

    def decode(self, net, e_BE, h):
        return decoded(net, e_BE, h)

    def n_styles(self, h):
        return h.latent_dim

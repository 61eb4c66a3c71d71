"""Stacked what-where auto-encoder (Zhao, Mathieu, Goroshin & LeCun 2016, https://arxiv.org/abs/1506.02351), semi-supervised.

Each pooling of a convolutional network emits what, the largest value, and where, its place. The classes are read from what alone; a decoder
rebuilds the sample from the classes' logits and where, and every level of it is held to the same level of the encoder.
Shapes: B batch, L labelled samples, N = B + L, D features, C channels, h and w rows and columns, K classes.
Differs from the paper: it gives no one network for all data; this is that of a public port for MNIST, convolutions 10@5 and 20@5, poolings
of 2 and 50 units, padded here, so that images of 8 pixels' width go twice through it. The paper's weights were not seen: 1 for the sample,
and 0.1 for both levels, as the encoder is not held still and could shrink what it is held to. Distances are means over what they compare
(the paper: sums): the sums outweigh the classes so far that on digits four of five seeds know one class for three epochs, and are ended.
Adam (the port: SGD of momentum 0.5); the others' batches hold the labelled samples, too. `embed` is the upper what; nothing is decoded
without where, and so no pictures are made.
On digits with 100 labels, five seeds of the default: error 8.6 +- 0.7 %, no better than the nearest labelled sample (8.8 +- 1.3).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from tuner.losses import mse
from tuner.model import Descend, Model, PartlyLabelled, Phase, Term, hp
from tuner.nn import Planes, colours, mlp, sides


def pooled(a_BChw):
    """What, a half as high and wide, and where: 1 at its place among the four, 0 elsewhere. Sides are rounded up, with zeros."""
    a_BChw = F.pad(a_BChw, (0, a_BChw.shape[-1] % 2, 0, a_BChw.shape[-2] % 2))
    four_BChw4 = a_BChw.unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2)).transpose(-3, -2).flatten(-2)
    place_BChw = four_BChw4.argmax(-1)
    where_BChw4 = (place_BChw[..., None] == torch.arange(4, device=a_BChw.device)).to(a_BChw.dtype)
    return (four_BChw4 * where_BChw4).sum(-1), where_BChw4


def unpooled(what_BChw, where_BChw4, size):
    """Every what at its place, in an image cut to `size`."""
    four = (what_BChw[..., None] * where_BChw4).unflatten(-1, (2, 2)).transpose(-3, -2)
    return four.flatten(-2).flatten(-3, -2)[..., : size[0], : size[1]]


class SWWAE(Model):
    paper = "https://arxiv.org/abs/1506.02351"
    labels = "partial"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(PartlyLabelled):
        n_clusters: int = hp(10, 2, 256, static=True, doc="K, the number of classes")
        channels: int = hp(10, 1, 1024, static=True, doc="of the first level; the second has twice as many")
        hidden: int = hp(50, 2, 8192, static=True, doc="units between the upper what and the classes, either way")
        batch_size: int = hp(100, 2, 65536, static=True)
        dropout: float = hp(0.5, 0.0, 0.95, doc="share of the second level's channels that are dropped")
        lr: float = hp(1e-3, 0.0, 1.0, log=True)
        epochs: int = hp(100, 1, 100000)

    terms = {
        "classify": Term(1.0, "-log softmax(logits)_y, mean over the labelled samples"),
        "recon": Term(1.0, "mean over features of (x - x_hat)^2, of batch and labelled samples"),
        "middle_1": Term(0.1, "mean over the lower level of (what_1 - what_hat_1)^2, of batch and labelled samples"),
        "middle_2": Term(0.1, "mean over the upper level of (what_2 - what_hat_2)^2, of batch and labelled samples"),
    }
    tiny = {
        "n_clusters": 3, "n_labels": 12, "labelled_batch": 12, "channels": 4, "hidden": 16, "batch_size": 30, "dropout": 0.2, "lr": 1e-2,
        "epochs": 8,
    }  # fmt: skip

    def networks(self, h, data):
        C, H, K, (rows, columns) = h.channels, h.hidden, h.n_clusters, sides(data, "swwae", "")
        top = [-(-side // 4) for side in (rows, columns)]
        n = 2 * C * top[0] * top[1]
        return {
            "conv_1": nn.Sequential(Planes(rows, columns, colours(data)), nn.Conv2d(colours(data), C, 5, padding=2), nn.ReLU()),
            "conv_2": nn.Sequential(nn.Conv2d(C, 2 * C, 5, padding=2), nn.ReLU()),
            "classifier": mlp(n, H, K),
            "rebuilder": nn.Sequential(mlp(K, H, n), nn.ReLU(), nn.Unflatten(-1, (2 * C, *top))),
            "deconv_2": nn.Sequential(nn.ConvTranspose2d(2 * C, C, 5, padding=2), nn.ReLU()),
            "deconv_1": nn.Sequential(nn.ConvTranspose2d(C, colours(data), 5, padding=2), nn.Flatten(-3)),
        }

    def draw(self, h, data, B, g):
        return {"keep_NC": (g.uniform(B + h.labelled_batch, 2 * h.channels) >= h.dropout) / (1 - h.dropout)}

    def encode_levels(self, net, x_ND, keep_NC=None):
        """(size, what, where) of both levels, and the classes' logits."""
        a_1 = net.conv_1(x_ND)
        what_1, where_1 = pooled(a_1)
        a_2 = net.conv_2(what_1)
        what_2, where_2 = pooled(a_2 if keep_NC is None else a_2 * keep_NC[..., None, None])
        levels = (a_1.shape[-2:], what_1, where_1), (a_2.shape[-2:], what_2, where_2)
        return levels, net.classifier(what_2.flatten(-3))

    def learn(self, net, batch, h, noise):
        x_LD, y_L = batch.labelled
        x_ND = torch.cat([batch.x_BD, x_LD])
        ((size_1, what_1, where_1), (size_2, what_2, where_2)), logits_NK = self.encode_levels(net, x_ND, noise.keep_NC)
        hat_2 = net.rebuilder(logits_NK)
        hat_1 = net.deconv_2(unpooled(hat_2, where_2, size_2))
        hat_ND = net.deconv_1(unpooled(hat_1, where_1, size_1))
        return {
            "classify": F.cross_entropy(logits_NK[len(batch.x_BD) :], y_L),
            "recon": mse(hat_ND, x_ND),
            "middle_1": mse(hat_1, what_1),
            "middle_2": mse(hat_2, what_2),
        }

    def phases(self, h):
        train = Descend(self.learn, trains=("conv_1", "conv_2", "classifier", "rebuilder", "deconv_2", "deconv_1"))
        return (Phase("train", "epochs", noise=self.draw, updates=(train,)),)

    def assign(self, net, x_BD, h):
        return self.encode_levels(net, x_BD)[1].softmax(-1)

    def embed(self, net, x_BD, h):
        return self.encode_levels(net, x_BD)[0][1][1].flatten(-3)

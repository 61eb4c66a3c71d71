"""Deep embedded regularized clustering, DEPICT (Ghasedi Dizaji, Herandi, Deng, Cai & Huang 2017, https://arxiv.org/abs/1704.06327).

An auto-encoder that sees its inputs through dropout rebuilds every layer of its clean self, and a softmax on its code is the cluster.
Pre-train it, fit the softmax to the clusters of k-means, then train it towards its own predictions, balanced so that no cluster takes all.
Shapes: B batch, N data set, D features, F units of a layer, Z code, K clusters.
From the authors' code (github.com/herandy/DEPICT), not the paper: the target p^2 / sum_N p (`power: 1`, `share: 0.5` is the paper's), the
0.1 of the hidden layers, and their sizes. Differs from both: three fixed lengths, no validation set (theirs is drawn by the labels) and no
early stop; a target is read for all samples at the epoch's start (theirs: of each after its step in the epoch before); k-means, never
agglomerative clusters, starts the softmax. Adam at 1e-3 and 100 + 10 + 50 epochs (theirs: 1e-4 and up to 4,000 + 1,000 + 4,000).
The two strided convolutions are theirs, for images; vectors, which they never had, get two linear layers as wide as DEC's.
"""

from dataclasses import dataclass

import torch
from torch import nn

from tuner.clustering import k_means, nearest
from tuner.model import Clusters, Descend, Model, Phase, Term, hp

from ._autoencoder import Pretrained


class Stage(nn.Module):
    """Every layer's output, one after the other. A layer's output meets its mask, if there is one, before the next sees it."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BF, *masks):
        out = []
        for i, layer in enumerate(self.layers):
            x_BF = layer(x_BF)
            x_BF = x_BF * masks[i] if i < len(masks) else x_BF
            out.append(x_BF)
        return out


KERNELS = ((4, 2, 0), (5, 2, 2))  # theirs for MNIST and USPS: size, stride, padding


def image(h, data):
    """(C, h, w), where the layers are to be convolutions; else None."""
    large = len(data.shape) in (2, 3) and min(data.shape[-2:]) >= KERNELS[0][0]
    return (1, *data.shape)[-3:] if h.network == "conv" or (h.network == "auto" and large) else None


def planes(h, data):
    """The shapes of the inputs and of the two layers behind them, if they are convolutions."""
    shapes = [image(h, data)]
    for kernel, stride, pad in KERNELS:
        shapes.append((h.channels, *((side + 2 * pad - kernel) // stride + 1 for side in shapes[-1][1:])))
    return shapes


def widths(h, data):
    """Units of the inputs and of the two layers behind them."""
    return [torch.Size(s).numel() for s in planes(h, data)] if image(h, data) else [data.n_features, h.hidden, 4 * h.hidden]


def down(h, data, i):
    sizes = widths(h, data)
    if not image(h, data):
        return nn.Sequential(nn.Linear(sizes[i], sizes[i + 1]), nn.LeakyReLU(0.01))
    shapes = planes(h, data)
    conv = nn.Conv2d(shapes[i][0], shapes[i + 1][0], *KERNELS[i])
    return nn.Sequential(nn.Unflatten(-1, shapes[i]), conv, nn.LeakyReLU(0.01), nn.Flatten(-3))


def up(h, data, i):
    """The way back over `down(h, data, i)`, without what stands behind it."""
    sizes = widths(h, data)
    if not image(h, data):
        return nn.Linear(sizes[i + 1], sizes[i])
    shapes, (kernel, stride, pad) = planes(h, data), KERNELS[i]
    lost = [(side + 2 * pad - kernel) % stride for side in shapes[i][1:]]
    conv = nn.ConvTranspose2d(shapes[i + 1][0], shapes[i][0], kernel, stride, pad, output_padding=lost)
    return nn.Sequential(nn.Unflatten(-1, shapes[i + 1]), conv, nn.Flatten(-3))


class Centred(nn.Module):
    """Pixels in [0, 1] as numbers in [-1, 1], as the authors' are."""

    def forward(self, x_BD):
        return 2 * x_BD - 1


# All that the outcome of the auto-encoder's training depends on.
SHAPED_BY = (
    "network", "channels", "hidden", "latent_dim", "batch_size", "input_dropout", "layer_dropout", "layer_weight", "lr_pretrain",
    "pretrain_epochs",
)  # fmt: skip


class DEPICT(Model):
    paper = "https://arxiv.org/abs/1704.06327"

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Pretrained, Clusters):
        network: str = hp("auto", choices=("auto", "conv", "mlp"), doc="auto: convolutions for images, else fully connected")
        channels: int = hp(50, 1, 1024, static=True, doc="network: conv; of both layers")
        hidden: int = hp(500, 8, 8192, static=True, doc="network: mlp; width of the first layer; the second is four times as wide")
        latent_dim: int = hp(10, 1, 256, static=True, doc="Z; theirs is K")
        batch_size: int = hp(100, 2, 65536, static=True)
        input_dropout: float = hp(0.1, 0.0, 0.95, doc="share of the inputs hidden in training")
        layer_dropout: float = hp(0.1, 0.0, 0.95, doc="of the first layer")
        layer_weight: float = hp(0.1, 0.0, 100.0, doc="of the two hidden layers in what is rebuilt; the inputs' is 1")
        power: float = hp(2.0, 1.0, 10.0, doc="exponent of p in the target")
        share: float = hp(1.0, 0.0, 4.0, doc="exponent of a cluster's soft size, which the target is divided by")
        n_init: int = hp(40, 1, 1000, static=True, doc="starts of k-means on the codes")
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="Adam's rate, once there are clusters")
        settle_epochs: int = hp(10, 1, 100000, doc="epochs in which the target is k-means' clusters")
        epochs: int = hp(50, 1, 100000, doc="clustering epochs")

    terms = {
        "recon_ae": Term(None, "as recon, before clustering"),
        "recon": Term(
            1.0, "mean (x - x_hat)^2 + layer_weight * sum over hidden layers of mean (l - l_hat)^2; x in [-1, 1] if pixels, l clean"
        ),
        "ce": Term(1.0, "-sum_k q_k log p_k, p predicted through dropout, q the target"),
    }
    tiny = {
        "n_clusters": 3, "channels": 8, "hidden": 16, "latent_dim": 4, "batch_size": 30, "n_init": 3, "lr_pretrain": 1e-2,
        "lr": 1e-2, "pretrain_epochs": 10, "settle_epochs": 10, "epochs": 4,
    }  # fmt: skip

    def networks(self, h, data):
        first = Centred() if data.unit_range else nn.Identity()
        last = nn.Tanh() if data.unit_range else nn.Identity()
        F = widths(h, data)[-1]
        code = nn.Sequential(nn.Linear(F, h.latent_dim), nn.Tanh())
        back = nn.Sequential(nn.Linear(h.latent_dim, F), nn.LeakyReLU(0.01))
        return {
            "encoder": Stage(first, down(h, data, 0), down(h, data, 1), code),
            "decoder": Stage(back, nn.Sequential(up(h, data, 1), nn.LeakyReLU(0.01)), nn.Sequential(up(h, data, 0), last)),
            "softmax": nn.Linear(h.latent_dim, h.n_clusters),
        }

    def tensors(self, h, data):
        return {"target_NK": torch.zeros(data.n_samples, h.n_clusters), "pixels": torch.tensor(float(data.unit_range))}

    def draw(self, h, data, B, g):
        rates = (h.input_dropout, h.layer_dropout)
        return {f"keep{i}_BF": (g.uniform(B, F) >= p) / (1 - p) for i, (p, F) in enumerate(zip(rates, widths(h, data), strict=False))}

    def paths(self, net, batch, h, noise):
        """The noisy code, and how badly the decoder rebuilds the clean layers from it."""
        *clean, _ = net.encoder(batch.x_BD)
        z_BZ = net.encoder(batch.x_BD, noise.keep0_BF, noise.keep1_BF)[-1]
        first, *hidden = [(a - b).square().mean() for a, b in zip(clean, reversed(net.decoder(z_BZ)), strict=True)]
        return z_BZ, first + h.layer_weight * sum(hidden)

    def autoencode(self, net, batch, h, noise):
        return {"recon_ae": self.paths(net, batch, h, noise)[1]}

    def follow(self, net, batch, h, noise):
        z_BZ, recon = self.paths(net, batch, h, noise)
        log_p_BK = net.softmax(z_BZ).log_softmax(-1)
        return {"recon": recon, "ce": -(net.target_NK[batch.rows_B] * log_p_BK).sum(-1).mean()}

    def place(self, net, data, h, g):
        """The softmax's weights are the centres of k-means on the clean codes, of length 1; the target is their clusters."""
        z_NZ = data.by_rows(lambda x_BD: self.embed(net, x_BD, h))
        centers_KZ = k_means(z_NZ, g.exponential(h.n_init, h.n_clusters, data.spec.n_samples))
        length_K1 = centers_KZ.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        softmax = {"weight": centers_KZ / length_K1, "bias": torch.zeros_like(length_K1[:, 0])}
        return {"softmax": softmax, "target_NK": nearest(z_NZ, centers_KZ)}

    def renew(self, net, data, h, g):
        """The target: p to a power over its cluster's soft size, normalised over the clusters."""
        p_NK = data.by_rows(lambda x_BD: self.assign(net, x_BD, h))
        q_NK = p_NK**h.power / p_NK.sum(0).clamp(min=1e-8) ** h.share
        return {"target_NK": q_NK / q_NK.sum(-1, keepdim=True)}

    def phases(self, h):
        alone = Descend(self.autoencode, trains=("encoder", "decoder"), lr="lr_pretrain")
        follow = Descend(self.follow, trains=("encoder", "decoder", "softmax"))
        return (
            Phase("pretrain", "pretrain_epochs", (alone,), self.draw, clusters=False, depends=SHAPED_BY),
            Phase("settle", "settle_epochs", (follow,), self.draw, clusters=False, start=self.place),
            Phase("cluster", "epochs", (follow,), self.draw, before_epoch=self.renew),
        )

    def assign(self, net, x_BD, h):
        return net.softmax(self.embed(net, x_BD, h)).softmax(-1)

    def embed(self, net, x_BD, h):
        return net.encoder(x_BD)[-1]

    def decode(self, net, e_BE, h):
        x_BD = net.decoder(e_BE)[-1]
        return x_BD + net.pixels * (1 - x_BD) / 2  # [-1, 1] to [0, 1]

"""Deep predictive coding network, PredNet (Lotter, Kreiman & Cox 2017, https://arxiv.org/abs/1605.08104), with a head on what it remembers.

Every level predicts what the level below sends up; what goes up is only the error of that. A convolutional LSTM remembers at each level,
told of the level's last error and, from above, of the memory there. The network is trained to predict the next frame of a film. It has no
clusters: k-means or a mixture finds them in its memory behind the last frame, each channel's mean over the pixels.
Shapes: B batch, T frames, D features, A and R channels of what a level predicts and of what it remembers, h and w its sides, Z code,
K clusters. (T, h, w) or (T, 3, h, w) is a film of T frames; an image, (h, w) or (3, h, w), is shown `frames` times.
From the authors' code (github.com/coxlab/prednet): levels, gates, initial weights, the rate that falls to a tenth half-way, error weights
(1, 0.1, 0.1, ...), with `weights.features` 0 their other model; 3 channels remember the pixels. Differs from it: two levels above the
pixels, of 8 and 16 channels (theirs: three, of 48, 96 and 192, for 128 x 160 pixels); sides that are odd are rounded up; the last model is
taken, not the best on held out films. Clusters are not in the paper, and of which digit moves the memory keeps little: behind 8 epochs on
`moving_digits` a linear classifier finds 29 % of the digits in it, k-means 18 (in the films themselves 14). Predictions are better than
the frame before: an error of 0.0241 in place of 0.0271.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from tuner.errors import UserError
from tuner.model import Descend, Model, Phase, Term, hp
from tuner.nn import Double, is_film

from ._heads import Head, blank_head, by_head, fit_head, head_distances


def conv(n_in, n_out):
    """3 x 3; weights as Glorot & Bengio draw them."""
    layer = nn.Conv2d(n_in, n_out, 3, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Levels(nn.Module):
    """Of `film`, (T, C, h, w), or of an image that is shown T times. `seen`, `kept`: the channels of what each level predicts and of
    what it remembers, the lowest first."""

    def __init__(self, film, seen, kept, is_still):
        super().__init__()
        self.n_frames, self.shape, self.is_still, self.sizes = film[0], (1 if is_still else film[0], *film[1:]), is_still, [film[2:]]
        for _ in seen[1:]:
            self.sizes.append([-(-side // 2) for side in self.sizes[-1]])
        self.remember = nn.ModuleList(conv(2 * A + R + up, 4 * R) for A, R, up in zip(seen, kept, [*kept[1:], 0], strict=True))
        self.predict = nn.ModuleList(conv(R, A) for A, R in zip(seen, kept, strict=True))
        self.ascend = nn.ModuleList(conv(2 * A, up) for A, up in pairwise(seen))
        self.descend = nn.ModuleList(Double(*size) for size in self.sizes[:-1])
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x_BD):
        """A list of (B, T), the levels' mean errors, and one of (B, R, h, w), what they remember in the end."""
        x_BTChw = x_BD.unflatten(-1, self.shape)
        levels = list(zip(self.predict, self.sizes, strict=True))
        r = [x_BD.new_zeros(*x_BD.shape[:-1], predict.in_channels, *size) for predict, size in levels]
        e = [x_BD.new_zeros(*x_BD.shape[:-1], 2 * predict.out_channels, *size) for predict, size in levels]
        c, errors = list(r), [[] for _ in r]
        for t in range(self.n_frames):
            for level in reversed(range(len(r))):
                above = [self.descend[level](r[level + 1])] if level + 1 < len(r) else []
                i, f, o, new = self.remember[level](torch.cat([r[level], e[level], *above], -3)).chunk(4, -3)
                c[level] = hard_sigmoid(f) * c[level] + hard_sigmoid(i) * new.tanh()
                r[level] = hard_sigmoid(o) * c[level].tanh()
            for level, predict in enumerate(self.predict):
                hat = predict(r[level]).relu()
                if level == 0:
                    a, hat = x_BTChw[..., 0 if self.is_still else t, :, :, :], hat.clamp(max=1)
                else:
                    a = self.pool(self.ascend[level - 1](e[level - 1]).relu())
                e[level] = torch.cat([(hat - a).relu(), (a - hat).relu()], -3)
                errors[level].append(e[level].mean((-3, -2, -1)))
        return [torch.stack(one_T, -1) for one_T in errors], r


def hard_sigmoid(x):
    """Keras's."""
    return (0.2 * x + 0.5).clamp(0, 1)


class PredNet(Model):
    paper = "https://arxiv.org/abs/1605.08104"
    rebuilds_pixels = True
    eval_rows = 256

    @dataclass(frozen=True, kw_only=True)
    class Hyper(Head):
        channels: int = hp(8, 1, 1024, static=True, doc="of the first level above the pixels; each one above has twice as many")
        n_levels: int = hp(3, 2, 7, static=True, doc="the pixels' level included")
        frames: int = hp(5, 2, 100, static=True, doc="T, of an image, which is no film")
        pooled: str = hp("all", choices=("all", "top"), doc="the levels whose memory the head sees")
        whiten: bool = hp(True, doc="the head sees codes without correlations, all of variance 1")
        batch_size: int = hp(20, 2, 65536, static=True)
        lr: float = hp(1e-3, 0.0, 1.0, log=True, doc="a tenth of it in the second half of the epochs")
        epochs: int = hp(20, 1, 100000)

    terms = {
        "pixels": Term(1.0, "mean over pixels and frames but the first of relu(x_hat - x), relu(x - x_hat): half of |x - x_hat|"),
        "features": Term(0.1, "the same of each level above, summed"),
    }
    tiny = {
        "n_clusters": 3, "channels": 4, "n_levels": 2, "frames": 3, "n_init": 3, "batch_size": 30, "lr": 1e-2, "epochs": 6,
    }  # fmt: skip

    def networks(self, h, data):
        film, is_still = film_of(data, h.frames)
        return {"levels": Levels(film, self.channels(h, film[1]), self.channels(h, 3), is_still)}

    def channels(self, h, lowest):
        return [lowest, *(h.channels * 2**i for i in range(h.n_levels - 1))]

    def tensors(self, h, data):
        kept = self.channels(h, 3)
        return blank_head(h, sum(kept) if h.pooled == "all" else kept[-1])

    def learn(self, net, batch, h, noise):
        errors, _ = net.levels(batch.x_BD)
        later = [e_BT[..., 1:].mean() for e_BT in errors]  # before the first frame nothing is known of it
        return {"pixels": later[0], "features": sum(later[1:])}

    def fit(self, net, data, h, g):
        return fit_head(data.by_rows(lambda x_BD: self.embed(net, x_BD, h)), h, g)

    def fall(self, h, epoch):
        return {"lr": h.lr * (1.0 if 2 * epoch <= h.epochs else 0.1)}

    def phases(self, h):
        train = Descend(self.learn, trains=("levels",))
        return (Phase("train", "epochs", updates=(train,), after_epoch=self.fit, schedule=self.fall),)

    def assign(self, net, x_BD, h):
        return by_head(net, self.embed(net, x_BD, h), h)

    def distances(self, net, x_BD, h):
        return head_distances(net, self.embed(net, x_BD, h), h)

    def embed(self, net, x_BD, h):
        """(B, Z): the mean over the pixels of what the levels remember."""
        _, remembered = net.levels(x_BD)
        return torch.cat([r.mean((-2, -1)) for r in (remembered if h.pooled == "all" else remembered[-1:])], -1)


def film_of(data, n_frames):
    """(T, C, h, w), and whether it is an image that stays."""
    is_still = not is_film(data.shape)
    T, frame = (n_frames, data.shape) if is_still else (data.shape[0], data.shape[1:])
    if len(frame) not in (2, 3) or T < 2:
        raise UserError(f"prednet needs films of shape (T, h, w) or (T, 3, h, w), or images, but a sample's shape is {data.shape}.")
    return (T, *((1,) if len(frame) == 2 else ()), *frame), is_still

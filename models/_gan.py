"""What generative adversarial networks of fully connected layers share: the layer of their discriminators."""

from torch import nn


def leaky(n_in, n_out, norm=True):
    """No bias: behind a unit that never changes its side, the next BatchNorm leaves it no gradient but rounding noise."""
    return [nn.Linear(n_in, n_out, bias=False), *([nn.BatchNorm1d(n_out)] if norm else []), nn.LeakyReLU(0.1)]

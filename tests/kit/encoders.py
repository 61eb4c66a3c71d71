"""Independent statements of what several adversarial models compute."""

import math

import numpy as np
import torch


def normalised(norm, a):
    """Batch normalisation by the batch, from numpy."""
    a = a.numpy()
    return (a - a.mean(0)) / np.sqrt(a.var(0) + norm.eps) * norm.weight.numpy() + norm.bias.numpy()


def encoded(net, x, mask):
    """(y, z) of the encoder in training mode, written out with numpy."""
    weight = {k: p.numpy() for k, p in net.named_parameters()}
    a = torch.as_tensor(np.asarray(x) @ weight["first.weight"].T * np.asarray(mask))
    a = np.maximum(normalised(net.norm_first, a), 0)
    a = np.maximum(normalised(net.norm_second, torch.as_tensor(a @ weight["second.weight"].T)), 0)
    logits = normalised(net.norm_y, torch.as_tensor(a @ weight["y.weight"].T))
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), normalised(net.norm_z, torch.as_tensor(a @ weight["z.weight"].T))


def through(mlp, x):
    """The logits of a decoder or a critic, from numpy."""
    for layer in mlp:
        x = x @ layer.weight.numpy().T + layer.bias.numpy() if isinstance(layer, torch.nn.Linear) else np.maximum(x, 0)
    return x


def logistic(a):
    return 1 / (1 + np.exp(-a))


def cross_entropy(p, t):
    """-[t log p + (1 - t) log(1 - p)], one element at a time."""
    pairs = zip(np.ravel(p), np.ravel(t), strict=True)
    return np.mean([-(b * math.log(a) + (1 - b) * math.log(1 - a)) for a, b in pairs])

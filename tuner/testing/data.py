"""Three easy blobs in [0, 1], as a data set."""

from __future__ import annotations

import torch

from tuner.data.datasets import Data


def blobs(n_samples: int = 150, n_features: int = 16, dtype: torch.dtype = torch.float64, seed: int = 0) -> Data:
    """Samples of three classes in turn; each is of shape (4, n_features / 4)."""
    g = torch.Generator().manual_seed(seed)
    y_N = torch.arange(n_samples) % 3
    centers_KD = 0.15 + 0.7 * (torch.rand(3, n_features, generator=g, dtype=torch.float64) > 0.5)
    x_ND = (centers_KD[y_N] + 0.08 * torch.randn(n_samples, n_features, generator=g, dtype=torch.float64)).clamp(0, 1)
    return Data(name="blobs", x_ND=x_ND.to(dtype), y_N=y_N, shape=(4, n_features // 4), test=None)


DATA = blobs()  # what the checks train on

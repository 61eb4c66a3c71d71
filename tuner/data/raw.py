"""What every reader of data hands over, and where data files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner import layout


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    x_N: NDArray[Any]  # (N, *shape)
    y_N: NDArray[Any] | None
    n_train: int | None = None  # rows before the published test split
    peak: float = 1.0  # the value that becomes 1

    def values(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, D): the samples at these rows, flat, before they are scaled."""
        x_B = self.x_N[rows]
        x_BD = x_B.reshape(len(x_B), -1).astype(np.float32)
        if self.peak != 1.0:
            x_BD /= np.float32(self.peak)
        return x_BD


def data_root(root: Path | None = None) -> Path:
    """The folder where data files live, absolute: `root`, or TUNER_DATA, or ~/.cache/tuner."""
    return Path(root or os.environ.get("TUNER_DATA") or layout.cache()).expanduser().absolute()

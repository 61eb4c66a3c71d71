"""The codes of a whole data set as a snapshot's networks give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuner.nn import by_rows, slice_of

from .checkpoint import Snapshot
from .restored import restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuner.data.datasets import Data
    from tuner.model import Hyper, Model


def codes_of(model: Model, h: Hyper, data: Data, snapshot: Snapshot) -> NDArray[np.float32]:
    """(N, Z), on the CPU. `snapshot`: of a trial with this configuration; what it says of optimisers is left aside."""
    trained = restored(model, h, data.spec, snapshot, data.x_ND)
    net, rows_N = trained.evaluating(), torch.arange(data.n_samples, device=data.x_ND.device)
    with torch.no_grad():
        size = model.eval_rows or slice_of(data.x_ND)
        z_NZ = by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), trained.values), rows_N, size)
    codes: NDArray[np.float32] = z_NZ.flatten(1).float().cpu().numpy()
    return codes

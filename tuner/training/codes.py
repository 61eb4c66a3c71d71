"""The codes of a whole data set as a snapshot's networks give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuner.nn import by_rows, slice_of

from .checkpoint import Snapshot
from .engine import Settings, terms_on
from .solo import Solo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuner.data.datasets import Data
    from tuner.model import Hyper, Model


def codes_of(model: Model, h: Hyper, data: Data, snapshot: Snapshot) -> NDArray[np.float32]:
    """(N, Z), on the CPU. `snapshot`: of a trial with this configuration; what it says of optimisers is left aside."""
    engine = Solo(model, h, data.spec, data.x_ND, seed=snapshot.seed)
    with torch.no_grad():
        for name, t in engine.state().items():
            t.copy_(snapshot.tensors[name])
    values = Settings(model, h, terms_on(model, h), {}).values(data.x_ND)
    rows_N = torch.arange(data.n_samples, device=data.x_ND.device)
    with engine.view() as net:
        z_NZ = by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), values), rows_N, model.eval_rows or slice_of(data.x_ND))
    codes: NDArray[np.float32] = z_NZ.flatten(1).float().cpu().numpy()
    return codes

"""The codes of a data set as a snapshot's networks give them: of the whole, or with the clusters of one fixed subsample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuner.draws import Draws
from tuner.nn import by_rows, slice_of

from .checkpoint import Snapshot
from .restored import restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from tuner.data.datasets import Data
    from tuner.model import Hyper, Model


SUBSAMPLE = 1000  # samples at most


def codes_of(model: Model, h: Hyper, data: Data, snapshot: Snapshot) -> NDArray[np.float32]:
    """(N, Z), on the CPU. `snapshot`: of a trial with this configuration; what it says of optimisers is left aside."""
    trained = restored(model, h, data.spec, snapshot, data.x_ND)
    net, rows_N = trained.evaluating(), torch.arange(data.n_samples, device=data.x_ND.device)
    with torch.no_grad():
        size = model.eval_rows or slice_of(data.x_ND)
        z_NZ = by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), trained.values), rows_N, size)
    codes: NDArray[np.float32] = z_NZ.flatten(1).float().cpu().numpy()
    return codes


def subsample_rows(n_samples: int, most: int = SUBSAMPLE) -> Tensor:
    """(S,) rows of a data set in their order, at most `most` of them, the same ones for all trials on the data; more hold fewer."""
    return Draws("subsample", like=torch.empty(())).permutation(n_samples)[:most].sort().values


def subsample_of(
    model: Model, h: Hyper, data: Data, snapshot: Snapshot, numbers: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(S,) clusters and (S, Z) codes of at most `SUBSAMPLE` samples, the same ones for all trials on the data; on the CPU. `snapshot`: as
    in `codes_of`. `numbers`: of the codes in all, at most; long codes are then of fewer samples."""
    trained = restored(model, h, data.spec, snapshot, data.x_ND)
    net, rows_S = trained.evaluating(), subsample_rows(data.n_samples).to(data.x_ND.device)
    with torch.no_grad():
        size = model.eval_rows or slice_of(data.x_ND)
        if numbers is not None:
            width = model.embed(net, data.batch(rows_S[:2]), trained.values).flatten(1).shape[1]
            rows_S = subsample_rows(data.n_samples, min(SUBSAMPLE, max(1, numbers // width))).to(rows_S.device)
        p_SK = by_rows(lambda rows_B: model.assign_rows(net, data.batch(rows_B), rows_B, trained.values), rows_S, size)
        z_SZ = by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), trained.values), rows_S, size)
    c_S: NDArray[np.int64] = p_SK.argmax(dim=1).cpu().numpy()
    codes: NDArray[np.float32] = z_SZ.flatten(1).float().cpu().numpy()
    return c_S, codes

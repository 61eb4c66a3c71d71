"""What a trained model makes of samples that it never saw: the metrics of the held-out part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tuner.metrics import evaluate
from tuner.names import HELD_OUT
from tuner.nn import by_rows, slice_of

from .checkpoint import Snapshot
from .neighbours import SEPARATION, SILHOUETTE, neighbourhoods
from .restored import restored

if TYPE_CHECKING:
    from tuner.data.holdout import Parts
    from tuner.model import Hyper, Model


def held_metrics(model: Model, h: Hyper, data: Parts, snapshot: Snapshot) -> dict[str, float]:
    """By `acc_holdout` and the like; those of the codes, too, but for the nearest-neighbour errors. `snapshot`: of a trial that trained on
    the kept part."""
    held = data.held
    assert held is not None
    trained = restored(model, h, data.kept.spec, snapshot, held.x_ND)
    net, rows_N = trained.evaluating(), torch.arange(held.n_samples, device=held.x_ND.device)
    size = model.eval_rows or slice_of(held.x_ND)

    def embed(rows_R: Tensor) -> Tensor:
        return by_rows(lambda rows_B: model.embed(net, held.batch(rows_B), trained.values), rows_R.to(held.x_ND.device), size)

    with torch.no_grad():
        p_NK = by_rows(lambda rows_B: model.assign(net, held.batch(rows_B), trained.values), rows_N, size)
        found = evaluate(p_NK, held.y_N)
        found |= neighbourhoods(embed, held, p_NK.argmax(dim=1), (SILHOUETTE, *SEPARATION))
    return {f"{name}{HELD_OUT}": value for name, value in found.items()}

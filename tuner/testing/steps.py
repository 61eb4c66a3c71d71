"""One step of a model as its updates see it: fresh networks in float64, a batch, its noise, the hyper-parameters as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuner.data.datasets import Data
from tuner.data.labels import labelled_of
from tuner.draws import Draws
from tuner.model import Batch, Hyper, Model, Net, Values
from tuner.training.engine import Settings, terms_on
from tuner.training.solo import Solo


@dataclass
class Step:
    """What an update is given: `update(step.net, step.batch, step.values, step.noise)`. `h`: the same numbers as plain ones."""

    engine: Solo
    h: Hyper
    values: Values
    batch: Batch
    noise: Net

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return self.engine.networks

    @property
    def net(self) -> Net:
        return self.engine.views["training"]

    @property
    def still(self) -> Net:
        """The evaluating view, as hooks are given it."""
        return self.engine.views["eval"]


def step_of(model: Model, data: Data, phase: int = -1, size: int = 12, **more: Any) -> Step:
    """A step of one phase of `tiny` with `more` put over it; tensors are as `tensors` declares them, `start` has not run."""
    h = model.hyper(dict(model.tiny) | {"batch_size": size} | more)
    engine = Solo(model, h, data.spec, data.x_ND, seed=3)
    values = Settings(model, h, terms_on(model, h), {}).values(data.x_ND)
    draw = model.phases(h)[phase].noise
    drawn = draw(values, data.spec, size, Draws(1, like=data.x_ND, lead=(1,))) if draw else {}
    rows_B = torch.arange(size) * 2
    labelled: tuple[Tensor, ...] = ()
    if model.labels == "partial":
        labelled = tuple(t[0] for t in labelled_of(data, h).draw(Draws(2, like=data.x_ND, lead=(1,)), h.labelled_batch))
    return Step(engine, h, values, Batch(data.x_ND[rows_B], rows_B, labelled), Net({k: v[0] for k, v in drawn.items()}))

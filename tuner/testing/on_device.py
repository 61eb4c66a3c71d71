"""Steps on torch's `meta` device, whose tensors have a shape and no values: what leaves a GPU, or asks it for a value, finds nothing there.

Hooks are left out: they run between epochs, and may ask for values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from unittest import mock

import torch
from torch import Tensor

from tuner.draws import Draws
from tuner.model import Batch, Hyper, Model, Phase
from tuner.training.engine import Engine, Settings, terms_on
from tuner.training.pack import Pack
from tuner.training.solo import Solo

from .data import DATA
from .tiny import choices, short

SIZE = 6  # samples of a batch


def steps_stay_on_the_device(model: Model) -> None:
    """Every phase of every choice, two in a pack, and of the first choices alone, too; then the clusters and codes of a batch."""
    like = torch.empty((), device="meta", dtype=DATA.x_ND.dtype)
    with without_optimizers():
        for over in choices(model):
            h = short(model, **over)
            alone = Solo(model, h, DATA.spec, like, seed=1)
            for phase in model.phases(h):
                packed = Pack(model, h, DATA.spec, like, slots=2)  # a pack never leaves its phase
                for engine in (packed,) if over else (packed, alone):
                    step_on_meta(engine, model, h, phase)
            with alone.view() as net:
                x_BD, values = like.new_empty(SIZE, DATA.spec.n_features), Settings(model, h, terms_on(model, h), {}).values(like)
                model.assign(net, x_BD, values)
                model.embed(net, x_BD, values)


def step_on_meta(engine: Engine, model: Model, h: Hyper, phase: Phase, within: AbstractContextManager[object] | None = None) -> None:
    """One step of all slots of an engine that was made on `meta`. Its optimisers move nothing: `without_optimizers` stands around it.
    `within`: what the step itself, without what goes before, runs in."""
    scheduled = phase.schedule(h, 1) if phase.schedule else {}
    settings = Settings(model, h, terms_on(model, h), scheduled)
    for slot in range(engine.slots):
        engine.open(phase, slot)
    engine.begin([settings] * engine.slots)
    values, draws = settings.values(DATA.x_ND), Draws("meta", like=DATA.x_ND, lead=(engine.slots,))
    drawn = phase.noise(values, DATA.spec, SIZE, draws) if phase.noise else {}
    batch, drawn = _batch(model, h, engine.slots), {name: t.to("meta") for name, t in drawn.items()}
    with within or nullcontext():
        engine.step(batch, drawn)


def _batch(model: Model, h: Hyper, lanes: int) -> Batch:
    x_LBD = torch.empty(lanes, SIZE, DATA.spec.n_features, device="meta", dtype=DATA.x_ND.dtype)
    rows_LB = torch.empty(lanes, SIZE, device="meta", dtype=torch.int64)
    if model.labels != "partial":
        return Batch(x_LBD, rows_LB)
    L = h.static()["labelled_batch"]
    return Batch(x_LBD, rows_LB, (x_LBD.new_empty(lanes, L, DATA.spec.n_features), rows_LB.new_empty(lanes, L)))


@contextmanager
def without_optimizers() -> Iterator[list[int]]:
    """The fused optimisers have no kernel for `meta`. They are torch's, and what they are given is checked before. Gives a list of how many
    tensors each call would have moved."""
    moved: list[int] = []

    def moves_nothing(params: list[Tensor], grads: list[Tensor], *_: object, **__: object) -> None:
        assert all(p.is_meta and g.is_meta for p, g in zip(params, grads, strict=True))
        moved.append(len(params))

    with mock.patch.multiple(torch, _fused_adam_=moves_nothing, _fused_sgd_=moves_nothing):
        yield moved

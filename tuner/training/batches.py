"""The batches of one epoch, in every lane at once: each trial's own order, noise and labelled samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.data.labels import Labelled
from tuner.draws import BLOCK, Draws
from tuner.model import Batch, Phase, Values

from .engine import Engine, Settings
from .trial import Trial

# The word that seeds each hook's draws. These are the hooks' first names: another word is another seed, and moves every number.
SEEDED_BY = {"start": "enter", "before_epoch": "refresh", "after_epoch": "read"}


@dataclass(frozen=True)
class Around:
    """What the batch loop needs of the epoch around it. `whole(hook, slot, purpose)` runs a hook on the whole data set."""

    settings: Sequence[Settings | None]
    values: Mapping[int, Values]
    whole: Callable[[Callable[..., dict[str, Any]], int, str], None]
    labelled: Mapping[int, Labelled] = field(default_factory=dict)  # empty for a model that sees no label


class Blocks:
    """What is drawn for an epoch's steps: for `BLOCK` of them at a time, in each lane from its own generator, and handed out one by
    one. `draw(slot, draws)` gives a lane's tensors with a leading axis of steps; `lanes` stacks those of all."""

    def __init__(
        self,
        draws: Mapping[int, Draws],
        draw: Callable[[int, Draws], Mapping[str, Tensor]],
        lanes: Callable[[Mapping[int, Tensor], int], Tensor],
        steps: int,
    ) -> None:
        self._draws, self._draw, self._lanes, self._steps = draws, draw, lanes, steps
        self._block: dict[str, Tensor] = {}

    def at(self, step: int) -> dict[str, Tensor]:
        """One step's, with a leading axis of lanes. To be asked for step by step."""
        if step % BLOCK == 0:
            for draws in self._draws.values():
                draws.lead = (min(BLOCK, self._steps - step),)
            drawn = {slot: self._draw(slot, draws) for slot, draws in self._draws.items()}
            names = next(iter(drawn.values()), {})
            self._block = {name: self._lanes({slot: d[name] for slot, d in drawn.items()}, 1) for name in names}
        return {name: t[step % BLOCK] for name, t in self._block.items()}


def run_batches(engine: Engine, phase: Phase, trials: Sequence[Trial | None], data: Data, around: Around) -> None:
    """Every trial's batches of one epoch, in its own order; an incomplete last batch is dropped. A model that sees labels sees no
    row of the test split: its error there is of samples that it never met."""
    busy = {slot: trial for slot, trial in enumerate(trials) if trial}
    some = next(iter(busy))
    h: Any = busy[some].h  # its static values are those of all
    n_samples = data.n_train if around.labelled else data.n_samples
    steps = n_samples // h.batch_size

    def lanes(per_slot: Mapping[int, Tensor], axis: int) -> Tensor:
        """Stacks the busy slots' tensors; idle slots repeat a busy one."""
        return torch.stack([per_slot.get(slot, per_slot[some]) for slot in range(engine.slots)], axis)

    def noise_of(slot: int, draws: Draws) -> dict[str, Tensor]:
        return phase.noise(around.values[slot], data.spec, h.batch_size, draws) if phase.noise else {}

    def labelled_of(slot: int, draws: Draws) -> dict[str, Tensor]:
        return dict(zip(("x", "y"), around.labelled[slot].draw(draws, h.labelled_batch), strict=True))

    def draws(purpose: str, slots: Mapping[int, object]) -> dict[int, Draws]:
        return {slot: busy[slot].draws(phase, purpose, data.x_ND) for slot in slots}

    order_LN = lanes({slot: g.permutation(n_samples) for slot, g in draws("order", busy).items()}, 0)
    noise = Blocks(draws("noise", busy), noise_of, lanes, steps)
    known = Blocks(draws("labelled", around.labelled), labelled_of, lanes, steps)
    for step in range(steps):
        _renew(phase, busy, around, step)
        rows_LB = order_LN[:, step * h.batch_size : (step + 1) * h.batch_size]
        engine.step(Batch(data.batch(rows_LB), rows_LB, tuple(known.at(step).values())), noise.at(step))
        for trial in busy.values():
            trial.phase_batches += 1


def _renew(phase: Phase, busy: Mapping[int, Trial], around: Around, step: int) -> None:
    """Runs `before_epoch` in the lanes whose count of batches is due, where it runs by batches."""
    if phase.every_batches is None or phase.before_epoch is None:
        return
    for slot, trial in busy.items():
        settings = around.settings[slot]
        assert settings is not None
        if trial.phase_batches % int(settings.numbers[phase.every_batches]) == 0:
            around.whole(phase.before_epoch, slot, f"{SEEDED_BY['before_epoch']} {step}")

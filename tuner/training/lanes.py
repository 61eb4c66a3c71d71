"""One gradient step of every lane of a pack, and how a lane's parameters lie in a row. Shapes: as in `pack`; P parameters of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuner.model import Descend

from .engine import Settings, State
from .optimizers import MOMENTS, move, rate_type


def wide(a_L: Tensor, like: Tensor) -> Tensor:
    """A number per lane, shaped to multiply a stacked tensor and in its precision."""
    return a_L.to(like.dtype).view(-1, *[1] * (like.dim() - 1))


class PackStep:
    """One `Descend` of the pack's phase: torch's own fused optimisers, called lane by lane on that lane's row.

    `rows_LP` holds, for each network or tensor that moves, all its parameters of a lane in one row: an optimiser step is one
    kernel for each lane and network, with the lane's own rate and step count, and computes what the solo run computes.
    Everything that differs between lanes or epochs stands in tensors that stay where they are: a CUDA graph reads them anew.
    """

    def __init__(self, update: Descend, rows_LP: Mapping[str, Tensor], like: Tensor) -> None:
        self.update, self.rates = update, update.rates()
        self.rows_LP = {name: rows_LP[name] for name in self.rates}
        self.moments = {m: {name: torch.zeros_like(row) for name, row in self.rows_LP.items()} for m in MOMENTS[type(update.optimizer)]}
        slots, device = len(next(iter(self.rows_LP.values()))), like.device
        self.count_L = torch.zeros(slots, dtype=torch.float32, device=device)  # torch's own counts are float32
        self.rests_L = torch.zeros(slots, dtype=torch.float32, device=device)  # 1 where nothing may move, for the fused optimisers
        self.lr_L = {name: torch.zeros(slots, dtype=rate_type(device), device=device) for name in self.rates}
        self.clip_L = torch.full((slots,), torch.inf, dtype=like.dtype, device=device)

    def open(self, slot: int) -> None:
        """Fresh moments for a lane."""
        self.count_L[slot] = 0
        for moment in self.moments.values():
            for row_LP in moment.values():
                row_LP[slot].zero_()

    def set(self, settings: Sequence[Settings], rests: Sequence[bool]) -> None:
        """What holds in the next epoch; a lane that rests is not moved."""
        self.resting = any(rests)
        self.rests_L.copy_(torch.tensor(rests))
        for name, rate in self.rates.items():
            self.lr_L[name].copy_(torch.tensor([s.number(rate) for s in settings], dtype=torch.float64))
        if self.update.clip:
            self.clip_L.copy_(torch.tensor([s.number(self.update.clip) for s in settings]))
        o = self.update.optimizer
        self.numbers = [{field: s.number(getattr(o, field)) for field in o.__dataclass_fields__} for s in settings]

    def apply(self, grads_LP: dict[str, Tensor]) -> None:
        """Moves every lane but those that rest."""
        if self.update.clip:
            norm_L = torch.stack([g.square().sum(-1) for g in grads_LP.values()]).sum(0).sqrt()
            scale_L = (self.clip_L / (norm_L + 1e-6)).clamp(max=1.0)
            grads_LP = {name: g * wide(scale_L, g) for name, g in grads_LP.items()}
        self.count_L += 1 - self.rests_L
        o, moments_LP = self.update.optimizer, self.moments.values()
        for name, grad_LP in grads_LP.items():
            for lane, numbers in enumerate(self.numbers):
                row, moments, lr = self.rows_LP[name][lane], [[moment[name][lane]] for moment in moments_LP], self.lr_L[name][lane]
                rests = self.rests_L[lane]
                move(o, [row], [grad_LP[lane]], moments, self.count_L[lane], lr=lr, numbers=numbers, rests=rests)

    def remembered(self) -> list[Tensor]:
        return [self.count_L, *(row_LP for moment in self.moments.values() for row_LP in moment.values())]

    def state(self, slot: int, layout: Mapping[str, Layout]) -> State:
        if self.count_L[slot] == 0:
            return {}
        at = f"optimizer/{self.update.name}"
        out = {
            f"{at}/{key}/{m}": t.clone()
            for m, moment in self.moments.items()
            for name, row_LP in moment.items()
            for key, t in layout[name].parts(row_LP[slot]).items()
        }
        return out | {f"{at}/step": self.count_L[slot].double().cpu()}

    def load(self, slot: int, state: State, layout: Mapping[str, Layout]) -> None:
        at = f"optimizer/{self.update.name}"
        self.open(slot)
        if f"{at}/step" in state:
            self.count_L[slot] = state[f"{at}/step"]
        for m, moment in self.moments.items():
            for name, row_LP in moment.items():
                for key, t in layout[name].parts(row_LP[slot]).items():
                    if f"{at}/{key}/{m}" in state:
                        t.copy_(state[f"{at}/{key}/{m}"])


@dataclass(frozen=True)
class Layout:
    """How the parameters of a network, or one tensor, lie in a row. `shapes`: by dotted name, as snapshots know them."""

    shapes: Mapping[str, torch.Size]

    @property
    def sizes(self) -> list[int]:
        return [shape.numel() for shape in self.shapes.values()]

    def parts(self, row: Tensor) -> dict[str, Tensor]:
        """Views of a row (P,), or of stacked rows (L, P), in the parameters' own shapes."""
        pieces = torch.split(row, self.sizes, dim=-1)
        return {key: t.view(*row.shape[:-1], *shape) for (key, shape), t in zip(self.shapes.items(), pieces, strict=True)}

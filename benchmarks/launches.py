"""How many kernels does a step launch on a GPU, alone and in a pack? `python benchmarks/launches.py`. It needs no GPU.

For every model and phase at its defaults: one step on torch's `meta` device, whose tensors have no values, with every operator counted
that computes something. On a GPU each is a kernel or a few; views and empty tensors are none. A pack of any width launches as many as the
table says, and beside them its fused optimisers, one for each network that an update moves, in each lane. "gain": how many launches of
trials alone there are for one of the pack's trial, the most that a pack can gain where launching is all that takes time; a recorded CUDA
graph launches them all at once, alone and in a pack.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tuner.model import Hyper, Model, load_model, model_names
from tuner.testing.declared import DATA
from tuner.testing.on_device import step_on_meta, without_optimizers
from tuner.training.pack import Pack
from tuner.training.solo import Solo

LANES = 2
FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "detach", "lift_fresh"}


class Launches(TorchDispatchMode):
    """Counts the operators that compute."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += not (func.is_view or func.overloadpacket.__name__ in FREE)
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, kw_only=True)
class Step:
    """How many it launches alone; in a pack whatever the width; and there in each lane."""

    alone: int
    shared: int
    lane: int

    def gain(self, width: int) -> float:
        return width * self.alone / (self.shared + width * self.lane)


def steps(model: Model, h: Hyper) -> dict[str, Step]:
    """By phase whose steps compute something."""
    like, found = torch.empty((), device="meta", dtype=DATA.x_ND.dtype), {}
    for phase in model.phases(h):
        counts = []
        for engine in (Solo(model, h, DATA.spec, like, seed=0), Pack(model, h, DATA.spec, like, slots=LANES)):
            with without_optimizers():
                step_on_meta(engine, model, h, phase)  # what is made once is not counted
            launches = Launches()
            with without_optimizers() as moved:
                step_on_meta(engine, model, h, phase, within=launches)
            counts.append((launches.n, len(moved)))
        (alone, its_own), (shared, of_lanes) = counts
        if alone:
            found[phase.name] = Step(alone=alone + its_own, shared=shared, lane=of_lanes // LANES)
    return found


def main() -> None:
    print("| model | phase | alone | pack | and for each lane | gain in a pack of 4 | of 16 | of 64 |\n|---|---|---|---|---|---|---|---|")
    for name in model_names():
        model = load_model(name)
        for phase, step in steps(model, model.hyper({})).items():
            gains = " | ".join(f"{step.gain(width):.1f}" for width in (4, 16, 64))
            print(f"| `{name}` | {phase} | {step.alone} | {step.shared} | {step.lane} | {gains} |", flush=True)


if __name__ == "__main__":
    main()

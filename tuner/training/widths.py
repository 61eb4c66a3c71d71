"""How many trials to train as one: measured, because it depends on the machine, the networks and the batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from tuner.data.datasets import Data
from tuner.data.labels import labelled_of
from tuner.model import Model

from .batches import Around, run_batches
from .engine import Engine, Settings, build, state_of
from .pack import Pack
from .solo import Solo
from .trial import start_trial

GAIN = 1.05  # packs are taken where they are at least this much faster: a trial alone tells the sampler of its end sooner
ON_CPU = (8,)  # wider ones gained nothing on a CPU, whatever the networks
ON_GPU = (4, 8, 16, 32, 64)
STEPS, ROUNDS = 2, 7
SLOW_STEP_S = 0.1  # on a CPU, a step that takes this long is arithmetic, which packs do not save


def best_width(model: Model, h: Any, data: Data) -> int:
    """The number of trials with the least time for a step of each; 1 where packs do not pay.

    `data` lies on the device in question. Packs and a trial alone take turns, and the median of their ratios counts: whatever else the
    machine does meets both.
    """
    on_gpu = data.x_ND.is_cuda
    alone = stretches(model, h, data, 1)
    next(alone)  # warms up
    seconds = next(alone)
    if not seconds or (not on_gpu and seconds > SLOW_STEP_S):
        return 1
    best = (1 / GAIN, 1)
    for width in ON_GPU if on_gpu else ON_CPU:
        try:
            pack = stretches(model, h, data, width)
            next(pack)
            times = [(next(alone), next(pack)) for _ in range(ROUNDS - 1)]
        except (torch.OutOfMemoryError, MemoryError):
            break
        best = min(best, (statistics.median(packed / solo for solo, packed in times), width))
    return best[1]


def stretches(model: Model, h: Any, data: Data, width: int) -> Iterator[float]:
    """The seconds of a step of each of `width` trials, in the phase with the most updates; 0 for a model without any."""
    phase = max(model.phases(h), key=lambda phase: len(phase.updates))
    args = (model, h, data.spec, data.x_ND)
    engine: Engine = Solo(*args, seed=0) if width == 1 else Pack(*args, slots=width)
    trials = [start_trial(model, h, seed=lane) for lane in range(width)]
    for lane in range(width):
        engine.open(phase, lane)
        engine.load(lane, state_of(*build(*args, seed=lane)))
    settings = [Settings(model, h, trial.on, {}) for trial in trials]
    labelled = dict.fromkeys(range(width), labelled_of(data, h)) if model.labels == "partial" else {}
    hooks = Around(settings, {lane: s.values(data.x_ND) for lane, s in enumerate(settings)}, _nothing, labelled)
    while not phase.updates:
        yield 0.0
    few = Data(name=data.name, x_ND=data.batch(slice(0, STEPS * h.batch_size)), y_N=None, shape=data.shape)
    while True:
        began = time.perf_counter()
        engine.begin(settings)
        run_batches(engine, phase, trials, few, hooks)
        engine.measured()  # waits for the device
        yield (time.perf_counter() - began) / (len(few.x_ND) // int(h.batch_size)) / width


def _nothing(hook: object, slot: int, purpose: str) -> None:
    """In place of a phase's hooks, which take no part in a step."""

"""What pre-training came to, kept by content: the trials of a search, its nodes and later searches pay for it once."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType

import torch

from tuner import draws, losses, nn
from tuner.data.datasets import Data, digest
from tuner.errors import UserError
from tuner.model import Descend, Hyper, Model, Phase, function_of

from . import checkpoint, engine, loop, optimizers, solo
from .checkpoint import Snapshot
from .engine import State, build, state_of
from .loop import initial_seed, start_trial

logger = logging.getLogger(__name__)

_ENGINE = (draws, engine, loop, losses, nn, optimizers, solo)  # a change there may change the outcome


@dataclass(frozen=True, kw_only=True)
class PretrainingCache:
    """The outcomes of first phases that say what they depend on: one safetensors file each, in a folder that all nodes see.

    A file's name is a hash of all that decides its content: the initial networks, the values of what `Phase.depends` names, the
    samples, `pretrain_seed`, the code that trains, torch's version and the kind of device. Files are written whole or not at all;
    a damaged one counts as absent.
    """

    folder: Path
    precision: str = "fp32"

    def entry(self, model: Model, h: Hyper, data: Data, *, seed: int, pretrain_seed: int) -> Entry | None:
        """A trial's; None where its first phase is not shared."""
        phase = model.phases(h)[0]
        if not phase.depends or not getattr(h, phase.epochs):
            return None
        trial = start_trial(model, h, seed=seed, pretrain_seed=pretrain_seed)
        initial = state_of(*build(model, h, data.spec, data.x_ND, initial_seed(model, trial)))
        path = self.folder / f"{self._key(phase, h, data, (pretrain_seed, initial))}.safetensors"
        return Entry(path=path, model=model, h=h, seed=seed, phase=phase, initial=initial)

    def _key(self, phase: Phase, h: Hyper, data: Data, start: tuple[int, State]) -> str:
        (pretrain_seed, initial), values = start, h.flat()
        modules = {module for update in _updates(phase) for module in _with_siblings(sys.modules[function_of(update.losses).__module__])}
        content = {
            "phase": phase.name,
            "updates": [update.name for update in _updates(phase)],
            "depends": {name: values[name] for name in sorted(phase.depends)},
            "pretrain_seed": pretrain_seed,
            "initial": digest(_moved(phase, initial)),
            "data": data.fingerprint,
            "code": sorted(hashlib.sha256(inspect.getsource(module).encode()).hexdigest() for module in modules | set(_ENGINE)),
            "precision": self.precision,
            "torch": torch.__version__,
            "device": data.x_ND.device.type,
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one trial's first phase comes to, whether it is kept yet or not. `initial`: the state that the phase starts from."""

    path: Path
    model: Model
    h: Hyper
    seed: int
    phase: Phase
    initial: State

    def start(self) -> Snapshot | None:
        """The trial right behind its first phase, or None where nobody has kept that phase's outcome."""
        if not self.path.exists():
            return None
        try:
            kept = checkpoint.load(self.path)
        except UserError as error:
            logger.warning("%s Its pre-training is done anew.", error)
            return None
        tensors = self.initial | {name: t.to(self.initial[name]) for name, t in kept.tensors.items()}
        return replace(kept, model=self.model.name, config=self.h.flat(), seed=self.seed, phase=1, epoch=0, batches=0, tensors=tensors)

    @property
    def length(self) -> int:
        """Epochs; the last one's snapshot is what `keep` takes."""
        return int(getattr(self.h, self.phase.epochs))

    def keep(self, snapshot: Snapshot) -> None:
        """Takes in where the trial stands after the last epoch of its first phase."""
        if not self.path.exists():
            self.path.parent.mkdir(exist_ok=True)
            checkpoint.save(replace(snapshot, tensors=_moved(self.phase, snapshot.tensors)), self.path)


def _with_siblings(module: ModuleType) -> set[ModuleType]:
    """A model's module and the modules of its folder that it imports, directly or through each other."""
    found, new = set[ModuleType](), {module}
    while new:
        found |= new
        new = {sibling for one in new for sibling in _siblings(one)} - found
    return found


@cache  # every trial asks
def _siblings(module: ModuleType) -> frozenset[ModuleType]:
    """The modules of the same folder that a module imports, wherever in it and however it names them."""
    folder = f"{module.__package__}."
    names = {name.removeprefix(folder).partition(".")[0] for name in _imported(module) if name.startswith(folder)}
    return frozenset(importlib.import_module(folder + name) for name in names if find_spec(folder + name))


def _imported(module: ModuleType) -> Iterator[str]:
    """The full name of all that a module imports; `from a import b` gives `a.b`, which may be a module or stand in one."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            origin = resolve_name(origin, module.__package__) if node.level else origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _updates(phase: Phase) -> list[Descend]:
    return [update for update in phase.updates if isinstance(update, Descend)]


def _moved(phase: Phase, tensors: Mapping[str, torch.Tensor]) -> State:
    """What the phase's updates train, without the optimisers' moments."""
    names = {name for update in _updates(phase) for name in update.rates()}
    return {key: t for key, t in tensors.items() if key.partition(".")[0] in names}

"""What pre-training came to, kept by content: the trials of a search, its nodes and later searches pay for it once."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from importlib.util import find_spec, resolve_name
from itertools import takewhile
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import torch

from tuner import draws, losses, nn
from tuner.data.datasets import Data
from tuner.data.fingerprint import digest
from tuner.errors import UserError
from tuner.model import Descend, Hyper, Model, Phase, Replace, function_of
from tuner.own_import import source_of

from . import batches, checkpoint, engine, loop, optimizers, solo, trial
from .checkpoint import Snapshot
from .engine import State, build, state_of
from .loop import Epoch
from .trial import Trial, can_take, initial_seed, start_trial

logger = logging.getLogger(__name__)

_ENGINE = (batches, draws, engine, loop, losses, nn, optimizers, solo, trial)  # a change there may change the outcome


def shared_phases(model: Model, h: Hyper) -> tuple[Phase, ...]:
    """The phases that a trial may share with others: all from the first on that do not cluster and say what they depend on."""
    return tuple(takewhile(lambda phase: phase.depends and not phase.clusters, model.phases(h)))


def may_be_known(model: Model, h: Hyper, epochs: int) -> bool:
    """Whether a trial may begin behind this many epochs, because others have trained them."""
    shared = shared_phases(model, h)
    return any(can_take(epochs, shared[:n], h) for n in range(1, len(shared) + 1))


@dataclass(frozen=True, kw_only=True)
class PretrainingCache:
    """The outcomes of the phases that trials share: one safetensors file for each, in a folder that all nodes see.

    A file's name is a hash of all that decides its content: the initial networks, the values of what `Phase.depends` names, the
    samples, the labels where the model is given some, `pretrain_seed`, the code that trains, torch's version and the kind of device.
    Files are written whole or not at all; a damaged one counts as absent.
    """

    folder: Path
    precision: str = "fp32"

    def entry(self, model: Model, h: Hyper, data: Data, *, seed: int, pretrain_seed: int) -> Entry | None:
        """A trial's; None where it shares no phase."""
        phases = shared_phases(model, h)
        if not any(getattr(h, phase.epochs) for phase in phases):
            return None
        trial = start_trial(model, h, seed=seed, pretrain_seed=pretrain_seed)
        initial = state_of(*build(model, h, data.spec, data.x_ND, initial_seed(model, trial)))
        files = {
            phase.name: self.folder / f"{self._key(model, phases[:n], trial, data, initial)}.safetensors"
            for n, phase in enumerate(phases, 1)
        }
        return Entry(files=files, model=model, h=h, seed=seed, phases=phases, initial=initial)

    def _key(self, model: Model, phases: Sequence[Phase], trial: Trial, data: Data, initial: State) -> str:
        h, values = trial.h, trial.h.flat()
        functions = [f for phase in phases for f in _functions(phase)]
        modules = {module for f in functions for module in _with_siblings(sys.modules[function_of(f).__module__])}
        content = {
            "phases": [(getattr(h, phase.epochs), _about(phase)) for phase in phases],
            "depends": {name: values[name] for name in sorted({name for phase in phases for name in phase.depends})},
            "pretrain_seed": trial.pretrain_seed,
            "initial": digest(moved(phases, initial)),
            "data": data.fingerprint if model.labels == "none" else [data.fingerprint, data.identity.labels],
            "code": sorted(hashlib.sha256(source_of(module).encode()).hexdigest() for module in modules | set(_ENGINE)),
            "precision": self.precision,
            "torch": torch.__version__,
            "device": data.x_ND.device.type,
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one trial's shared phases come to, whether it is kept yet or not. `files`: by the name of the last phase in each.
    `initial`: the state that the first phase starts from."""

    files: Mapping[str, Path]
    model: Model
    h: Hyper
    seed: int
    phases: tuple[Phase, ...]
    initial: State

    def start(self) -> Snapshot | None:
        """The trial right behind the last shared phase whose outcome is kept, or None where none is."""
        for n, path in reversed(list(enumerate(self.files.values(), 1))):
            if path.exists():
                try:
                    kept = checkpoint.load(path)
                except UserError as error:
                    logger.warning("%s Its pre-training is done anew.", error)
                    continue
                tensors = self.initial | {name: t.to(self.initial[name]) for name, t in kept.tensors.items()}
                about: dict[str, Any] = {"model": self.model.name, "config": self.h.flat(), "seed": self.seed}
                return replace(kept, **about, phase=n, phase_epoch=0, phase_batches=0, tensors=tensors)
        return None

    def takes(self, epoch: Epoch) -> bool:
        """Whether an epoch of the trial is the last one of a shared phase, whose outcome `keep` takes."""
        return epoch.ends_phase and epoch.phase in self.files

    def keep(self, phase: str, snapshot: Snapshot) -> None:
        """Takes in where the trial stands behind a phase that it shares."""
        path = self.files[phase]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            phases = self.phases[: list(self.files).index(phase) + 1]
            checkpoint.save(replace(snapshot, tensors=moved(phases, snapshot.tensors)), path)


def _with_siblings(module: ModuleType) -> set[ModuleType]:
    """A model's module and the modules of its folder that it imports, directly or through each other."""
    found, new = set[ModuleType](), {module}
    while new:
        found |= new
        new = {sibling for one in new for sibling in _siblings(one)} - found
    return found


@cache  # every trial asks
def _siblings(module: ModuleType) -> frozenset[ModuleType]:
    """The modules of the same folder, and of tuner's models, that a module imports, wherever in it and however it names them."""
    folders, imported = {f"{module.__package__}.", "tuner.models."}, list(_imported(module))
    names = {f + name.removeprefix(f).partition(".")[0] for f in folders for name in imported if name.startswith(f)}
    return frozenset(importlib.import_module(name) for name in names if find_spec(name))


def _imported(module: ModuleType) -> Iterator[str]:
    """The full name of all that a module imports; `from a import b` gives `a.b`, which may be a module or stand in one."""
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            origin = resolve_name(origin, module.__package__) if node.level else origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _functions(phase: Phase) -> list[Callable[..., Any]]:
    """All functions of the model that run in a phase."""
    updates = [update.losses if isinstance(update, Descend) else update.values for update in phase.updates]
    rest = (phase.noise, phase.start, phase.before_epoch, phase.after_epoch, phase.until, phase.schedule)
    return updates + [f for f in rest if f is not None]


def _about(part: Phase | Descend | Replace) -> dict[str, object]:
    """Every field of a phase or an update, so that one that comes later counts, too; what the hyper-parameters that they name are worth
    stands in `depends`, and how many epochs a phase has, beside it."""
    return {field.name: _written(getattr(part, field.name)) for field in fields(part) if field.name not in ("epochs", "depends")}


def _written(value: object) -> object:
    """As JSON. Of a function, which one of its module it is: the module's source counts as a whole."""
    if isinstance(value, Phase | Descend | Replace):
        return _about(value)
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _written(one) for key, one in value.items()}
    if isinstance(value, partial):
        return [_written(value.func), _written(value.args), _written(value.keywords)]
    if code := getattr(value, "__code__", None):
        constants = [repr(one) for one in code.co_consts if not isinstance(one, CodeType)]  # whose repr has an address
        return [value.__qualname__, code.co_firstlineno, code.co_code.hex(), constants]  # type: ignore[attr-defined]  # a function has it
    return repr(value)


def moved(phases: Sequence[Phase], tensors: Mapping[str, torch.Tensor]) -> State:
    """What the phases move, without the optimisers' moments: all, where one of them has a step that may overwrite anything."""
    updates = [update for phase in phases for update in phase.updates]
    hooks = any(phase.start or phase.before_epoch or phase.after_epoch for phase in phases)
    everything = hooks or any(isinstance(update, Replace) for update in updates)
    names = {name for update in updates if isinstance(update, Descend) for name in update.rates()}
    return {key: t for key, t in tensors.items() if not key.startswith("optimizer/") and (everything or key.partition(".")[0] in names)}

"""A trial's state on disk: one safetensors file, with the rest as JSON in its header. Reading one runs no code."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tuner.atomic import whole
from tuner.data.scaling import Intake
from tuner.errors import UserError
from tuner.plain_json import is_number, is_whole, load_json

_HEADER = "tuner"
_INTAKE = "intake"  # a header of its own, which versions before it pass over
_WARM = "warm"  # counts only until the first epoch is over
_COUNTS = ("seed", "pretrain_seed", "phase", "phase_epoch", "phase_batches", "epoch", "cluster_epoch", "one_cluster_epochs")
# What the files of runs from before 2026-11-29 call these: there, `epoch` was the phase's.
_SINCE_RENAMED = {"epoch": "phase_epoch", "batches": "phase_batches", "index": "epoch", "lonely": "one_cluster_epochs"}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where a trial stands after an epoch: enough to go on as if it had never stopped, in a pack or alone."""

    model: str
    config: dict[str, Any]  # every hyper-parameter and weight, by dotted name
    seed: int
    pretrain_seed: int
    phase: int  # which of the model's phases
    phase_epoch: int  # finished epochs of that phase
    phase_batches: int  # finished batches of that phase
    epoch: int  # finished epochs of all phases
    cluster_epoch: int  # finished clustering epochs
    one_cluster_epochs: int  # how many of the last clustering epochs used one cluster only
    tensors: dict[str, Tensor]
    values: list[float] = field(default_factory=list)  # in a search: its metric at all clustering epochs so far
    intake: Intake | None = None  # of the data it was trained on; None in a file of a version that did not note it
    warm: frozenset[str] = frozenset()  # of a trial that has not begun: the tensors that are another trial's

    @property
    def size(self) -> int:
        """In bytes, on disk."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def weights(self) -> dict[str, Tensor]:
        """Without the optimisers' moments: all that using the model needs."""
        return {name: t for name, t in self.tensors.items() if not name.startswith("optimizer/")}


def save(snapshot: Snapshot, path: Path) -> None:
    """Writes the file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    plain = {f.name: getattr(snapshot, f.name) for f in fields(snapshot) if f.name not in ("tensors", _INTAKE, _WARM)}
    header = {_HEADER: json.dumps(plain)}
    if snapshot.intake is not None:
        header[_INTAKE] = json.dumps(snapshot.intake.written())
    tensors = {k: t.detach().cpu().contiguous() for k, t in snapshot.tensors.items()}
    with whole(path) as part:
        try:
            save_file(tensors, part, metadata=header)
        except SafetensorError as error:  # it has the system's words, but not its number
            raise OSError(re.sub(r".*I/O error: | \(os error .*", "", str(error))) from error


def load(path: Path) -> Snapshot:
    """Reads what `save` wrote.

    Raises:
        UserError: the file is missing, damaged, or no snapshot of this program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            plain = load_json(header[_HEADER])
            if "index" in plain:
                plain = {_SINCE_RENAMED.get(name, name): value for name, value in plain.items()}
            if wrong := _wrong(plain):
                raise ValueError(wrong)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return Snapshot(**plain, tensors=tensors, intake=Intake.read(load_json(header[_INTAKE])) if _INTAKE in header else None)
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint {path}.") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as e:
        raise UserError(f"{path} is not a checkpoint of tuner, or it is damaged: {e}.") from None


def _wrong(plain: dict[str, Any]) -> str | None:
    """What no snapshot can say of itself."""
    odd = [name for name in _COUNTS if name in plain and not is_whole(plain[name])]
    if odd:
        return f"'{odd[0]}' must be a whole number from 0 on, but is {plain[odd[0]]!r}"
    values = plain.get("values", [])
    return None if isinstance(values, list) and all(map(is_number, values)) else "'values' must be a list of numbers"

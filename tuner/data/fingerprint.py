"""What tells one data set from another: its size, its values and its labels, whatever file they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Of a data set as it is trained on: after `limit` and `scale`, in float32.

    The same values from an npz, a csv or another place have the same fingerprint; in another order of rows they have not.
    """

    rows: int
    columns: int
    values: str  # a hash; the split into training and test rows is part of it
    labels: str | None  # a hash of the class of each row; None without labels

    @staticmethod
    def read(content: object) -> Fingerprint | None:
        """As `written` gave it; None where a run, or a configuration, of an older version has none."""
        if not isinstance(content, Mapping):
            return None
        return Fingerprint(**{name: content.get(name) for name in ("rows", "columns", "values", "labels")})  # type: ignore[arg-type]

    def written(self) -> dict[str, Any]:
        """As JSON and YAML hold it."""
        return asdict(self)

    def differences(self, other: Fingerprint) -> list[str]:
        """What is not the same here and there, in words; empty where nothing is."""
        found = [
            f"{theirs:,} {what} instead of {ours:,}"
            for what, ours, theirs in (("rows", self.rows, other.rows), ("columns", self.columns, other.columns))
            if ours != theirs
        ]
        if not found and self.values != other.values:
            found.append("other values, or the same in another order")
        if (self.labels is None) != (other.labels is None):
            found.append("no labels where there were some" if other.labels is None else "labels where there were none")
        elif not found and self.labels != other.labels:
            found.append("other labels")
        return found


def digest(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and values."""
    found = hashlib.sha256()
    for name, t in sorted(tensors.items()):
        found.update(f"{name} {t.dtype} {tuple(t.shape)} ".encode())
        array = np.ascontiguousarray(t.detach().cpu().numpy())
        found.update(array.data if array.ndim else array.tobytes())  # no copy: it may be most of the memory
    return found.hexdigest()

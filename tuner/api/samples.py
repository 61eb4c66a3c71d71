"""The samples that a caller has in memory, or names: as a file they can be read by trials, which are other processes.

Shapes: N samples, D features.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.atomic import whole
from tuner.data.classes import from_array
from tuner.data.dense import dense
from tuner.data.files import full_name
from tuner.errors import UserError, did_you_mean

FOLDER = ".data"  # beside the runs' folders: what searches were given in memory, by content


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """`x_N`: (N, D) or (N, *shape), numbers; `y_N`: (N,) whole numbers or words, or (N, C) one-hot; -1, NaN and empty words are not
    known. None without labels."""

    x_N: NDArray[Any]
    y_N: NDArray[Any] | None

    def written(self, folder: Path) -> str:
        """The name of a data set with this content, in a file of `folder` that is written once. Raises UserError where it cannot be."""
        path = folder.expanduser().absolute() / FOLDER / f"{self._digest()[:16]}.npz"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole(path) as part, part.open("wb") as file:
                    arrays: dict[str, Any] = {"x": self.x_N} if self.y_N is None else {"x": self.x_N, "y": self.y_N}
                    np.savez(file, **arrays)
        except OSError as error:
            raise UserError(f"The data cannot be written to {path}, where trials read them: {error.strerror or error}.") from error
        return f"npz:{path}"

    def _digest(self) -> str:
        """Of what a training sees of them, whichever type they came in."""
        words = "" if self.y_N is None else "\n".join(map(str, self.y_N))
        found = hashlib.sha256(f"{self.x_N.shape} {words}".encode())
        for i in range(0, len(self.x_N), 65536):  # a piece at a time: a copy of all of them may not fit
            found.update(self.x_N[i : i + 65536].astype("<f8").tobytes())
        return found.hexdigest()


def named(data: Any) -> str | None:
    """The data set's name where `data` is one, or a path; None where it is the data themselves."""
    if not isinstance(data, str | os.PathLike):
        return None
    return full_name(os.fspath(data))


def samples(data: Any, labels: Any) -> Samples:
    """`data`: whatever `dense` takes. `labels`: one for each sample, or the name of the column of `data` that holds them.

    Raises:
        UserError: no numbers, not finite, or labels that do not go with them.
    """
    x = dense(data)
    if isinstance(labels, str):
        columns = list(getattr(x, "columns", ()))
        if labels not in columns:
            raise UserError(f"'labels' is '{labels}', but data has no column of that name.{did_you_mean(labels, map(str, columns))}")
        x, labels = x.drop(columns=labels), x[labels]
    for column, kind in getattr(x, "dtypes", {}).items() if hasattr(x, "columns") else ():
        if kind.kind not in "fiub":
            raise UserError(f"data: column '{column}' must hold numbers, but its type is {kind}. Leave it out, or say labels='{column}'.")
        if not isinstance(kind, np.dtype):  # pandas' own numbers, which may be absent
            x = x.astype({column: np.float64})
    x_N = np.ascontiguousarray(x)
    if x_N.dtype.kind not in "fiub":
        raise UserError(f"data must hold numbers, but their type is {x_N.dtype}.")
    if x_N.ndim < 2 or 0 in x_N.shape[1:] or len(x_N) < 2:
        raise UserError(f"data must have the shape (N, D) or (N, h, w) with at least 2 samples, but has {x_N.shape}.")
    with np.errstate(over="ignore"):  # beyond float32's range is infinite, and said here
        wrong = np.argwhere(~np.isfinite(x_N.astype(np.float32)))
    if len(wrong):
        at = ", ".join(str(i) for i in wrong[0])
        raise UserError(f"data must be finite in float32, but {len(wrong)} of its values are not, the first data[{at}].")
    return Samples(x_N=x_N, y_N=None if labels is None else _labels(labels, len(x_N)))


def _labels(labels: Any, n_samples: int) -> NDArray[Any]:
    y_N = np.asarray(dense(labels))
    if y_N.dtype.kind == "O":
        y_N = y_N.astype(str)
    if y_N.ndim == 0 or len(y_N) != n_samples:
        raise UserError(f"labels must hold one label for each of the {n_samples} samples, but has the shape {y_N.shape}.")
    from_array("labels", y_N, n_samples)  # says what is wrong; a file is read so later
    return y_N


def dataset_name(data: Any, labels: Any, dataset: str | None, folder: Path) -> str | None:
    """The data set that `data`, `labels` and `dataset` mean; None where nothing was said. Data in memory are written below `folder`.

    Raises:
        UserError: they contradict each other, or cannot be used.
    """
    if data is not None and dataset is not None:
        raise UserError("'data' and 'dataset' both say which data: leave one out.")
    if data is None or (name := named(data)) is not None:
        if labels is not None:
            raise UserError("'labels' go with data in memory: a file or a data set holds its own.")
        return dataset if data is None else name
    return samples(data, labels).written(folder)


def column_names(data: Any, labels: Any) -> tuple[str, ...]:
    """Of a table in memory, without the column of the labels; empty of other data."""
    names: Iterable[object] = getattr(data, "column_names", getattr(data, "columns", ()))  # of pyarrow, of pandas
    return tuple(str(name) for name in names if not (isinstance(labels, str) and name == labels))

"""What every reader of data hands over, which columns it is asked for, and where data files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner import layout
from tuner.errors import UserError

NO_LABELS = "none"  # `label: none`: every column is a feature
COUNTS = "counts"
COLOURS = ("grey", "rgb")
WIDE = ("f8", "i4", "u4", "i8", "u8")  # types of which float32 does not hold every value


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a file holds, as far as somebody said so. A column is named as in the header or, where there is none, by its
    number from 1 on; `label` may name an array of an npz, too.

    `label`: holds the labels; `none`: there are none. `drop`: are left out. `id`: names the rows, and is left out.
    `header`: whether the first row is one; None: it is found out. `samples`: the array that holds the samples, where there are several.
    `size`: of images, (height, width) or both at once, to which they are brought. `colours`: `grey` or `rgb`.
    """

    label: str | None = None
    drop: tuple[str, ...] = ()
    id: str | None = None
    header: bool | None = None
    samples: str | None = None
    size: int | tuple[int, int] | None = None
    colours: str | None = None

    @staticmethod
    def of(said: Mapping[str, Any]) -> Columns:
        """Of what JSON, YAML or a command line holds; `size` may be one number in a list.

        Raises:
            UserError: there are no such colours.
        """
        found: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        if isinstance(found.get("size"), tuple) and len(found["size"]) == 1:
            found["size"] = found["size"][0]
        if found.get("colours") not in (None, *COLOURS):
            raise UserError(f"'colours' must be {' or '.join(COLOURS)}, but is '{found['colours']}'.")
        return Columns(**found)

    def written(self) -> dict[str, Any]:
        """Only what somebody said."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items() if value not in (None, ())}


WHATEVER = Columns()  # nobody said anything


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """`y_N`: labels of the rows that have one; where `unknown_N` is True, its entry means nothing. `names_D`: of the columns.
    `notes`: what was found out about the file. `doubts`: what may be meant otherwise, with the key that settles it."""

    x_N: NDArray[Any]  # (N, *shape)
    y_N: NDArray[Any] | None
    n_train: int | None = None  # rows before the published test split
    peak: float = 1.0  # the value that becomes 1
    unknown_N: NDArray[np.bool_] | None = None
    names_D: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    kind: str = ""  # `COUNTS`, where values may be counts of a cell's genes

    def values(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """(B, D): the samples at these rows, flat, before they are scaled. float64 where float32 could not hold them."""
        x_B = self.x_N[rows]
        x_BD = x_B.reshape(len(x_B), -1)
        if self.peak == 1.0 and x_BD.dtype.str[1:] in WIDE:
            return x_BD.astype(np.float64, copy=False)
        x_BD = x_BD.astype(np.float32)
        if self.peak != 1.0:
            x_BD /= np.float32(self.peak)
        return x_BD

    def classes(self) -> tuple[NDArray[np.int64], int]:
        """(N,) classes from 0 on, in the order of their labels, -1 where a label is not known; and how many classes there are."""
        assert self.y_N is not None
        if self.unknown_N is None:
            names_C, y_N = np.unique(self.y_N, return_inverse=True)
            return y_N.astype(np.int64), len(names_C)
        found_N = np.full(len(self.y_N), -1, dtype=np.int64)
        names_C, y_M = np.unique(self.y_N[~self.unknown_N], return_inverse=True)
        found_N[~self.unknown_N] = y_M
        return found_N, len(names_C)

    def class_names(self) -> tuple[str, ...]:
        """The labels, in the order of the classes that `classes` numbers; empty where there are none."""
        if self.y_N is None:
            return ()
        return tuple(str(name) for name in np.unique(self.y_N if self.unknown_N is None else self.y_N[~self.unknown_N]))


def data_root(root: Path | None = None) -> Path:
    """The folder where data files live, absolute: `root`, or TUNER_DATA, or ~/.cache/tuner."""
    return Path(root or os.environ.get("TUNER_DATA") or layout.cache()).expanduser().absolute()

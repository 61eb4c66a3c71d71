"""A csv file's samples, one after another: read as training reads them (tuner/data/files.py), but never the whole file at once."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, did_you_mean

LABELS = ("label", "y")  # the column that is passed over; the first of them, where both are there
_LISTED = 10  # columns that a message names at most


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class CsvSample:
    """`values_D`: float64. `name`: the cell of the column of names; empty without one."""

    values_D: NDArray[np.float64]
    name: str


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """`header`: empty where the first row is numbers. `features`: the columns that are one. `names_at`: that of the names."""

    width: int
    header: list[str]
    features: list[int]
    names_at: int | None

    def column(self, at: int) -> str:
        return f"column '{self.header[at]}'" if self.header else f"column {at + 1}"


def csv_samples(path: Path, names: str | None = None) -> Iterator[CsvSample]:
    """`names`: the column that holds no feature but a name for every sample.

    Raises:
        UserError: a row that cannot be used, or no such column.
    """
    layout: _Layout | None = None
    with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
        reader = csv.reader(file)
        for cells in reader:
            if not cells:
                continue  # a blank line
            place = f"{path}:{reader.line_num}"
            if layout is None:
                layout = _layout(place, cells, names)
                if layout.header:
                    continue
            if len(cells) != layout.width:
                raise UserError(f"{place}: every row must have as many values as the first, {layout.width}, but this one has {len(cells)}.")
            name = "" if layout.names_at is None else cells[layout.names_at].strip()
            yield CsvSample(values_D=_values(place, cells, layout), name=name)


def label_column(header: list[str]) -> int | None:
    """Where the labels stand."""
    lower = [title.lower() for title in header]
    return next((lower.index(label) for label in LABELS if label in lower), None)


def listed(columns: list[str]) -> str:
    """Their names, the first of them where there are many."""
    more = f" and {len(columns) - _LISTED:,} more" if len(columns) > _LISTED else ""
    return ", ".join(columns[:_LISTED]) + more


def _layout(place: str, cells: list[str], names: str | None) -> _Layout:
    """What the first row says."""
    header = [] if all(_is_number(cell) for cell in cells) else [cell.strip() for cell in cells]
    if "" in header:
        at = header.index("") + 1
        raise UserError(f"{place}: a header must name every column, but column {at} has no name. (pandas: to_csv(path, index=False).)")
    if names is not None and names not in header:
        found = f"Its columns are {listed(header)}." if header else "Its first row is numbers, so its columns have no names."
        raise UserError(f"{place}: there is no column '{names}'.{did_you_mean(names, header)} {found}")
    names_at = None if names is None else header.index(names)
    beside = {names_at, label_column(header)}
    features = [at for at in range(len(cells)) if at not in beside]
    if not features:
        raise UserError(f"{place}: at least one column must be a feature, but there is only {listed(header)}.")
    return _Layout(width=len(cells), header=header, features=features, names_at=names_at)


def _values(place: str, cells: list[str], layout: _Layout) -> NDArray[np.float64]:
    try:
        return np.array([float(cells[at]) for at in layout.features])
    except ValueError:
        at = next(at for at in layout.features if not _is_number(cells[at]))
        way_out = f" A column of names needs --id {layout.header[at]}." if layout.header else ""
        raise UserError(f"{place}: {layout.column(at)} must hold numbers, but holds '{cells[at].strip()}'.{way_out}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

"""A text file's samples, one after another: laid out as training finds out (tuner/data/csv_layout.py), but never the whole file at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.data.classes import is_number
from tuner.data.columns import LABELS
from tuner.data.csv_layout import Layout, layout_of
from tuner.data.raw import NO_LABELS, Columns
from tuner.data.text_files import opened
from tuner.errors import UserError, did_you_mean

_LISTED = 10  # columns that a message names at most


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class CsvSample:
    """`values_D`: float64. `name`: the cell of the column of names; empty without one."""

    values_D: NDArray[np.float64]
    name: str


@dataclass(frozen=True, kw_only=True)
class _Places:
    """`features`: the columns that are one. `names_at`: that of the names."""

    layout: Layout
    features: list[int]
    names_at: int | None

    def column(self, at: int) -> str:
        return f"column '{self.layout.names[at]}'" if self.layout.names else f"column {at + 1}"


def csv_samples(path: Path, names: str | None, columns: Columns, preferred: str) -> Iterator[CsvSample]:
    """`names`: the column that holds no feature but a name for every sample. `columns`: what training was told of its columns.
    `preferred`: the separator where several would do.

    Raises:
        UserError: a row that cannot be used, or no such column.
    """
    layout = layout_of(path, columns.header, preferred)
    if not layout.width:
        return
    places = _places(f"{path}:{layout.line}", layout, names, columns)
    with opened(path) as text:
        for line, cells in layout.rows(text):
            if line <= layout.skip:
                continue
            if len(cells) != layout.width:
                rule = f"every row must have as many values as the first, {layout.width}, but this one has {len(cells)}."
                raise UserError(f"{path}:{line}: {rule}")
            name = "" if places.names_at is None else cells[places.names_at].strip()
            yield CsvSample(values_D=_values(f"{path}:{line}", cells, places), name=name)


def label_column(header: list[str]) -> int | None:
    """Where the labels stand."""
    lower = [title.lower() for title in header]
    return next((lower.index(label) for label in LABELS if label in lower), None)


def left_out(names: list[str], columns: Columns) -> set[int]:
    """The columns that are no features: those that training left out, where they are here, too, and the labels."""
    said = {*columns.drop, columns.id, columns.label} - {None, NO_LABELS}
    out = {at for at, name in enumerate(names) if name in said}
    labels = label_column(names) if columns.label is None else None
    return out if labels is None else out | {labels}


def listed(columns: list[str]) -> str:
    """Their names, the first of them where there are many."""
    more = f" and {len(columns) - _LISTED:,} more" if len(columns) > _LISTED else ""
    return ", ".join(columns[:_LISTED]) + more


def _places(place: str, layout: Layout, names: str | None, columns: Columns) -> _Places:
    header = list(layout.names)
    if "" in header:
        at = header.index("") + 1
        raise UserError(f"{place}: a header must name every column, but column {at} has no name. (pandas: to_csv(path, index=False).)")
    if names is not None and names not in header:
        found = f"Its columns are {listed(header)}." if header else "Its first row is a sample, so its columns have no names."
        raise UserError(f"{place}: there is no column '{names}'.{did_you_mean(names, header)} {found}")
    names_at = None if names is None else header.index(names)
    known = header or [str(i) for i in range(1, layout.width + 1)]
    beside = left_out(known, columns)
    words = [at for at in layout.words if at not in beside]
    if columns.label is None and len(words) == 1:  # as training does: a single column of words in a file without a header holds the labels
        beside |= set(words)
    features = [at for at in range(layout.width) if at not in beside and at != names_at]
    if not features:
        raise UserError(f"{place}: at least one column must be a feature, but there is only {listed(known)}.")
    return _Places(layout=layout, features=features, names_at=names_at)


def _values(place: str, cells: list[str], places: _Places) -> NDArray[np.float64]:
    picked = [cells[at] for at in places.features]
    if places.layout.decimal == ",":
        picked = [places.layout.number(cell) for cell in picked]
    try:
        if "_" not in "".join(picked):  # Python takes 1_0 for a number
            return np.array(list(map(float, picked)))
    except ValueError:
        pass
    at = next(at for at, cell in zip(places.features, picked, strict=True) if not is_number(cell))
    way_out = f" A column of names needs --id {places.layout.names[at]}." if places.layout.names else ""
    raise UserError(f"{place}: {places.column(at)} must hold numbers, but holds '{cells[at].strip()}'.{way_out}")

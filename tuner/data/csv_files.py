"""Text files of numbers, `csv:PATH` and `tsv:PATH`: pyarrow reads them, and where it cannot, each row is looked at by itself.

What is found out about a file is in tuner/data/csv_layout.py.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, first_line

from .classes import UNKNOWN, Labels, from_words, is_number
from .columns import Roles, doubts_of_values, roles
from .csv_layout import BLANKS, Layout, find_out, read_bytes
from .raw import Columns, Raw

_BLOCK = 4096  # rows whose columns are put side by side at a time: they stay in the processor's cache
_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """(N, D) features in float64, and the labels as they are written; None where no column holds them."""

    x_ND: NDArray[np.float64]
    words: list[str] | None


def read_csv(path: Path, wanted: Columns, preferred: str = ",") -> Raw:
    """`preferred`: the separator where several would do.

    Raises:
        UserError: the file holds what cannot be used, with its line and column.
        OSError: it cannot be read.
    """
    content, undone = read_bytes(path)
    try:
        layout = find_out(path, content, wanted.header, preferred)
    except csv.Error as error:
        raise _no_table(path, error) from error
    if not layout.width:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds 0.")
    place = f"{path}:{layout.line}"
    if "" in layout.names:
        at = layout.names.index("") + 1
        raise UserError(f"{place}: a header must name every column, but column {at} has no name. (pandas: to_csv(path, index=False).)")
    names = layout.names or tuple(str(i) for i in range(1, layout.width + 1))
    found = roles(place, names, wanted, layout.words)
    table = _by_arrow(content, layout, found)
    if table is None:
        table = _row_by_row(path, content, layout, found)
    labels = Labels(y_N=None) if table.words is None else from_words(f"{path}: y", table.words)
    if len(table.x_ND) < 2:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds {len(table.x_ND)}.")
    doubts = doubts_of_values(table.x_ND, found.feature_names, wanted, labelled=found.label is not None)
    return Raw(
        x_N=table.x_ND,
        y_N=labels.y_N,
        unknown_N=labels.unknown_N,
        names_D=found.feature_names,
        notes=(*undone, *layout.notes, *found.notes, *labels.notes),
        doubts=(*layout.doubts, *found.doubts, *doubts),
    )


read_tsv: Callable[[Path, Columns], Raw] = partial(read_csv, preferred="\t")


def _by_arrow(content: bytes, layout: Layout, found: Roles) -> Table | None:
    """None where pyarrow does not take the file for such a table, or a value is not finite: then the reason is looked for."""
    import pyarrow
    from pyarrow import csv as arrow

    if layout.separator == BLANKS:
        return None
    body = memoryview(content)[_line_start(content, layout.skip) :]
    if layout.comment:
        sign = re.escape(layout.comment.encode())
        body = memoryview(re.sub(rb"(?m)^[ \t]*" + sign + rb"[^\n]*\n?", b"", body))
    if not len(body):
        return None
    columns = [str(i) for i in range(len(found.names))]
    used = [columns[i] for i in found.features]
    types: dict[str, Any] = dict.fromkeys(used, pyarrow.float64())
    if found.label is not None:
        types[columns[found.label]] = pyarrow.string()
    try:
        table = arrow.read_csv(
            pyarrow.BufferReader(pyarrow.py_buffer(body)),
            read_options=arrow.ReadOptions(column_names=columns, block_size=1 << 24),
            parse_options=arrow.ParseOptions(delimiter=layout.separator, newlines_in_values=b'"' in content[: 1 << 18]),
            convert_options=arrow.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[], strings_can_be_null=False, decimal_point=layout.decimal
            ),
        )
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError):
        return None
    x_ND = side_by_side([table.column(name).to_numpy() for name in used])
    if not all(np.abs(x_ND[i : i + _BLOCK]).max() <= _FLOAT32 for i in range(0, len(x_ND), _BLOCK)):  # NaN is not, either
        return None
    return Table(x_ND=x_ND, words=None if found.label is None else table.column(columns[found.label]).to_pylist())


def side_by_side(columns: list[NDArray[Any]]) -> NDArray[np.float64]:
    """(N, D) of D columns."""
    x_ND = np.empty((len(columns[0]), len(columns)))
    for i in range(0, len(x_ND), _BLOCK):
        np.stack([column[i : i + _BLOCK] for column in columns], axis=1, out=x_ND[i : i + _BLOCK], casting="unsafe")
    return x_ND


def _line_start(content: bytes, skipped: int) -> int:
    """Where the line behind so many lines begins."""
    at = 0
    for _ in range(skipped):
        found = content.find(b"\n", at)
        if found < 0:
            return len(content)
        at = found + 1
    return at


def _row_by_row(path: Path, content: bytes, layout: Layout, found: Roles) -> Table:
    """What pyarrow gives, slowly; or the first place that is wrong."""
    rows: list[NDArray[np.float64]] = []
    words: list[str] = []
    names = tuple(f"column '{name}'" for name in layout.names) or tuple(f"column {i}" for i in range(1, layout.width + 1))
    for line, cells in _rows(path, content, layout):
        if line <= layout.skip:
            continue
        place = f"{path}:{line}"
        if len(cells) != layout.width:
            raise UserError(f"{place}: every row must have as many values as the first, {layout.width}, but this one has {len(cells)}.")
        if found.label is not None:
            words.append(cells[found.label])
        rows.append(_row(place, [layout.number(cells[i]) for i in found.features], [names[i] for i in found.features]))
    x_ND = np.stack(rows) if rows else np.empty((0, max(1, len(found.features))))
    return Table(x_ND=x_ND, words=words if found.label is not None else None)


def _rows(path: Path, content: bytes, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from layout.rows(content.decode())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {first_line(error)}.") from error
    except csv.Error as error:
        raise _no_table(path, error) from error


def _no_table(path: Path, error: csv.Error) -> UserError:
    return UserError(f"{path} cannot be read as comma-separated values: {first_line(error)}.")


def _row(place: str, cells: list[str], names: list[str]) -> NDArray[np.float64]:
    row_D = np.array([float(cell) if is_number(cell) else math.nan for cell in cells])
    fits_D = np.abs(row_D) <= _FLOAT32
    if fits_D.all():
        return row_D
    at = int(np.argmin(fits_D))
    name = names[at].removeprefix("column ").strip("'")
    if cells[at].strip() in UNKNOWN[:-2]:
        raise UserError(
            f"{place}: {names[at]} must hold finite numbers, but holds '{cells[at].strip()}', a missing value. Fill missing values in, or "
            f"leave such rows out, before; drop: [{name}] leaves the column out."
        )
    raise UserError(
        f"{place}: {names[at]} must hold finite numbers, but holds '{cells[at].strip()}'. Labels belong in a column named 'label' or 'y', "
        f"or say label: {name}; drop: [{name}] leaves the column out."
    )

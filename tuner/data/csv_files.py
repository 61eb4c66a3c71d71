"""Text files of numbers, `csv:PATH` and `tsv:PATH`: pyarrow reads them, and where it cannot, each row is looked at by itself.

What is found out about a file is in tuner/data/csv_layout.py.
"""

from __future__ import annotations

import codecs
import csv
import io
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

from .classes import UNKNOWN, Labels, from_codes, from_words, is_number
from .columns import Roles, doubts_of_values, roles
from .csv_layout import BLANKS, Layout, find_out
from .raw import Columns, Raw
from .text_files import plain_start, read_bytes, start_of

_BLOCK = 1 << 22  # bytes of text at a time: what comes of them is put side by side while it is in the processor's cache
_ROWS = 4096  # likewise of columns that are there already
_FLOAT32 = float(np.finfo(np.float32).max)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([., '\u2019\u00a0\u202f]\d{3})+([.,]\d+)?")


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """(N, D) features in float64, and the labels as they are written: row i has `words[codes_N[i]]`. None where no column holds them."""

    x_ND: NDArray[np.float64]
    words: list[str] | None
    codes_N: NDArray[np.int64] | None = None

    def labels(self, where: str) -> Labels:
        """Raises UserError where they are no classes."""
        if self.words is None:
            return Labels(y_N=None)
        return from_words(where, self.words) if self.codes_N is None else from_codes(where, self.words, self.codes_N)


def read_csv(path: Path, wanted: Columns, preferred: str = ",") -> Raw:
    """`preferred`: the separator where several would do.

    Raises:
        UserError: the file holds what cannot be used, with its line and column.
        OSError: it cannot be read.
    """
    start, content, undone = plain_start(path), b"", list[str]()
    as_it_lies = start is not None
    if start is None:
        content, undone = read_bytes(path)
        start = start_of(io.BytesIO(content), b"\n")
    layout = _layout(path, start, wanted.header, preferred)
    if not layout.width:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds 0.")
    found = _roles(f"{path}:{layout.line}", layout, wanted)
    table = _by_arrow(path, start, layout, found) if as_it_lies and not layout.comment else None
    if table is None and as_it_lies:
        content, undone = read_bytes(path)
    if table is None and (undone or layout.comment or not as_it_lies):
        table = _by_arrow(content, start, layout, found)
    if table is None:
        table = _row_by_row(path, content, layout, found)
    if len(table.x_ND) < 2:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds {len(table.x_ND)}.")
    labels = table.labels(f"{path}: y")
    doubts = doubts_of_values(table.x_ND, found.feature_names, wanted, labelled=found.label is not None)
    return Raw(
        x_N=table.x_ND,
        y_N=labels.y_N,
        unknown_N=labels.unknown_N,
        names_D=found.feature_names,
        notes=(*undone, *layout.notes, *found.notes, *labels.notes),
        doubts=(*layout.doubts, *found.doubts, *doubts, *labels.doubts),
    )


read_tsv: Callable[[Path, Columns], Raw] = partial(read_csv, preferred="\t")


def _layout(path: Path, start: bytes, header: bool | None, preferred: str) -> Layout:
    try:
        return find_out(start.decode("utf-8-sig"), header, preferred)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {first_line(error)}.") from error
    except csv.Error as error:
        raise _no_table(path, error) from error


def _roles(place: str, layout: Layout, wanted: Columns) -> Roles:
    if "" in layout.names:
        at = layout.names.index("") + 1
        way = "Does every line end in a separator?" if 1 < at == layout.width else "(pandas: to_csv(path, index=False).)"
        raise UserError(f"{place}: a header must name every column, but column {at} has no name. {way}")
    names = layout.names or tuple(str(i) for i in range(1, layout.width + 1))
    return roles(place, names, wanted, layout.words)


def _by_arrow(source: Path | bytes, start: bytes, layout: Layout, found: Roles) -> Table | None:
    """None where pyarrow does not take the file for such a table, or a value is not finite: then the reason is looked for. `source`: a
    file, or what was made of it; `start`: its first lines."""
    import pyarrow
    from pyarrow import csv as arrow

    if layout.separator == BLANKS:
        return None
    columns = [str(i) for i in range(len(found.names))]
    used = [columns[i] for i in found.features]
    types: dict[str, Any] = dict.fromkeys(used, pyarrow.float64())
    if found.label is not None:  # as codes: a million words as Python has them take longer than all numbers
        types[columns[found.label]] = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    try:
        with _stream(source, start, layout) as stream:
            table = arrow.read_csv(
                stream,
                read_options=arrow.ReadOptions(column_names=columns, block_size=max(_BLOCK, len(start))),
                parse_options=arrow.ParseOptions(delimiter=layout.separator, newlines_in_values=b'"' in start),
                convert_options=arrow.ConvertOptions(
                    column_types=types, include_columns=list(types), null_values=[], strings_can_be_null=False, decimal_point=layout.decimal
                ),
            )
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError):
        return None
    x_ND = _finite(table.select(used))
    if x_ND is None or found.label is None:
        return None if x_ND is None else Table(x_ND=x_ND, words=None)
    labels = table.column(columns[found.label]).combine_chunks()
    return Table(x_ND=x_ND, words=labels.dictionary.to_pylist(), codes_N=labels.indices.to_numpy())


def _stream(source: Path | bytes, start: bytes, layout: Layout) -> Any:
    """What pyarrow reads: the rows behind the header, without comments."""
    import pyarrow

    skipped = max(_line_start(start, layout.skip), len(codecs.BOM_UTF8) * start.startswith(codecs.BOM_UTF8))
    if isinstance(source, Path):
        stream = pyarrow.OSFile(str(source))
        stream.seek(skipped)
        return stream
    body = memoryview(source)[skipped:]
    if layout.comment:
        sign = re.escape(layout.comment.encode())
        body = memoryview(re.sub(rb"(?m)^[ \t]*" + sign + rb"[^\n]*\n?", b"", body))
    return pyarrow.BufferReader(pyarrow.py_buffer(body))


def _finite(table: Any) -> NDArray[np.float64] | None:
    """(N, D) of a table of float64; None where a value is not one of float32."""
    x_ND, at = np.empty((table.num_rows, table.num_columns)), 0
    for batch in table.to_batches():
        x_BD = x_ND[at : at + batch.num_rows]
        at += batch.num_rows
        for i, column in enumerate(batch.columns):
            x_BD[:, i] = column.to_numpy()
        if len(x_BD) and not (x_BD.max() <= _FLOAT32 and x_BD.min() >= -_FLOAT32):  # NaN is not, either
            return None
    return x_ND


def side_by_side(columns: list[NDArray[Any]]) -> NDArray[np.float64]:
    """(N, D) of D columns."""
    x_ND = np.empty((len(columns[0]), len(columns)))
    for i in range(0, len(x_ND), _ROWS):
        np.stack([column[i : i + _ROWS] for column in columns], axis=1, out=x_ND[i : i + _ROWS], casting="unsafe")
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
            rule = f"every row must have as many values as the first, {layout.width}, but this one has {len(cells)}"
            raise UserError(f"{place}: {rule}.{_of_width(layout, cells)}")
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
    rule = f"{place}: {names[at]} must hold finite numbers, but holds '{cells[at].strip()}'."
    if hint := _of_cell(cells[at].strip(), len(cells)):
        raise UserError(f"{rule} {hint}")
    raise UserError(f"{rule} Labels belong in a column named 'label' or 'y', or say label: {name}; drop: [{name}] leaves the column out.")


def _of_width(layout: Layout, cells: list[str]) -> str:
    """What a row of another width may come from."""
    if layout.width == 1:
        return f" If line {layout.line} is a title, begin it with #, or leave it out."
    if len(cells) == layout.width + 1 and not cells[-1].strip():
        return " Does every line but the header end in a separator?"
    if layout.names and len(cells) == layout.width + 1:
        return " If the first column names the rows, give it a name, too (R: row.names = FALSE leaves it out)."
    return ""


def _of_cell(cell: str, columns: int) -> str:
    """What a cell that is no number may be; empty where it is a word."""
    if columns == 1 and re.search(r"\d\W.*\d", cell) and not _GROUPED.fullmatch(cell):
        return "Columns are separated by commas, semicolons, tabs, vertical bars or blanks: none of them is found here."
    if _GROUPED.fullmatch(cell):
        return "Write numbers without separators between thousands."
    if re.fullmatch(r"[+-]?\d*,\d+", cell):
        return "This is a decimal comma, and other numbers have decimal points. Write all in one way."
    if re.fullmatch(r"[\u2212\u2010-\u2015][\d.,]+", cell):
        return "Its minus is another sign than -."
    if re.fullmatch(r"[+-]?[\d.,]+ ?[%\u20ac$\u00a3]", cell):
        return "Write numbers without units."
    if cell.lower() in ("true", "false"):
        return "Write 1 for true and 0 for false (pandas: astype(int)), or say label: with its name if it holds the labels."
    return ""

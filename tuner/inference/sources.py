"""Samples to be assigned, a piece at a time, from a file of any size or a data set by its name.

npy, npz, text, parquet and feather files are read as they come: no more than a piece is in memory; anything else is read as a whole. Pieces
have all the same length, so that a network sees the slices that it saw in training.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import DAMAGED
from tuner.data.arrow import columns_of, is_lists, is_numbers, spread
from tuner.data.datasets import DATASETS, DatasetSpec, read_raw
from tuner.data.files import find, full_name
from tuner.data.names import FORMATS
from tuner.data.raw import NO_LABELS, WHATEVER, Columns
from tuner.errors import UserError, did_you_mean, first_line

from .csv_samples import csv_samples, left_out, listed

_OF_COLUMNS = ("csv", "tsv", "parquet", "feather")


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """`x_B`: (B, D) or (B, *shape). `names_B`: what the id column holds, None without one."""

    x_B: NDArray[Any]
    names_B: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.x_B)


Pieces = Iterator[Piece]


def samples(what: str, rows: int, *, names: str | None = None, data_root: Path | None = None, columns: Columns = WHATEVER) -> Pieces:
    """`what`: a file, also as `npz:PATH` and the like, or the name of a data set. `rows`: how many samples a piece has. `names`: the
    column, or the array, with a name for every sample. `columns`: what training was told of its columns.

    Raises:
        UserError: there is no such thing, or it cannot be used.
    """
    kind, _, path = source_name(what).partition(":")
    if not path:
        if names is not None:
            raise UserError(f"{what} has no column '{names}': only files have names for their samples.")
        return _of_dataset(DatasetSpec(name=what), rows, data_root)
    found = find(path, data_root)
    if not _comes_in_pieces(kind, found, columns):
        if names is not None:
            raise UserError(
                f"{what} is read as a whole, without names for its samples. Write it as csv, parquet, or npz with the samples in x."
            )
        return _of_dataset(DatasetSpec(name=f"{kind}:{path}", columns=columns), rows, data_root)
    more = {"columns": columns} if kind in _OF_COLUMNS else {}
    return aligned(_readable(found, partial(_READERS[kind], rows=rows, names=names, **more)), rows)


def _comes_in_pieces(kind: str, path: Path, columns: Columns) -> bool:
    """Whether it is read here; anything else is read as training reads it, as a whole. What is wrong with a file is said there."""
    if kind not in _READERS or not path.is_file() or kind in _OF_COLUMNS:
        return kind in _READERS
    try:
        if kind == "npy":
            with path.open("rb") as file:
                n_axes = len(_Array(path, "the array", file).shape)
        else:
            with zipfile.ZipFile(path) as archive, archive.open("x.npy") as file:
                n_axes = len(_Array(path, "x", file).shape)
    except KeyError:
        return False  # its samples have another name
    except (OSError, *DAMAGED):
        return True  # whoever reads it says what is wrong
    return not (columns.drop or columns.samples) and n_axes != 4  # colours may be the last axis


def source_name(what: str) -> str:
    """`KIND:PATH` for a file; anything else stays as it is, and is a data set's name, if anything.

    Raises:
        UserError: it is a file of no known format.
    """
    kind, colon, path = what.partition(":")
    if what in DATASETS or (colon and path and kind in FORMATS):
        return what
    if ":" in (named := full_name(what)):
        return named
    if Path(what).exists():
        raise UserError(f"{what} is of no known format. Known are {', '.join(FORMATS)}; write KIND:PATH where its name does not say it.")
    return what


def _of_dataset(dataset: DatasetSpec, rows: int, data_root: Path | None) -> Pieces:
    """A data set's values before they are scaled. New samples need none of the labels that training had."""
    try:
        raw = read_raw(dataset, data_root)
    except UserError:
        if dataset.columns.label in (None, NO_LABELS):
            raise
        raw = read_raw(replace(dataset, columns=replace(dataset.columns, label=NO_LABELS)), data_root)
    for i in range(0, len(raw.x_N), rows):
        yield Piece(x_B=raw.values(slice(i, i + rows)))


def aligned(pieces: Iterable[Piece], rows: int) -> Pieces:
    """The same samples in pieces of `rows` each, but for the last."""
    held: list[Piece] = []
    for piece in pieces:
        held.append(piece)
        while sum(map(len, held)) >= rows:
            whole = _together(held)
            yield _part(whole, slice(0, rows))
            held = [_part(whole, slice(rows, None))]
    if sum(map(len, held)):
        yield _together(held)


def _part(piece: Piece, part: slice) -> Piece:
    return Piece(x_B=piece.x_B[part], names_B=None if piece.names_B is None else piece.names_B[part])


def _together(held: list[Piece]) -> Piece:
    some = [piece for piece in held if len(piece)]
    if len(some) == 1:
        return some[0]
    names = [piece.names_B for piece in some if piece.names_B is not None]
    return Piece(x_B=np.concatenate([piece.x_B for piece in some]), names_B=np.concatenate(names) if names else None)


# --- formats -----------------------------------------------------------------------------------------------------------


def _readable(path: Path, read: Callable[[Path], Pieces]) -> Pieces:
    """Raises UserError where the file is absent or damaged."""
    try:
        yield from read(path)
    except UserError:
        raise
    except FileNotFoundError as error:
        looked = f"looked for {path.absolute()}, and in the data folder: --data-root or TUNER_DATA"
        raise UserError(f"There is no file {path} ({looked}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {first_line(error)}.") from error
    except (OSError, csv.Error, *DAMAGED) as error:  # OSError is pyarrow's word for a damaged file, too
        what = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path} cannot be read, or is damaged: {what.rstrip('.')}.") from error


def _npy(path: Path, rows: int, names: str | None) -> Pieces:
    if names is not None:
        raise UserError(f"{path} has no array '{names}': an npy file holds one array. Use npz, csv or parquet.")
    with path.open("rb") as file:
        yield from (Piece(x_B=x_B) for x_B in _Array(path, "the array", file).samples(rows))


def _npz(path: Path, rows: int, names: str | None) -> Pieces:
    with zipfile.ZipFile(path) as archive:
        found = [name.removesuffix(".npy") for name in archive.namelist()]
        for needed in ("x", *([names] if names else [])):
            if needed not in found:
                arrays = ", ".join(f"'{name}'" for name in found) or "nothing"
                raise UserError(f"{path}: an array '{needed}' is needed, but the file holds {arrays}.{did_you_mean(needed, found)}")
        with archive.open("x.npy") as file:
            x = _Array(path, "x", file)
            if names is None:
                yield from (Piece(x_B=x_B) for x_B in x.samples(rows))
                return
            with archive.open(f"{names}.npy") as beside:
                named = _Array(path, names, beside)
                if named.shape != x.shape[:1]:
                    raise UserError(f"{path}: '{names}' must hold one name for each of the {x.shape[0]:,} rows of x, but is {named.shape}.")
                for x_B, names_B in zip(x.samples(rows), named.pieces(rows), strict=True):
                    yield Piece(x_B=x_B, names_B=names_B.astype(np.str_) if names_B.dtype.kind == "S" else names_B)


class _Array:
    """An array in numpy's format, read as it lies in the file. Nothing that was pickled is opened: that runs whatever code is in it."""

    def __init__(self, path: Path, name: str, file: IO[bytes]) -> None:
        self._path, self._name, self._file = path, name, file
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, self._by_columns, self._dtype = read(file)
        if self._dtype.hasobject:
            raise UserError(f"{path}: {name} holds pickled objects, which are not opened. Write words with astype(str).")

    def samples(self, rows: int) -> Iterator[NDArray[Any]]:
        """Pieces of so many samples."""
        if self._dtype.kind not in "fiub":
            raise UserError(f"{self._path}: samples must be numbers, but their type is {self._dtype}.")
        if len(self.shape) < 2 or 0 in self.shape[1:]:
            raise UserError(f"{self._path}: samples must have the shape (N, D), (N, h, w) or the like, but have {self.shape}.")
        if self._by_columns:
            raise UserError(f"{self._path}: {self._name} lies column by column in the file. Write it with np.ascontiguousarray(x).")
        return self.pieces(rows)

    def pieces(self, rows: int) -> Iterator[NDArray[Any]]:
        one = int(np.prod(self.shape[1:])) * self._dtype.itemsize
        for i in range(0, self.shape[0], rows):
            n = min(rows, self.shape[0] - i)
            content = self._file.read(n * one)
            if len(content) < n * one:
                raise EOFError(f"it ends within row {i + len(content) // max(1, one)} of {self.shape[0]}")
            yield np.frombuffer(content, dtype=self._dtype).reshape(n, *self.shape[1:])


def _text(path: Path, rows: int, names: str | None, columns: Columns, preferred: str = ",") -> Pieces:
    found = csv_samples(path, names, columns, preferred)
    while some := list(islice(found, rows)):
        names_B = None if names is None else np.array([sample.name for sample in some])
        yield Piece(x_B=np.stack([sample.values_D for sample in some]), names_B=names_B)


def _parquet(path: Path, rows: int, names: str | None, columns: Columns) -> Pieces:
    import pyarrow.parquet as pq

    with path.open("rb") as opened:
        file = pq.ParquetFile(opened)
        wanted = _wanted(path, file.schema_arrow, names, columns)
        yield from _of_batches(path, file.iter_batches(batch_size=rows, columns=[*wanted, *([names] if names else [])]), wanted, names)


def _feather(path: Path, rows: int, names: str | None, columns: Columns) -> Pieces:
    import pyarrow as pa
    from pyarrow import feather, ipc

    with pa.memory_map(str(path)) as mapped:
        if mapped.read(4) == b"FEA1":  # the first version of the format has no batches
            table = feather.read_table(str(path))
            wanted = _wanted(path, table.schema, names, columns)
            yield from _of_batches(path, table.to_batches(max_chunksize=rows), wanted, names)
            return
        file = ipc.open_file(mapped)
        wanted = _wanted(path, file.schema, names, columns)
        batches = (file.get_batch(i) for i in range(file.num_record_batches))
        slices = (batch.slice(i, rows) for batch in batches for i in range(0, batch.num_rows, rows))
        yield from _of_batches(path, slices, wanted, names)


def _wanted(path: Path, schema: Any, names: str | None, columns: Columns) -> list[str]:
    """The columns that are features."""
    known = columns_of(str(path), schema.names)
    if names is not None and names in schema.names and names not in known:
        known.append(names)  # pandas' index
    if names is not None and names not in known:
        raise UserError(f"{path}: there is no column '{names}'.{did_you_mean(names, known)} Its columns are {listed(known)}.")
    out = left_out(known, columns)
    features = [name for i, name in enumerate(known) if name != names and i not in out]
    if not features:
        raise UserError(f"{path}: at least one column must be a feature, but there is only {listed(known)}.")
    for field in (schema.field(name) for name in features):
        if not (is_numbers(field.type) or is_lists(field.type)):
            way_out = f"A column of names needs --id {field.name}."
            raise UserError(f"{path}: column '{field.name}' must hold numbers, but its type is {field.type}. {way_out}")
    return features


def _of_batches(path: Path, batches: Iterable[Any], features: list[str], names: str | None) -> Pieces:
    widths: dict[str, int] = {}  # of columns of lists, as the first piece has them
    for batch in batches:
        values = []
        for name in features:
            column = batch.column(name)
            if is_lists(column.type):
                values.append(spread(str(path), name, column, widths.get(name)))
                widths[name] = values[-1].shape[1]
            else:
                values.append(column.to_numpy(zero_copy_only=False)[:, None])
        names_B = None if names is None else _names(f"{path}: column '{names}'", batch.column(names))
        yield Piece(x_B=np.concatenate(values, axis=1, dtype=np.float64, casting="unsafe"), names_B=names_B)


def _names(place: str, column: Any) -> NDArray[Any]:
    """Whole numbers, or words: of one type in every piece."""
    import pyarrow as pa

    if column.null_count:
        raise UserError(f"{place} must name every sample, but {column.null_count:,} of its values are missing.")
    if pa.types.is_integer(column.type):
        found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return found
    return np.array([str(value) for value in column.to_pylist()], dtype=np.str_)


_READERS: dict[str, Callable[..., Pieces]] = {
    "npy": _npy, "npz": _npz, "csv": _text, "tsv": partial(_text, preferred="\t"), "parquet": _parquet, "feather": _feather,
}  # fmt: skip

"""Where clusters are written: csv, parquet or npz, a piece at a time, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.atomic import whole
from tuner.errors import UserError, first_line

Columns = Mapping[str, NDArray[Any]]  # all of one length, by name; those of a code are (N, Z)
FORMATS = ("csv", "parquet", "npz")


class Output(Protocol):
    """Takes pieces, all with the same columns."""

    def write(self, columns: Columns) -> None: ...

    def finish(self) -> None:
        """After the last piece."""

    def close(self) -> None:
        """Lets go of its files, whole or not."""


@contextlib.contextmanager
def output(path: Path, *, overwrite: bool = False) -> Iterator[Output]:
    """A file of the format that its name ends in; it takes the place of `path` when the block ends, and is dropped if that fails.

    Raises:
        UserError: as `check_output`, and where the disk does not take it.
    """
    kind = check_output(path, overwrite=overwrite)
    try:
        with whole(path) as part:
            found = _OUTPUTS[kind](part)
            try:
                yield found
                found.finish()
            finally:
                found.close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or first_line(error)}.") from error


def check_output(path: Path, *, overwrite: bool = False) -> str:
    """The format of a file that is to be written.

    Raises:
        UserError: another format, a folder that is not there, or, unless `overwrite`, a file that is.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise UserError(f"The output {path} must end in {', '.join(f'.{name}' for name in FORMATS)}: that says the format.")
    if path.is_dir():
        raise UserError(f"{path} cannot be written: it is a folder.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already. Write to another file, or replace it: --overwrite.")
    return kind


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._begun = False

    def write(self, columns: Columns) -> None:
        flat = _flat(columns)
        if not self._begun:
            self._writer.writerow(flat)
            self._begun = True
        self._writer.writerows(zip(*(_cells(column_N) for column_N in flat.values()), strict=True))

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _flat(columns: Columns) -> dict[str, NDArray[Any]]:
    """With a column for each number of a code: `code_0`, `code_1`."""
    found: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        found |= {name: column} if column.ndim == 1 else {f"{name}_{i}": column[:, i] for i in range(column.shape[1])}
    return found


def _cells(column_N: NDArray[Any]) -> list[Any]:
    """float32 with the nine digits that tell any two apart."""
    return [f"{value:.9g}" for value in column_N.tolist()] if column_N.dtype == np.float32 else column_N.tolist()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._writer: Any = None  # begun with the first piece, which says the columns' types

    def write(self, columns: Columns) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: pa.array(column_N) for name, column_N in _flat(columns).items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError, ValueError):  # as `finish` said; left open, it would try again when nobody listens
                self._writer.close()
        self._file.close()


class _Npz:
    """Columns grow in files of their own, which become the archive at the end: an array's length stands in front of it."""

    def __init__(self, path: Path) -> None:
        self._path, self._stack = path, contextlib.ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._likes: dict[str, NDArray[Any]] = {}
        self._rows = 0

    def write(self, columns: Columns) -> None:
        for name, given in columns.items():
            column = given.astype(str) if given.dtype.kind == "O" else given  # a pickle runs whatever code is in it
            if name not in self._files:
                self._files[name] = self._stack.enter_context(tempfile.TemporaryFile(dir=self._path.parent))  # noqa: SIM115 - the stack closes it
                self._likes[name] = column[:0]
            like = self._likes[name]
            if like.dtype.kind == "U" and column.dtype.itemsize > like.dtype.itemsize:
                self._widen(name, column.dtype)
            self._files[name].write(np.ascontiguousarray(column, dtype=self._likes[name].dtype).tobytes())
        self._rows += len(next(iter(columns.values())))

    def _widen(self, name: str, dtype: np.dtype[Any]) -> None:
        """Words that are longer than all before: the ones before are written anew."""
        file, like = self._files[name], self._likes[name]
        file.seek(0)
        before = np.frombuffer(file.read(), dtype=like.dtype).astype(dtype)
        file.seek(0)
        file.write(before.tobytes())
        self._likes[name] = like.astype(dtype)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for name, file in self._files.items():
                like = self._likes[name]
                header = {"descr": np.lib.format.dtype_to_descr(like.dtype), "fortran_order": False, "shape": (self._rows, *like.shape[1:])}
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array_header_1_0(entry, header)
                    while content := file.read(2**20):
                        entry.write(content)

    def close(self) -> None:
        self._stack.close()


_OUTPUTS: Mapping[str, Any] = {"csv": _Csv, "parquet": _Parquet, "npz": _Npz}

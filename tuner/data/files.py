"""A user's own data: `npz:PATH` and `csv:PATH`. What they may hold is said in tuner/data/datasets.py."""

from __future__ import annotations

import csv
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, did_you_mean, first_line

from .raw import Raw, data_root


def read_file(name: str, root: Path | None) -> Raw:
    """What `npz:PATH` or `csv:PATH` holds.

    Raises:
        UserError: the file is absent, damaged, or holds what cannot be used.
    """
    kind, _, path = name.partition(":")
    return READERS[kind](find(path, root))


def find(path: str, root: Path | None) -> Path:
    """`path` from the current folder or, where it is absent there, from the data folder."""
    here = Path(path).expanduser()
    there = data_root(root) / here
    return there if there.exists() and not here.exists() else here


def _read_npz(path: Path) -> Raw:
    arrays = _npz_arrays(path)
    if "x" not in arrays:
        raise UserError(f"{path}: an array 'x' is needed, but the file holds {_listed(arrays)}.{did_you_mean('x', arrays)}")
    x_N = arrays["x"]
    if x_N.dtype.kind not in "fiub":
        raise UserError(f"{path}: x must hold numbers, but its type is {x_N.dtype}.")
    if x_N.ndim < 2 or 0 in x_N.shape[1:]:
        raise UserError(f"{path}: x must have the shape (N, D), (N, h, w), (N, 3, h, w) or the like, but has {x_N.shape}.")
    with np.errstate(over="ignore"):  # beyond float32's range is reported below, as not finite
        x_N = x_N.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(x_N))
    if len(wrong):
        at = ", ".join(str(i) for i in wrong[0])
        value = arrays["x"][tuple(wrong[0])]
        raise UserError(f"{path}: x must be finite in float32, but {len(wrong)} of its values are not, the first x[{at}] = {value}.")
    return Raw(x_N=_enough(path, x_N), y_N=_labels(path, arrays["y"], len(x_N)) if "y" in arrays else None)


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """`x` and `y` of the file, and empty arrays under its other names."""
    try:
        with path.open("rb") as file:  # np.load leaves a damaged file open
            found = np.load(file, allow_pickle=False)  # a pickle runs whatever code is in it
            if isinstance(found, np.lib.npyio.NpzFile):
                return {name: found[name] if name in ("x", "y") else np.empty(0) for name in found.files}
    except OSError as error:
        raise _unreadable(path, error) from error
    # NotImplementedError: zipfile's word for a compression method that it does not know, which one damaged byte can claim.
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise UserError(f"{path}: x and y must be plain arrays, but the file holds pickled objects, which are not opened.") from error
        raise UserError(
            f"{path} is no npz archive, or is damaged: {first_line(error)}. Write it with np.savez(path, x=..., y=...)."
        ) from error
    raise UserError(f"{path} holds a single array, not an npz archive. Write it with np.savez(path, x=..., y=...).")


def _read_csv(path: Path) -> Raw:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
            return _csv_rows(path, csv.reader(file))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {first_line(error)}.") from error
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as comma-separated values: {first_line(error)}.") from error


def _csv_rows(path: Path, reader: Any) -> Raw:
    header: list[str] = []
    labels_at: int | None = None
    rows: list[NDArray[np.float32]] = []
    labels: list[str] = []
    width = 0
    for cells in reader:
        if not cells:
            continue  # a blank line
        place = f"{path}:{reader.line_num}"
        if not width:
            width = len(cells)
            if not all(_is_number(cell) for cell in cells):
                header = [cell.strip() for cell in cells]
                labels_at = _label_column(place, header)
                continue
        if len(cells) != width:
            raise UserError(f"{place}: every row must have as many values as the first, {width}, but this one has {len(cells)}.")
        if labels_at is not None:
            labels.append(cells.pop(labels_at).strip())
        rows.append(_csv_row(place, cells, [name for i, name in enumerate(header) if i != labels_at]))
    if rows and not len(rows[0]):
        raise UserError(f"{path}: at least one column must be a feature, but '{header[0]}' holds the labels and there is no other.")
    y_N = None
    if labels_at is not None and rows:
        y_N = np.array([float(label) for label in labels]) if all(_is_number(label) for label in labels) else np.array(labels)
        y_N = _labels(path, y_N, len(rows))
    return Raw(x_N=_enough(path, np.stack(rows) if rows else np.empty((0, 1), dtype=np.float32)), y_N=y_N)


def _label_column(place: str, header: list[str]) -> int | None:
    """Where the labels stand: in `label`, or else in `y`. Files with the columns x, y, label are common."""
    if "" in header:
        at = header.index("") + 1
        raise UserError(f"{place}: a header must name every column, but column {at} has no name. (pandas: to_csv(path, index=False).)")
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in ("label", "y") if name in lower), None)


def _csv_row(place: str, cells: list[str], header: list[str]) -> NDArray[np.float32]:
    try:
        numbers_D = [float(cell) for cell in cells]
    except ValueError:
        numbers_D = [float(cell) if _is_number(cell) else math.nan for cell in cells]
    with np.errstate(over="ignore"):  # beyond float32's range is infinite, and said below
        row_D = np.array(numbers_D, dtype=np.float32)
    finite_D = np.isfinite(row_D)
    if finite_D.all():
        return row_D
    at = int(np.argmin(finite_D))
    name = f"column '{header[at]}'" if header else f"column {at + 1}"
    raise UserError(
        f"{place}: {name} must hold finite numbers, but holds '{cells[at].strip()}'. Labels belong in a column named 'label' or 'y'."
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _labels(path: Path, y_N: NDArray[Any], n_samples: int) -> NDArray[Any]:
    if y_N.ndim != 1:
        raise UserError(f"{path}: y must hold one label for each row, shape (N,), but has the shape {y_N.shape}.")
    if len(y_N) != n_samples:
        raise UserError(f"{path}: y must hold one label for each of the {n_samples} rows of x, but holds {len(y_N)}.")
    if y_N.dtype.kind not in "biufUS":
        raise UserError(f"{path}: y must hold whole numbers or words, but its type is {y_N.dtype}.")
    if y_N.dtype.kind == "f":
        odd = [y for y in y_N if not math.isfinite(y) or y != round(y)]
        if odd:
            raise UserError(f"{path}: y must hold whole numbers or words, but holds {odd[0]}. Leave y out where there are no labels.")
    return y_N


def _enough(path: Path, x_N: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(x_N) < 2:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds {len(x_N)}.")
    return x_N


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"There is no file {path} (looked for {path.absolute()}, and in the data folder: --data-root or TUNER_DATA).")
    return UserError(f"{path} cannot be read: {error.strerror or first_line(error)}.")


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"


READERS: dict[str, Callable[[Path], Raw]] = {"npz": _read_npz, "csv": _read_csv}

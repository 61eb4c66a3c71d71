"""Data sets as tensors: `digits`, `mnist`, `usps`, and a user's own `npz:PATH` and `csv:PATH`.

npz     an array `x` of shape (N, D), or (N, h, w) for images, and optionally `y` of shape (N,).
csv     comma-separated numbers. A first row that is not all numbers is a header; its column `label`, or else `y`, holds the
        labels, every other column is a feature. Without a header every column is a feature.
labels  whole numbers or words, numbered 0..C-1 in sorted order. They are only scored against; the semi-supervised models train on
        `n_labels` of them, and then on no row of the published test split.
limit   the same rows whatever the seed: the first of one fixed permutation, in the file's order. A larger subset holds the
        smaller one, classes keep about their shares, and the test rows are those of the published test split that were drawn.
scale   after `limit`. minmax: one minimum and one maximum for all values, so that images keep their contrast. standard: mean 0
        and deviation 1 for every feature, 0 for one that never varies. none: as they are (mnist, usps, digits: in [0, 1]).

Relative paths are looked for in the current folder, then in the data folder: `--data-root`, or the environment variable
TUNER_DATA, or ~/.cache/tuner.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import shutil
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import UserError, did_you_mean
from .model import DataSpec

DATASETS = ("digits", "mnist", "usps")
SCALES = ("minmax", "standard", "none")
FILES = {
    "digits": (),
    "mnist": tuple(
        f"MNIST/raw/{part}-ubyte" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ),
    "usps": ("usps.bz2", "usps.t.bz2"),
}
_PUBLISHED = {
    "digits": DataSpec(1797, (8, 8), 10),
    "mnist": DataSpec(70_000, (28, 28), 10, n_test=10_000),
    "usps": DataSpec(9298, (16, 16), 10, n_test=2007),
}
_KNOWN = "Known are digits, mnist, usps, npz:PATH and csv:PATH."


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Which data set, and what is done to it. `scale` is one of `SCALES`; None: nobody said, and values stay as they are."""

    name: str
    limit: int | None = None
    scale: str | None = None

    def located(self, root: Path | None = None) -> DatasetSpec:
        """The same with an absolute path, for a process whose current folder may be another."""
        kind, _, path = self.name.partition(":")
        return replace(self, name=f"{kind}:{_find(path, root).absolute()}") if path else self


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set in memory.

    `x_ND`: (N, D) floating point, flat. `y_N`: (N,) int64 on the CPU, classes 0..C-1; None without labels.
    `shape`: one sample's natural shape. `test`: the rows of the published test split; None where there is none.
    `n_classes`: C of the whole where this is a subset of it; None: as many as `y_N` holds.
    """

    name: str
    x_ND: Tensor
    y_N: Tensor | None
    shape: tuple[int, ...]
    test: slice | None = None
    n_classes: int | None = None

    @cached_property
    def spec(self) -> DataSpec:
        """What a model may know of it."""
        low, high = self.x_ND.aminmax()
        n_classes = self.n_classes
        if n_classes is None and self.y_N is not None:
            n_classes = int(self.y_N.max()) + 1
        n_test = len(self.x_ND) - self.n_train
        return DataSpec(len(self.x_ND), self.shape, n_classes, unit_range=bool(low >= 0) and bool(high <= 1), n_test=n_test)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the samples, and of which of them are the test split's."""
        return digest({"x_ND": self.x_ND, "n_train": torch.tensor(self.n_train)})

    @property
    def n_train(self) -> int:
        """The rows that come before the published test split; all where there is none."""
        return len(self.x_ND[: self.test.start]) if self.test else len(self.x_ND)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Data:
        """The same with `x_ND` on a device and in a precision."""
        return replace(self, x_ND=self.x_ND.to(device=device, dtype=dtype))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and values."""
    found = hashlib.sha256()
    for name, t in sorted(tensors.items()):
        found.update(f"{name} {t.dtype} {tuple(t.shape)} ".encode())
        found.update(np.ascontiguousarray(t.detach().cpu().numpy()).tobytes())
    return found.hexdigest()


class MissingData(UserError):
    """The files of a published data set are not there and cannot be had."""


def data_root(root: Path | None = None) -> Path:
    """The folder where data files live, absolute: `root`, or TUNER_DATA, or ~/.cache/tuner."""
    given = root or os.environ.get("TUNER_DATA") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tuner"
    return Path(given).expanduser().absolute()


def describe(dataset: DatasetSpec, root: Path | None = None) -> DataSpec:
    """What `load` would give. A published data set is not read for it, but fetched where its files are absent.

    Raises:
        UserError: as `load`.
    """
    check_named(dataset)
    if dataset.name not in DATASETS:
        return load(dataset, root).spec
    spec = _PUBLISHED[dataset.name]
    n_samples = _checked_limit(dataset, spec.n_samples)
    _fetch(dataset.name, data_root(root))
    n_test = int((_subset(spec.n_samples, n_samples) >= spec.n_samples - spec.n_test).sum())
    return replace(spec, n_samples=n_samples, unit_range=dataset.scale != "standard", n_test=n_test)


def load(dataset: DatasetSpec, root: Path | None = None) -> Data:
    """The data set, float32, on the CPU.

    Raises:
        UserError: no such data set, files that are absent, damaged or hold what cannot be used, a limit that cannot be.
    """
    check_named(dataset)
    raw = _read(dataset.name, root)
    rows_L = _subset(len(raw.x_N), _checked_limit(dataset, len(raw.x_N)))
    x_LD = raw.x_N[rows_L].reshape(len(rows_L), -1).astype(np.float32)
    if raw.peak != 1.0:
        x_LD /= np.float32(raw.peak)
    y_L, n_classes = None, None
    if raw.y_N is not None:
        names_C, y_N = np.unique(raw.y_N, return_inverse=True)
        y_L, n_classes = torch.from_numpy(y_N[rows_L].astype(np.int64)), len(names_C)
    n_before_test = None if raw.n_train is None else int(np.searchsorted(rows_L, raw.n_train))
    return Data(
        name=dataset.name,
        x_ND=torch.from_numpy(_scaled(x_LD, dataset.scale)),
        y_N=y_L,
        shape=raw.x_N.shape[1:],
        test=None if n_before_test is None else slice(n_before_test, len(rows_L)),
        n_classes=n_classes,
    )


# --- names, subsets, scales --------------------------------------------------------------------------------------------


def check_named(dataset: DatasetSpec) -> None:
    """Raises UserError where there can be no such data set, whatever files there are."""
    kind, colon, path = dataset.name.partition(":")
    if colon and kind in _READERS and path:
        pass
    elif colon and kind in _READERS:
        raise UserError(f"'{dataset.name}' names no file. Write {kind}:PATH.")
    elif dataset.name not in DATASETS:
        suffix = Path(dataset.name).suffix.removeprefix(".")
        nearest = f" Did you mean '{suffix}:{dataset.name}'?" if suffix in _READERS else did_you_mean(dataset.name, DATASETS)
        raise UserError(f"There is no data set '{dataset.name}'.{nearest} {_KNOWN}")
    if dataset.scale is not None and dataset.scale not in SCALES:
        raise UserError(f"'scale' must be one of {' | '.join(SCALES)}, but is '{dataset.scale}'.{did_you_mean(dataset.scale, SCALES)}")


def _checked_limit(dataset: DatasetSpec, n_samples: int) -> int:
    if dataset.limit is None:
        return n_samples
    if not 2 <= dataset.limit <= n_samples:
        raise UserError(f"'limit' must stay within [2, {n_samples}], the samples that {dataset.name} has, but is {dataset.limit}.")
    return dataset.limit


def _subset(n_samples: int, limit: int) -> NDArray[np.int64]:
    # RandomState: numpy promises that its streams never change, and does not for default_rng.
    permutation_N = np.random.RandomState(0).permutation(n_samples)
    return np.sort(permutation_N[:limit])


def _scaled(x_ND: NDArray[np.float32], scale: str | None) -> NDArray[np.float32]:
    if scale == "minmax":
        low, high = x_ND.min(), x_ND.max()
        return np.clip((x_ND - low) / (high - low), 0, 1) if high > low else np.zeros_like(x_ND)
    if scale == "standard":
        mean_D, deviation_D = x_ND.mean(axis=0, dtype=np.float64), x_ND.std(axis=0, dtype=np.float64)
        # A constant feature's deviation is rounding noise, not 0; dividing by it would blow the noise up to a signal.
        varies_D = deviation_D > 1e-6 * np.abs(mean_D)
        return np.where(varies_D, (x_ND - mean_D) / np.where(varies_D, deviation_D, 1.0), 0.0).astype(np.float32)
    return x_ND


# --- files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Raw:
    x_N: NDArray[Any]  # (N, *shape)
    y_N: NDArray[Any] | None
    n_train: int | None = None  # rows before the published test split
    peak: float = 1.0  # the value that becomes 1


def _read(name: str, root: Path | None) -> _Raw:
    kind, _, path = name.partition(":")
    if path:
        return _READERS[kind](_find(path, root))
    folder = data_root(root)
    _fetch(name, folder)
    paths = [folder / file for file in FILES[name]]
    try:
        return _PUBLISHED_READERS[name](paths)
    except (ValueError, OSError, EOFError) as error:
        files = ", ".join(str(path) for path in paths)
        raise UserError(
            f"{name} cannot be read: {_first_line(error)}. Delete its files, and the next run fetches them again: {files}"
        ) from error


def _find(path: str, root: Path | None) -> Path:
    """`path` from the current folder or, where it is absent there, from the data folder."""
    here = Path(path).expanduser()
    there = data_root(root) / here
    return there if there.exists() and not here.exists() else here


def _read_digits(paths: list[Path]) -> _Raw:
    from sklearn.datasets import load_digits  # here and below: a second to import, and most trials need one of them at most

    digits = load_digits()
    return _Raw(x_N=digits.images, y_N=digits.target, peak=16.0)


def _read_mnist(paths: list[Path]) -> _Raw:
    # torchvision's files without torchvision: importing it costs each worker two seconds, these lines a tenth of one.
    train_x, train_y, test_x, test_y = (np.fromfile(path, dtype=np.uint8) for path in paths)
    x_N = np.concatenate([train_x[16:].reshape(60_000, 28, 28), test_x[16:].reshape(10_000, 28, 28)])
    y_N = np.concatenate([train_y[8:].reshape(60_000), test_y[8:].reshape(10_000)])
    return _Raw(x_N=x_N, y_N=y_N, n_train=60_000, peak=255.0)


def _read_usps(paths: list[Path]) -> _Raw:
    from sklearn.datasets import load_svmlight_files

    # The text's own values, -1 to 1 in steps of 0.001; torchvision rounds them to 8 bits, and takes twice as long.
    train_x, train_y, test_x, test_y = load_svmlight_files(
        [str(path) for path in paths], n_features=256, dtype=np.float32, zero_based=False
    )
    x_N = np.concatenate([train_x.toarray(), test_x.toarray()]).reshape(9298, 16, 16)
    return _Raw(x_N=(x_N + 1) / 2, y_N=np.concatenate([train_y, test_y]), n_train=len(train_y))


_PUBLISHED_READERS: dict[str, Callable[[list[Path]], _Raw]] = {"digits": _read_digits, "mnist": _read_mnist, "usps": _read_usps}


def _fetch(name: str, folder: Path) -> None:
    """Sees to it that a published data set's files lie in `folder`; no network is touched where they do.

    Raises:
        MissingData: they are absent, and the download failed.
    """
    absent = [file for file in FILES[name] if not (folder / file).is_file()]
    if not absent:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside their place first: a download that is interrupted, or done by two processes at once, leaves no half file there.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as beside:
            _download(name, Path(beside))
            for file in absent:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(beside) / file, folder / file)
    except (ImportError, RuntimeError, OSError, HTTPException) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MissingData(
            f"{name} is not in {folder} (looked for {', '.join(absent)}), and the download failed: {reason}. "
            f"Put the files there, or say with --data-root or TUNER_DATA where they are."
        ) from error


def _download(name: str, folder: Path) -> None:
    from torchvision.datasets import MNIST, USPS  # knows the mirrors and the checksums

    with _socket_timeout(30.0):  # torchvision sets none: behind a firewall that drops packets it would wait for ever
        if name == "mnist":
            MNIST(folder, download=True)
        else:
            USPS(folder, train=True, download=True)
            USPS(folder, train=False, download=True)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# --- a user's own files ------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> _Raw:
    arrays = _npz_arrays(path)
    if "x" not in arrays:
        raise UserError(f"{path}: an array 'x' is needed, but the file holds {_listed(arrays)}.{did_you_mean('x', arrays)}")
    x_N = arrays["x"]
    if x_N.dtype.kind not in "fiub":
        raise UserError(f"{path}: x must hold numbers, but its type is {x_N.dtype}.")
    if x_N.ndim not in (2, 3) or 0 in x_N.shape[1:]:
        raise UserError(f"{path}: x must have the shape (N, D), or (N, h, w) for images, but has {x_N.shape}.")
    with np.errstate(over="ignore"):  # beyond float32's range is reported below, as not finite
        x_N = x_N.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(x_N))
    if len(wrong):
        at = ", ".join(str(i) for i in wrong[0])
        value = arrays["x"][tuple(wrong[0])]
        raise UserError(f"{path}: x must be finite in float32, but {len(wrong)} of its values are not, the first x[{at}] = {value}.")
    return _Raw(x_N=_enough(path, x_N), y_N=_labels(path, arrays["y"], len(x_N)) if "y" in arrays else None)


def _npz_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """`x` and `y` of the file, and empty arrays under its other names."""
    try:
        with path.open("rb") as file:  # np.load leaves a damaged file open
            found = np.load(file, allow_pickle=False)  # a pickle runs whatever code is in it
            if isinstance(found, np.lib.npyio.NpzFile):
                return {name: found[name] if name in ("x", "y") else np.empty(0) for name in found.files}
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise UserError(f"{path}: x and y must be plain arrays, but the file holds pickled objects, which are not opened.") from error
        raise UserError(
            f"{path} is no npz archive, or is damaged: {_first_line(error)}. Write it with np.savez(path, x=..., y=...)."
        ) from error
    raise UserError(f"{path} holds a single array, not an npz archive. Write it with np.savez(path, x=..., y=...).")


def _read_csv(path: Path) -> _Raw:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
            return _csv_rows(path, csv.reader(file))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {_first_line(error)}.") from error
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as comma-separated values: {_first_line(error)}.") from error


def _csv_rows(path: Path, reader: Any) -> _Raw:
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
    return _Raw(x_N=_enough(path, np.stack(rows) if rows else np.empty((0, 1), dtype=np.float32)), y_N=y_N)


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
    return UserError(f"{path} cannot be read: {error.strerror or _first_line(error)}.")


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


_READERS: dict[str, Callable[[Path], _Raw]] = {"npz": _read_npz, "csv": _read_csv}

"""Files of whole arrays: npz and npy, sparse matrices of scipy.

Which array holds the samples, and which one the labels, is found by name."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, did_you_mean, first_line

from .classes import Labels, from_array
from .raw import NO_LABELS, Columns, Raw

# In the order in which they are looked for; capitals do not matter, but where both are there the name as it stands here comes first.
SAMPLES = ("x", "data", "features", "fea", "samples", "images", "arr_0")
LABELS = ("y", "label", "labels", "target", "targets", "gnd", "gt", "class", "classes", "truth", "arr_1")
_SHOWN = 4  # names in a note
_PARTS = ("train", "val", "valid", "test")  # in this order; the last is the published test split


def read_npz(path: Path, wanted: Columns) -> Raw:
    """Raises UserError: it holds no samples, or what cannot be used; nothing that was pickled is opened."""
    with _opened(path) as arrays:
        if {"format", "shape", "data"} <= set(arrays.files):
            return _sparse(path, wanted)
        return of_names(path, arrays, wanted)


def read_npy(path: Path, wanted: Columns) -> Raw:
    """One array: the samples, without labels."""
    with path.open("rb") as file, _damage(path, "npy file", "np.save(path, x)"):
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            raise UserError(f"{path} is an npz archive. Say npz:{path}.")
    return of_arrays(path, found, None, wanted)


def of_names(path: Path, arrays: Mapping[str, NDArray[Any]], wanted: Columns) -> Raw:
    """Samples and labels by the names of arrays, each of which is read only where it is one of them.

    Raises:
        UserError: no array is known to hold the samples, or what it holds cannot be used.
    """
    names = list(arrays)
    parts = _parts(names)
    if parts and wanted.samples is None and _first(SAMPLES[:-1], names) is None:
        return _split(path, arrays, wanted, parts)
    if wanted.samples is not None and wanted.samples not in names:
        raise UserError(
            f"{path}: there is no array '{wanted.samples}' for 'samples'.{did_you_mean(wanted.samples, names)} There are {names}."
        )
    x = wanted.samples or _first(SAMPLES, names)
    if x is None:
        big = [name for name in names if name != wanted.label and arrays[name].ndim >= 2 and arrays[name].dtype.kind in "fiub"]
        x = big[0] if len(big) == 1 else None
    if x is None:
        listed = ", ".join(f"'{name}'" for name in names) or "nothing"
        way = f" Say samples: {names[0]}, or another." if len(names) > 1 else ""
        raise UserError(f"{path}: an array 'x' is needed, but the file holds {listed}.{did_you_mean('x', names) or way}")
    y = _label_of(path, names, wanted, x)
    labels = f"labels from '{y}'" if y else "no labels"
    notes = [] if x == "x" and y in (None, "y") else [f"samples from '{x}', {labels}"]
    x_N, y_N = _got(path, arrays, x), None if y is None else _got(path, arrays, y)
    if x_N.ndim == 2 and y_N is not None and y_N.size == x_N.shape[1] != len(x_N):
        x_N = x_N.T  # MATLAB's own methods keep samples in columns
        notes.append("samples are the columns")
    if others := [f"'{name}'" for name in names if name not in (x, y)]:
        notes.append(f"left out: {', '.join(others[:_SHOWN])}" + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""))
    return of_arrays(path, x_N, y_N, wanted, notes=tuple(notes), name=x, label=y or "y")


def _label_of(path: Path, names: list[str], wanted: Columns, x: str) -> str | None:
    if wanted.label == NO_LABELS:
        return None
    if wanted.label is None:
        return _first(LABELS, [name for name in names if name != x])
    if wanted.label not in names:
        raise UserError(f"{path}: there is no array '{wanted.label}' for 'label'.{did_you_mean(wanted.label, names)} There are {names}.")
    return wanted.label


def _first(known: tuple[str, ...], names: list[str]) -> str | None:
    for one in known:
        if one in names:
            return one
        alike = [name for name in names if name.lower() == one]
        if alike:
            return alike[0]
    return None


def _parts(names: list[str]) -> dict[str, tuple[str, str | None]]:
    """Part to its arrays of samples and of labels: `x_train` and `y_train`, `train_images` and `train_labels`."""
    found = {}
    for part in _PARTS:
        rests = {_plain(name).replace(part, "").strip("_"): name for name in names if part in _plain(name).split("_")}
        x, y = _first(SAMPLES, list(rests)), _first(LABELS, list(rests))
        if x is not None:
            found[part] = (rests[x], rests[y] if y is not None else None)
    return found if "train" in found else {}


def _plain(name: str) -> str:
    return name.lower().replace("/", "_")


def _split(path: Path, arrays: Mapping[str, NDArray[Any]], wanted: Columns, parts: dict[str, tuple[str, str | None]]) -> Raw:
    x_parts = [_got(path, arrays, x) for x, _ in parts.values()]
    if len({part.shape[1:] for part in x_parts}) > 1:
        shapes = ", ".join(f"'{x}' {part.shape}" for (x, _), part in zip(parts.values(), x_parts, strict=True))
        raise UserError(f"{path}: samples of all parts must have one shape, but there are {shapes}.")
    labelled = wanted.label != NO_LABELS and all(y is not None for _, y in parts.values())
    y_N = np.concatenate([_got(path, arrays, y) for _, y in parts.values() if y is not None]) if labelled else None
    n_test = len(x_parts[-1]) if "test" in parts else 0
    x_N = np.concatenate(x_parts)
    split = f": the last {n_test:,} are the test split" if n_test else ""
    notes: tuple[str, ...] = (f"samples from {', '.join(x for x, _ in parts.values())}{split}",)
    if not labelled and wanted.label != NO_LABELS and any(y is not None for _, y in parts.values()):
        notes = (*notes, f"not all of them have labels, so that none are used: {[y for _, y in parts.values()]}")
    return of_arrays(path, x_N, y_N, wanted, notes=notes, n_train=len(x_N) - n_test if n_test else None)


def _got(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    with _damage(path, "npz archive", "np.savez(path, x=..., y=...)"):
        return np.asarray(arrays[name])


def of_arrays(  # what a file says of its samples
    path: Path, x_N: NDArray[Any], y_N: NDArray[Any] | None, wanted: Columns, *,
    notes: tuple[str, ...] = (), n_train: int | None = None, name: str = "x", label: str = "y",
) -> Raw:  # fmt: skip
    """Raises UserError where the arrays cannot be used."""
    if wanted.drop or wanted.id not in (None, NO_LABELS):
        x_N = _without(path, x_N, wanted)
    if x_N.dtype.kind not in "fiub":
        fields = "" if x_N.dtype.names is None else " Write numpy.lib.recfunctions.structured_to_unstructured(x)."
        raise UserError(f"{path}: {name} must hold numbers, but its type is {x_N.dtype}.{fields}")
    if x_N.ndim < 2 or 0 in x_N.shape[1:]:
        raise UserError(f"{path}: {name} must have the shape (N, D), (N, h, w), (N, 3, h, w) or the like, but has {x_N.shape}.")
    _check_finite(path, name, x_N)
    labels = Labels(y_N=None) if y_N is None else from_array(f"{path}: {label}", y_N, len(x_N))
    if len(x_N) < 2:
        raise UserError(f"{path}: at least 2 samples are needed, but it holds {len(x_N)}.")
    if x_N.ndim == 4 and x_N.shape[3] in (1, 3, 4) and min(x_N.shape[1:3]) > 4:  # as cameras and Keras have it
        x_N, notes = np.ascontiguousarray(x_N.transpose(0, 3, 1, 2)), (*notes, f"colours are the last axis of {x_N.shape}")
    if x_N.ndim == 4 and x_N.shape[1] == 1:
        x_N = x_N[:, 0]
    return Raw(x_N=x_N, y_N=labels.y_N, unknown_N=labels.unknown_N, n_train=n_train, notes=(*notes, *labels.notes), doubts=labels.doubts)


def _without(path: Path, x_N: NDArray[Any], wanted: Columns) -> NDArray[Any]:
    """Columns of a table without names, left out by their numbers from 1 on."""
    named = [*wanted.drop, *([wanted.id] if wanted.id is not None and wanted.id != NO_LABELS else [])]
    numbers = [int(name) - 1 if name.isdecimal() else -1 for name in named]
    if x_N.ndim != 2 or not all(0 <= i < x_N.shape[1] for i in numbers):
        raise UserError(
            f"{path}: columns to leave out are given by their numbers, from 1 to {x_N.shape[-1]}, but got {', '.join(map(str, named))}."
        )
    return np.delete(x_N, numbers, axis=1)


def _check_finite(path: Path, name: str, x_N: NDArray[Any]) -> None:
    if x_N.dtype.kind != "f":
        return
    rows = [i for i, x in enumerate(x_N) if not np.all(np.abs(x) <= np.finfo(np.float32).max)]
    if not rows:
        return
    wrong_N = ~(np.abs(x_N[rows]) <= np.finfo(np.float32).max)
    first = np.argwhere(wrong_N)[0]
    at = (rows[int(first[0])], *(int(i) for i in first[1:]))
    where = ", ".join(map(str, at))
    raise UserError(
        f"{path}: {name} must be finite in float32, but {wrong_N.sum()} of its values are not, the first {name}[{where}] = {x_N[at]}."
    )


# --- sparse ------------------------------------------------------------------------------------------------------------


def _sparse(path: Path, wanted: Columns) -> Raw:
    from scipy.sparse import load_npz

    with _damage(path, "sparse matrix", "scipy.sparse.save_npz(path, x)"):
        found = load_npz(str(path))
    return of_arrays(
        path, dense(path, found), None, wanted, notes=(f"a sparse matrix, {found.nnz / max(1, np.prod(found.shape)):.1%} of it set",)
    )


def dense(path: Path, found: Any) -> NDArray[Any]:
    """Raises UserError where the memory does not hold it."""
    needed, free = int(np.prod(found.shape, dtype=np.float64)) * 4, _free_bytes()
    if needed * 2 > free:  # once as it is read, once as it is scaled
        raise UserError(
            f"{path}: {found.shape[0]:,} x {found.shape[1]:,} values need {needed / 1e9:,.1f} GB as a dense array, twice while they are "
            f"scaled, but {free / 1e9:,.1f} GB are free. Reduce the columns first, with TruncatedSVD for instance."
        )
    return np.asarray(found.astype(np.float32).toarray() if found.dtype.kind == "f" and found.dtype.itemsize <= 4 else found.toarray())


def _free_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# --- what is damaged ---------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:  # np.load leaves a damaged file open
        with _damage(path, "npz archive", "np.savez(path, x=..., y=...)"):
            found = np.load(file, allow_pickle=False)  # a pickle runs whatever code is in it
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise UserError(
                f"{path} holds a single array, not an npz archive. Write it with np.savez(path, x=..., y=...), or say npy:{path}."
            )
        yield found


# What reading a damaged npy or npz raises. NotImplementedError is zipfile's, of its own accord, for a compression method that it does not
# know, which one damaged byte can claim: nothing here is left to be written.
DAMAGED = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@contextmanager
def _damage(path: Path, what: str, way: str) -> Iterator[None]:
    """Says what is the matter with a file that numpy or scipy cannot read."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, UserError):
            raise
        if "allow_pickle" in str(error) and (zipfile.is_zipfile(path) or path.suffix == ".npy"):
            raise UserError(
                f"{path}: x and y must be plain arrays, but the file holds pickled objects, which are not opened. Write words with "
                "y.astype(str), and a sparse matrix with scipy.sparse.save_npz or as x.toarray()."
            ) from error
        raise UserError(f"{path} is no {what}, or is damaged: {first_line(error)}. Write it with {way}.") from error

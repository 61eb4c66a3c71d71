"""HDF5 files: arrays in folders of their own, MATLAB's since version 7.3, and AnnData's h5ad. h5py is an optional extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, did_you_mean, first_line

from .arrays import dense, of_arrays, of_names
from .classes import Labels, from_array, from_words
from .columns import LABELS
from .raw import COUNTS, NO_LABELS, Columns, Raw

_MOST_CLASSES = 200  # a column of words with more of them rather names things
_SHOWN = 4


def read_h5(path: Path, wanted: Columns) -> Raw:
    """Raises UserError: h5py is missing, the file is damaged, or holds what cannot be used."""
    with _opened(path) as file:
        if "X" in file and "obs" in file:
            return _of_anndata(path, file, wanted)
        return of_names(path, _arrays(file), wanted)


def read_mat73(path: Path, wanted: Columns) -> Raw:
    """As `read_h5`; MATLAB's arrays lie column by column, so that HDF5 sees their axes in the reverse order."""
    with _opened(path) as file:
        return of_names(path, {name: value[()].T for name, value in _arrays(file).items() if not name.startswith("#")}, wanted)


def read_h5ad(path: Path, wanted: Columns) -> Raw:
    """The matrix `X` of an AnnData, or what `samples` names: `counts` of its layers, `X_pca` of `obsm`, `raw/X`. Labels are a column of
    `obs`.

    Raises:
        UserError: h5py is missing, the file is damaged, or holds what cannot be used.
    """
    with _opened(path) as file:
        if "X" not in file or "obs" not in file:
            raise UserError(f"{path} is no AnnData file: it holds no 'X' and 'obs'. Say h5:{path} if it holds plain arrays.")
        return _of_anndata(path, file, wanted)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path} is an HDF5 file, which needs h5py: pip install h5py.") from error
    with path.open("rb"):  # h5py says less of a file that is absent
        pass
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no HDF5 file, or is damaged: {first_line(error)}.") from error


def _arrays(file: Any) -> dict[str, Any]:
    """Every array of one axis or more, by its path in the file."""
    import h5py

    found: dict[str, Any] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "fiubSO":
            found[name] = item.asstr() if h5py.check_string_dtype(item.dtype) is not None else item

    file.visititems(take)
    return {name: _words(item) if not isinstance(item, h5py.Dataset) else item for name, item in found.items()}


def _words(item: Any) -> NDArray[Any]:
    return np.asarray(item[()], dtype=np.str_)


# --- AnnData -----------------------------------------------------------------------------------------------------------


def _of_anndata(path: Path, file: Any, wanted: Columns) -> Raw:
    place = _place(path, file, wanted.samples)
    x_NG, notes = _matrix(path, place, file[place])
    names = _index(file[{"raw": "raw/var"}.get(place.split("/")[0], "var")]) if not place.startswith("obsm/") else ()
    if len(names) != x_NG.shape[-1]:
        names = ()
    if wanted.drop:
        out = [_column(path, "drop", name, names) for name in wanted.drop]
        x_NG = np.delete(x_NG, out, axis=1)
        names = tuple(name for i, name in enumerate(names) if i not in out)
    labels, said, doubts = _labels(path, file["obs"], wanted, len(x_NG))
    counts = [other for other in ("layers/counts", "raw/X") if other in file and wanted.samples is None]
    if counts:
        notes += [f"there is {counts[0]}, too: samples: {counts[0]} takes it"]
    if place != "X":
        notes.insert(0, f"samples from {place}")
    bare = Columns(label=wanted.label)  # what is dropped is gone, and names of rows are no columns here
    raw = of_arrays(path, x_NG, None, bare, name=place)
    return Raw(
        x_N=raw.x_N, y_N=labels.y_N, unknown_N=labels.unknown_N, names_D=names, notes=(*notes, *said, *labels.notes),
        doubts=(*doubts, *labels.doubts),
        kind=COUNTS,
    )  # fmt: skip


def _place(path: Path, file: Any, samples: str | None) -> str:
    if samples is None:
        return "X"
    known = ["X", *(f"{part}/{name}" for part in ("layers", "obsm") if part in file for name in file[part])]
    known += ["raw/X"] if "raw/X" in file else []
    found = [name for name in known if samples in (name, name.split("/")[-1])]
    if not found:
        nearest = did_you_mean(samples, [*known, *(name.split("/")[-1] for name in known)])
        raise UserError(f"{path}: there is no matrix '{samples}' for 'samples'.{nearest} There are {', '.join(known)}.")
    return samples if samples in found else found[0]


def _matrix(path: Path, place: str, item: Any) -> tuple[NDArray[Any], list[str]]:
    import h5py
    from scipy import sparse

    if isinstance(item, h5py.Dataset):
        return np.asarray(item[()]), []
    kind = str(item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", "")))
    shape = item.attrs.get("shape", item.attrs.get("h5sparse_shape"))
    if not kind.startswith(("csr", "csc")) or shape is None:
        raise UserError(f"{path}: {place} is neither an array nor a sparse matrix, but '{kind or 'a group'}'. Name another with samples.")
    of = sparse.csr_matrix if kind.startswith("csr") else sparse.csc_matrix
    found = of((item["data"][()], item["indices"][()], item["indptr"][()]), shape=tuple(int(n) for n in shape))
    return dense(path, found), [f"a sparse matrix, {found.nnz / max(1, np.prod(found.shape)):.1%} of it set"]


def _index(frame: Any) -> tuple[str, ...]:
    name = frame.attrs.get("_index", "_index" if "_index" in frame else "index")
    return tuple(_words(frame[name].asstr())) if name in frame and hasattr(frame[name], "asstr") else ()


def _column(path: Path, key: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise UserError(f"{path}: there is no variable '{name}' for '{key}'.{did_you_mean(name, list(names))}")
    return names.index(name)


def _labels(path: Path, obs: Any, wanted: Columns, n_samples: int) -> tuple[Labels, list[str], list[str]]:
    """The labels, what was found out, and what is doubtful about it."""
    columns = [str(name) for name in obs.attrs.get("column-order", list(obs)) if not str(name).startswith("__")]
    if wanted.label == NO_LABELS:
        return Labels(y_N=None), [], []
    said = []
    label = wanted.label
    if label is None:
        label = next((name for known in LABELS for name in columns if name.lower() == known), None)
        if label is None:
            likely = [name for name in columns if 2 <= _n_categories(obs[name]) <= _MOST_CLASSES]
            if not likely:
                return Labels(y_N=None), [], []
            shown = ", ".join(likely[:_SHOWN]) + (", …" if len(likely) > _SHOWN else "")
            doubt = f"obs holds {shown}, which may be labels. Say label: {likely[0]} to score against it; label: none if not"
            return Labels(y_N=None), [], [doubt]
        said = [f"labels from obs['{label}']"]
    if label not in columns:
        raise UserError(
            f"{path}: obs has no column '{label}' for 'label'.{did_you_mean(label, columns)} Its columns are {', '.join(columns)}."
        )
    values = _values(obs, label)
    where = f"{path}: obs['{label}']"
    return (from_words(where, values) if isinstance(values, list) else from_array(where, values, n_samples)), said, []


def _n_categories(column: Any) -> int:
    return len(column["categories"]) if hasattr(column, "keys") and "categories" in column else 0


def _values(obs: Any, name: str) -> NDArray[Any] | list[str]:
    """A column of a data frame as AnnData writes it: categories, words, numbers, numbers with a mask. Words as a list."""
    import h5py

    column = obs[name]
    if isinstance(column, h5py.Dataset):
        if f"__categories/{name}" in obs:  # before AnnData 0.7
            return _by_code(np.asarray(column[()]), obs[f"__categories/{name}"])
        return list(_words(column.asstr())) if h5py.check_string_dtype(column.dtype) is not None else np.asarray(column[()])
    if "categories" in column:
        return _by_code(np.asarray(column["codes"][()]), column["categories"])
    values, unknown_N = column["values"], np.asarray(column["mask"][()]) if "mask" in column else None
    words = list(map(str, _words(values.asstr()) if h5py.check_string_dtype(values.dtype) is not None else values[()]))
    return words if unknown_N is None else ["" if unknown else word for word, unknown in zip(words, unknown_N, strict=True)]


def _by_code(codes_N: NDArray[Any], categories: Any) -> list[str]:
    import h5py

    if not isinstance(categories, h5py.Dataset):  # words that may be missing
        categories = categories["values"]
    names_C = [*map(str, _words(categories.asstr()) if h5py.check_string_dtype(categories.dtype) is not None else categories[()]), ""]
    return [names_C[code] for code in codes_N]  # -1, the last, is not known

"""A user's own data, `KIND:PATH` such as `csv:my.csv`. A path alone is enough: its kind follows from its ending, or from what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tuner.errors import UserError, first_line

from .arrays import read_npy, read_npz
from .csv_files import read_csv, read_tsv
from .folders import read_images
from .hdf5 import read_h5, read_h5ad
from .matlab import read_mat
from .names import FORMATS, NAMES
from .raw import Columns, Raw, data_root
from .tables import read_feather, read_openml, read_parquet

OPENML = "openml"
_TEXT, _PRESSED = {"csv": "csv", "tsv": "tsv", "tab": "tsv", "txt": "csv", "data": "csv", "dat": "csv"}, (".gz", ".bz2", ".xz")
_ENDINGS = {
    **_TEXT,
    "npz": "npz",
    "npy": "npy",
    "parquet": "parquet",
    "pq": "parquet",
    "feather": "feather",
    "arrow": "feather",
    "mat": "mat",
    "h5": "h5",
    "hdf5": "h5",
    "hdf": "h5",
    "h5ad": "h5ad",
}
# Files that others keep tables in, and what to write instead.
_FOREIGN = {
    **dict.fromkeys(("xlsx", "xls", "ods"), "Save the sheet as csv."),
    **dict.fromkeys(("pkl", "pickle", "joblib"), "A pickle runs whatever code is in it. Write df.to_parquet(path)."),
    **dict.fromkeys(("pt", "pth"), "Write np.savez(path, x=x.numpy(), y=y.numpy())."),
    **dict.fromkeys(("rds", "rda", "rdata"), "Write it in R with write.csv(x, path, row.names = FALSE)."),
    "arff": "Read it with scipy.io.arff.loadarff, and write df.to_parquet(path).",
    **dict.fromkeys(("sav", "dta", "sas7bdat", "orc", "json", "jsonl"), "Read it with pandas, and write df.to_parquet(path)."),
    "mtx": "Write scipy.sparse.save_npz(path, scipy.io.mmread(...)).",
    **dict.fromkeys(("zarr", "loom"), "Write it as .h5ad with anndata."),
    **dict.fromkeys(("svm", "libsvm"), "Write scipy.sparse.save_npz(path, load_svmlight_file(...)[0]), or np.savez(path, x=..., y=...)."),
    **dict.fromkeys(("yaml", "yml", "py", "ipynb", "md", "html", "pdf", "safetensors"), "They hold no samples."),
    **dict.fromkeys(("zip", "tar", "tgz", "7z"), "Unpack it first."),
}  # fmt: skip
_MAGIC = {b"PK\x03\x04": "npz", b"\x93NUMPY": "npy", b"PAR1": "parquet", b"ARROW1": "feather", b"FEA1": "feather", b"MATLAB": "mat"}
_MAGIC |= {b"\x89HDF\r\n": "h5"}


def read_file(name: str, root: Path | None, wanted: Columns | None = None) -> Raw:
    """What `KIND:PATH` holds.

    Raises:
        UserError: the file is absent, damaged, or holds what cannot be used.
    """
    kind, _, path = name.partition(":")
    if kind == OPENML:
        return read_openml(path, data_root(root), wanted or Columns())
    found = find(path, root)
    try:
        return READERS[kind](found, wanted or Columns())
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            looked = f"looked for {found.absolute()}, and in the data folder: --data-root or TUNER_DATA"
            raise UserError(f"There is no file {found} ({looked}).") from error
        raise UserError(f"{found} cannot be read: {error.strerror or first_line(error)}.") from error


def find(path: str, root: Path | None) -> Path:
    """`path` from the current folder or, where it is absent there, from the data folder."""
    here = Path(path).expanduser()
    there = data_root(root) / here
    return there if there.exists() and not here.exists() else here


def full_name(name: str) -> str:
    """`my.csv` as `csv:my.csv`; a name that is no path, or has a kind already, as it is."""
    kind, colon, _ = name.partition(":")
    if name in NAMES or not name or (colon and kind in (*FORMATS, OPENML)):
        return name
    ending = Path(name.lower().removesuffix(next((end for end in _PRESSED if name.lower().endswith(end)), ""))).suffix.removeprefix(".")
    if ending in _FOREIGN:
        return name
    if ending in _ENDINGS:
        return f"{_ENDINGS[ending]}:{name}"
    found = find(name, None)
    if os.sep not in name and not found.exists():
        return name
    if found.is_dir():
        return f"images:{name}"
    return f"{_by_content(found)}:{name}" if found.is_file() else name


def check_path(name: str) -> None:
    """Raises UserError for a path, of which no kind could be found."""
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending in _FOREIGN and ":" not in name:
        raise UserError(f"{name}: files of the kind .{ending} are not read. {_FOREIGN[ending]}")
    if os.sep in name and ":" not in name:
        raise UserError(f"There is no file {name} (looked for {Path(name).absolute()}, and in the data folder: --data-root or TUNER_DATA).")


def _by_content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return "csv"
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "csv")


READERS: dict[str, Callable[[Path, Columns], Raw]] = {
    "npz": read_npz,
    "npy": read_npy,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "feather": read_feather,
    "mat": read_mat,
    "h5": read_h5,
    "h5ad": read_h5ad,
    "images": read_images,
}
assert tuple(READERS) == FORMATS, "READERS and FORMATS (tuner/data/names.py) have the same names in the same order"

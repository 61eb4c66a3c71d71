"""MATLAB's files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, first_line

from .arrays import dense, of_names
from .hdf5 import read_mat73
from .raw import Columns, Raw


def read_mat(path: Path, wanted: Columns) -> Raw:
    """MATLAB's files through scipy, since version 7.3 through h5py."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with path.open("rb") as file:
        if b"MATLAB 7.3" in file.read(64):
            return read_mat73(path, wanted)
    try:
        found = loadmat(str(path))
    # NotImplementedError is scipy's, for a file whose first bytes name a version that there is not: damage, or no MATLAB file.
    except (MatReadError, ValueError, NotImplementedError, TypeError, zlib.error) as error:
        raise UserError(f"{path} is no MATLAB file, or is damaged: {first_line(error)}.") from error
    arrays = {name: value for name, value in found.items() if not name.startswith("__")}
    filled = {name: dense(path, value) if hasattr(value, "toarray") else _words(np.asarray(value)) for name, value in arrays.items()}
    return of_names(path, filled, wanted)


def _words(value: NDArray[Any]) -> NDArray[Any]:
    """A cell array of words as an array of words; anything else as it is."""
    if value.dtype != object:
        return value
    cells = [cell.item() if isinstance(cell, np.ndarray) and cell.size == 1 else cell for cell in value.reshape(-1)]
    return np.array(cells, dtype=np.str_).reshape(value.shape) if cells and all(isinstance(cell, str) for cell in cells) else value

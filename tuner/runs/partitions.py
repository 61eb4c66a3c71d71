"""What a search keeps of every complete trial, so that trials can be compared without labels: the clusters and codes of one fixed
subsample, a file for each in the run's folder `codes`.

At most 1,000 samples: 4 bytes for each number of a code and 8 for a cluster, 48 kB a trial with codes of 10 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.atomic import whole
from tuner.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODES = "codes"  # in the run's folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Partition:
    """What a trial made of the subsample. `c_S`: (S,) its clusters; `z_SZ`: (S, Z) its codes."""

    c_S: NDArray[np.int64]
    z_SZ: NDArray[np.float64]


def partition_file(folder: Path, trial: int) -> Path:
    """Where it lies in a run's folder."""
    return folder / CODES / f"{trial:03d}.safetensors"


def write_partition(path: Path, c_S: NDArray[np.int64], z_SZ: NDArray[np.float32]) -> None:
    """Writes the file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save

    path.parent.mkdir(exist_ok=True)
    with whole(path) as part:
        part.write_bytes(save({"clusters": np.ascontiguousarray(c_S), "codes": np.ascontiguousarray(z_SZ)}))  # it writes memory as it lies


def read_partition(folder: Path, trial: int) -> Partition | None:
    """None where the run kept none of this trial.

    Raises:
        UserError: the file is damaged.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = partition_file(folder, trial)
    try:
        file = load(path.read_bytes())
        c_S, z_SZ = file["clusters"].astype(np.int64), file["codes"].astype(np.float64)
        if c_S.ndim != 1 or z_SZ.ndim != 2 or len(c_S) != len(z_SZ) or (c_S < 0).any():
            raise ValueError("its arrays are of other shapes")
    except FileNotFoundError:
        return None
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}. Remove it, and trial {trial} is left out.") from error
    return Partition(c_S=c_S, z_SZ=z_SZ)

"""How a training came to its clusters: what it made of the fixed subsample after a few clustering epochs, for maps of the code by epoch.

A trial's file lies beside its checkpoints, and goes with its weights: the winner's then lies beside its weights, the others' are removed.
An epoch takes at most 1,000 samples and 1 MB: 44 kB with codes of 10 numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.atomic import whole

from .paths import CHECKPOINTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = (1, 5, 20, 50, 100, 200, 500)  # clustering epochs after which it is kept
BEST_COURSE = "best.course.safetensors"  # of the training of best.safetensors, beside it


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """What a training made of the subsample after a clustering epoch. `c_S`: (S,) its clusters; `z_SZ`: (S, Z) its codes."""

    epoch: int
    c_S: NDArray[np.int64]
    z_SZ: NDArray[np.float32]

    @property
    def size(self) -> int:
        """In bytes, as it is written."""
        return 4 * (self.c_S.size + self.z_SZ.size)


def course_file(folder: Path, trial: int) -> Path:
    """Where it lies in a run's folder while the trial may become the winner."""
    return folder / CHECKPOINTS / f"{trial:03d}.course.safetensors"


def write_course(path: Path, moments: Sequence[Moment]) -> None:
    """Writes the file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save

    content = {}
    for one in moments:  # safetensors writes memory as it lies
        content[f"{one.epoch}/clusters"] = np.ascontiguousarray(one.c_S, dtype=np.int32)
        content[f"{one.epoch}/codes"] = np.ascontiguousarray(one.z_SZ, dtype=np.float32)
    path.parent.mkdir(exist_ok=True)
    with whole(path) as part:
        part.write_bytes(save(content))


def read_course(path: Path) -> list[Moment]:
    """By epoch; empty where there is no such file, or it is damaged: nothing but pictures is made of it."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        file = load(path.read_bytes())
        epochs = sorted(int(name.partition("/")[0]) for name in file if name.endswith("/codes"))
        found = [Moment(epoch=n, c_S=file[f"{n}/clusters"].astype(np.int64), z_SZ=file[f"{n}/codes"]) for n in epochs]
    except (OSError, KeyError, ValueError, SafetensorError):
        return []
    sound = all(one.c_S.ndim == 1 and one.z_SZ.ndim == 2 and len(one.c_S) == len(one.z_SZ) and np.isfinite(one.z_SZ).all() for one in found)
    return found if sound else []

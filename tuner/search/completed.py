"""What is kept of a complete trial beside its weights: what they make of a fixed subsample, by which trials compare without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.runs.partitions import partition_file, write_partition

if TYPE_CHECKING:
    from tuner.training.checkpoint import Snapshot


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial's files go: the run's folder, or while that cannot be written the fallback. `hand_in` is told of every file there."""

    folder: Path
    fallback: Path | None
    trial: int
    hand_in: Callable[[Path], None]


def keep_partition(place: Place, about: tuple[Any, Any, Any], final: Snapshot) -> None:
    """`about`: the model, its hyper-parameters and the data that it trained on.

    Raises:
        OSError: neither place can be written.
    """
    from tuner.training.codes import subsample_of

    c_S, z_SZ = subsample_of(*about, final)
    path = partition_file(place.folder, place.trial)
    try:
        write_partition(path, c_S, z_SZ)
        place.hand_in(path)
    except OSError:
        if place.fallback is None:
            raise
        place.fallback.mkdir(parents=True, exist_ok=True)
        write_partition(partition_file(place.fallback, place.trial), c_S, z_SZ)

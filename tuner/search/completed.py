"""What is kept of a trial beside its weights: what they make of a fixed subsample, when it is complete, by which trials compare without
labels; and what a training makes of it after a few epochs, for maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.runs.course import SHOWN, Moment
from tuner.runs.partitions import partition_file, write_partition

if TYPE_CHECKING:
    from tuner.training.checkpoint import Snapshot
    from tuner.training.loop import Epoch


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


NUMBERS = 2**18  # of the codes of one epoch, at most: 1 MB


def moment_of(about: tuple[Any, Any, Any], epoch: Epoch) -> Moment | None:
    """What a training makes of the subsample after an epoch that is shown, and after which it goes on; None after another one. `about`: as
    in `keep_partition`."""
    if epoch.cluster_epoch not in SHOWN or epoch.ended is not None:
        return None
    from tuner.training.codes import subsample_of

    c_S, z_SZ = subsample_of(*about, epoch.snapshot(), NUMBERS)
    return Moment(epoch=epoch.cluster_epoch, c_S=c_S, z_SZ=z_SZ)

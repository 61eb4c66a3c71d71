"""What is kept of a trial beside its weights: what they make of a fixed subsample, when it is complete, by which trials compare without
labels, and after a few epochs on the way, for maps."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tuner.runs.course import SHOWN, Moment, course_file, read_course, write_course
from tuner.runs.partitions import partition_file, write_partition

if TYPE_CHECKING:
    from tuner.data.datasets import Data
    from tuner.model import Hyper, Model
    from tuner.training.checkpoint import Snapshot
    from tuner.training.loop import Epoch

    from .budget import Budget

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial's files go: the run's folder, or while that cannot be written the fallback. `hand_in` is told of every file there."""

    folder: Path
    fallback: Path | None
    trial: int
    hand_in: Callable[[Path], None]


class Setup(NamedTuple):
    """What a training is of."""

    model: Model
    h: Hyper
    data: Data


def keep_partition(place: Place, setup: Setup, final: Snapshot) -> None:
    """
    Raises:
        OSError: neither place can be written.
    """
    from tuner.training.codes import subsample_of

    c_S, z_SZ = subsample_of(*setup, final)
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


def moment_of(setup: Setup, epoch: Epoch) -> Moment | None:
    """What a training makes of the subsample after an epoch that is shown, and after which it goes on; None after another one."""
    if epoch.cluster_epoch not in SHOWN or epoch.ended is not None:
        return None
    from tuner.training.codes import subsample_of

    c_S, z_SZ = subsample_of(*setup, epoch.snapshot(), NUMBERS)
    return Moment(epoch=epoch.cluster_epoch, c_S=c_S, z_SZ=z_SZ)


class KeptCourse:
    """What one trial made of the subsample, after each epoch that is shown."""

    def __init__(self, place: Place, setup: Setup, budget: Budget) -> None:
        self._place, self._setup, self._budget = place, setup, budget
        self._path = course_file(place.folder, place.trial)
        self._moments: list[Moment] = []
        self._unsettled = deque[tuple[int, Moment]]()  # each with the trial's epoch; in a pack another thread adds to them

    def go_on_from(self, cluster_epoch: int) -> None:
        """The trial goes on behind so many clustering epochs: what was kept of them stays."""
        self._moments = [one for one in read_course(self._path) if one.epoch <= cluster_epoch] if cluster_epoch else []

    def see(self, epoch: Epoch) -> None:
        """To be called for every epoch, before the next one is trained."""
        moment = moment_of(self._setup, epoch)
        if moment is not None:
            self._unsettled.append((epoch.epoch, moment))

    def settle(self, done: int) -> None:
        """Epochs up to `done` have been journalled, and the trial goes on. Where the file cannot be written, or the budget has no room for
        it, nobody is told but the trial's log: a map is missing then, and nothing else."""
        before = len(self._moments)
        while self._unsettled and self._unsettled[0][0] <= done:
            self._moments.append(self._unsettled.popleft()[1])
        if len(self._moments) == before:
            return
        try:
            self._budget.fit(self._path, sum(one.size for one in self._moments))
            write_course(self._path, self._moments)
            self._place.hand_in(self._path)
        except OSError as error:
            logger.info("what it made of the subsample until epoch %d was not kept: %s", done, error.strerror or error)

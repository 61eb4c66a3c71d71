"""What runs the trials that a searcher hands out: Ray Tune on a cluster, or a recorded table under a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tuner.clock import Clock

if TYPE_CHECKING:
    from ray import tune
    from ray.tune.schedulers import TrialScheduler

    from tuner.machines.cluster import Share
    from tuner.runs.events import Listener, Run
    from tuner.runs.files import RunFiles

    from .mailbox import Mail
    from .searcher import StudySearch
    from .stopper import SearchControl


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an executor calls in the course of a search, in Ray Tune's order."""

    searcher: StudySearch
    scheduler: TrialScheduler
    callbacks: Sequence[tune.Callback]
    control: SearchControl


class Letters(Protocol):
    """Pre-training epochs on their way to the driver, and the word that a trial is to stop in its pre-training."""

    def open(self) -> None: ...

    def stop(self, trial: int) -> None: ...

    def look(self, *, now: bool = False) -> Sequence[Mail]: ...


class NoLetters:
    """Where every epoch comes with a trial's results."""

    def open(self) -> None:
        pass

    def stop(self, trial: int) -> None:
        pass

    def look(self, *, now: bool = False) -> Sequence[Mail]:
        return ()


class Session(Protocol):
    """A run's trials can be trained now. `share`: what each is given, and how many there is room for at once."""

    @property
    def share(self) -> Share: ...

    @property
    def letters(self) -> Letters: ...

    def run(self, run: Run, parts: Parts) -> None:
        """Trains until nothing is left to train, or `parts.control` ends it."""


class Executor(Protocol):
    """`clock`: what times of the run are by. `listeners`: who else hears of it."""

    @property
    def clock(self) -> Clock: ...

    def listeners(self) -> Sequence[Listener]: ...

    def session(self, run: Run, files: RunFiles) -> AbstractContextManager[Session]: ...

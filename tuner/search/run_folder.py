"""The way to a run's folder for a trial on a machine that does not have it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class RunFolder(Protocol):
    """What a trainer asks of it."""

    def is_here(self) -> bool:
        """Whether this process runs where the folder is."""

    def fetched(self, trial: int, *more: str) -> AbstractContextManager[Path]:
        """A folder on this machine that has the trial's files, for as long as this lasts. `more`: other files, by their names in the run's
        folder."""

    def hand_in(self, path: Path) -> None:
        """Moves a file that was written in the folder which `fetched` gave to the run's."""

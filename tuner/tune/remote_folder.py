"""The run's folder for trials on machines that do not have it: those of a search whose `--out` is a URI.

The folder is the driver's. A trial elsewhere works in a folder of its own machine, fetches its files from the driver's when it begins
and hands them in when it writes them, through an actor beside the driver. So a store that is away for an hour stops no trial, and no
machine but the driver's needs a key to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from tuner.atomic import whole
from tuner.stores.store import local_place

if TYPE_CHECKING:
    pass


class Keeper:
    """Reads and writes files of the run's folder. A Ray actor, on the driver's machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all."""
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        with whole(path) as part:
            part.write_bytes(content)


@dataclass(frozen=True, kw_only=True)
class Distant:
    """The way to the run's folder. `node`: the driver's; `keeper`: the actor's name; `uri`: the run's."""

    node: str
    keeper: str
    uri: str

    def is_here(self) -> bool:
        """Whether this process runs where the folder is."""
        return str(ray.get_runtime_context().get_node_id()) == self.node

    @contextlib.contextmanager
    def fetched(self, trial: int, *more: str) -> Iterator[Path]:
        """A folder on this machine that has the trial's files, and others by name, as they are in the run's, for as long as this lasts."""
        from tuner.runs.course import course_file
        from tuner.runs.paths import begun_file, checkpoint_file, weights_file

        folder = self._folder()
        paths = [file(folder, trial) for file in (weights_file, checkpoint_file, begun_file, course_file)]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in (*paths, *(folder / name for name in more)):
            content = ray.get(self._actor().read.remote(str(path.relative_to(folder))))
            if content is not None:
                with whole(path) as part:  # another trial may read one of `more`, which stay
                    part.write_bytes(content)
        yield folder
        for path in paths:
            path.unlink(missing_ok=True)

    def hand_in(self, path: Path) -> None:
        """Moves a file that was written in the folder which `fetched` gave to the run's."""
        ray.get(self._actor().write.remote(str(path.relative_to(self._folder())), path.read_bytes()))
        path.unlink()

    def _folder(self) -> Path:
        return local_place(self.uri)

    def _actor(self) -> Any:
        return ray.get_actor(self.keeper)

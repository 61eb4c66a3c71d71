"""A run's files, as its driver writes them: in the run's folder, and while that is full or away in a fallback folder on this machine.

The fallback folder is a complete run folder: it starts with a copy of everything still readable, so `tuner show` and `tuner resume`
take it. When the run's folder can be written again, what it lacks is appended to it and the fallback folder is removed; at the latest
`tuner resume` does that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import layout
from tuner.atomic import whole, write_whole
from tuner.errors import UserError

from .paths import JOURNAL, LOGS, SPACE, SPEC, STUDY

if TYPE_CHECKING:
    from .events import Run

logger = logging.getLogger("tuner")
RETRY_S = 10.0  # between two looks whether the folder is back; longer each time that it went away: a disk may be full by a hair
_BEGIN = "spill.json"  # in a fallback folder: the run's folder, and at which byte of each of its files the other begins
_APPENDED = (STUDY, JOURNAL)  # in this order: the study must know every trial that the journal tells of


class RunFiles:
    """Appends to a run's files and replaces small ones. One driver has them at a time. `run_id` tells runs of one name apart."""

    @staticmethod
    def of(run: Run) -> RunFiles:
        return RunFiles(run.folder, str(run.info.get("id", run.name)), durable="simulated" not in run.info)

    def __init__(self, folder: Path, run_id: str, *, durable: bool = True) -> None:
        """`durable`: what is to outlive a power cut does; a simulation is made again sooner than a disk answers."""
        self.folder, self.fallback, self._durable = folder, _fallback_of(folder, run_id), durable
        self.away = False
        self.error: UserError | None = None  # nothing can be written anywhere
        self._open: dict[str, int] = {}
        self._about = {name: (folder / name).read_bytes() for name in (SPEC, SPACE) if (folder / name).is_file()}
        self._looked, self._patience = 0.0, RETRY_S

    @property
    def now(self) -> Path:
        """Where the files are."""
        return self.fallback if self.away else self.folder

    def open(self, name: str) -> None:
        """To be called before the first `append`; makes the file where there is none."""
        self._open[name] = _open(self.folder / name)

    def append(self, name: str, lines: bytes, *, sync: bool = False) -> None:
        """Appends whole lines. `sync`: not even a power cut shall lose them.

        Raises:
            UserError: neither the run's folder nor the fallback folder can be written.
        """

        def append() -> None:
            if not _is(self._open[name], self.now / name):
                raise FileNotFoundError(errno.ENOENT, "it was moved or removed")
            _append(self._open[name], lines, sync=sync and self._durable)

        self._look()
        self._or_in_the_fallback(append)

    def append_seldom(self, name: str, lines: bytes) -> None:
        """Appends whole lines to one of many files, in `LOGS`, which is opened for it and made where there is none. In the
        fallback folder such a file has no more than what came since.

        Raises:
            UserError: neither the run's folder nor the fallback folder can be written.
        """
        self._look()
        self._or_in_the_fallback(lambda: _append_to(self.now / name, lines))

    def write(self, name: str, text: str) -> None:
        """Replaces a small file: whoever reads it finds the old text or the new one.

        Raises:
            UserError: neither the run's folder nor the fallback folder can be written.
        """
        self._or_in_the_fallback(lambda: write_whole(self.now / name, text))

    def take(self, source: Path, name: str) -> None:
        """Moves a file to its name among the run's, where it replaces what has it.

        Raises:
            UserError: neither the run's folder nor the fallback folder can be written.
        """
        self._or_in_the_fallback(lambda: _move(source, self.now / name))

    def close(self) -> None:
        """Brings over what can be brought over, and says where the rest is."""
        self._look(now=True)
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self.away:
            logger.warning("%s is still away: what it lacks lies in %s. `tuner resume` brings it over.", self.folder, self.fallback)

    # --- away and back ---

    def _or_in_the_fallback(self, write: Callable[[], None]) -> None:
        """`write`: to `now`."""
        try:
            write()
        except OSError as error:
            self._leave(error)
            self._or_in_the_fallback(write)

    def _leave(self, error: OSError) -> None:
        """The run's folder cannot be written: goes on in the fallback folder."""
        why = error.strerror or error
        try:
            if self.away:
                raise error
            self.fallback.mkdir(parents=True, exist_ok=True)  # a trial may have come first
            begin = {name: _copy(descriptor, self.fallback / name) for name, descriptor in self._open.items()}
            for name, content in self._about.items():
                (self.fallback / name).write_bytes(content)
            write_whole(self.fallback / _BEGIN, json.dumps({"folder": str(self.folder), "begin": begin}) + "\n")
            self._reopen(self.fallback)
        except OSError as second:
            self.error = UserError(
                f"{self.folder} cannot be written ({why}), and neither can {self.fallback} ({second.strerror or second}): the search ends. "
                "What was journalled is kept. Make room, and `tuner resume` goes on with it."
            )
            raise self.error from error
        self.away, self._looked = True, time.monotonic()
        logger.warning(
            "%s cannot be written (%s): the search goes on, and its results are kept in %s until they can be brought over.",
            self.folder, why, self.fallback,
        )  # fmt: skip

    def _look(self, *, now: bool = False) -> None:
        """Goes back to the run's folder where it can be written again."""
        if not self.away or (not now and time.monotonic() - self._looked < self._patience):
            return
        self._looked = time.monotonic()
        try:
            if (self.folder / SPEC).read_bytes() != self._about.get(SPEC):
                return
            bring_over(self.fallback, self.folder)
            self._reopen(self.folder)
        except (OSError, UserError):
            return  # still away; what cannot be joined at all is told by `tuner resume`
        self.away, self._patience = False, 2 * self._patience
        logger.warning("%s can be written again: the results of meanwhile were brought over.", self.folder)

    def _reopen(self, folder: Path) -> None:
        for name, descriptor in self._open.items():
            self._open[name] = _open(folder / name)
            os.close(descriptor)


def bring_over(fallback: Path, folder: Path) -> None:
    """Adds to the run in `folder` what it lacks and its fallback folder has, and removes that. Can be repeated where it was interrupted.

    Raises:
        OSError: the folder cannot be written; the fallback is as it was.
        UserError: the two do not belong together any more; nothing was changed.
    """
    begin: dict[str, int] = json.loads((fallback / _BEGIN).read_text())["begin"]
    missing = {name: _missing(fallback / name, folder / name, begin[name]) for name in _APPENDED if name in begin}
    for name, lines in missing.items():
        descriptor = _open(folder / name)
        try:
            _append(descriptor, lines, sync=True)
        finally:
            os.close(descriptor)
    for path in sorted(fallback.rglob("*")):
        if path.is_file() and path.name not in (*_APPENDED, _BEGIN, SPEC, SPACE):
            target = folder / path.relative_to(fallback)
            if path.parent.name == LOGS:
                _append_to(target, path.read_bytes())
                path.unlink()
                continue
            target.parent.mkdir(exist_ok=True)
            _move(path, target)
    shutil.rmtree(fallback)


def bring_back(folder: Path, run_id: str) -> None:
    """Brings over what an earlier driver on this machine could not write into the run's folder any more, wherever that is now.

    Raises:
        UserError: it cannot be brought over.
    """
    for base in _bases():
        fallback = base / run_id
        if not (fallback / _BEGIN).is_file() or fallback == folder:
            continue
        try:
            bring_over(fallback, folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}. It lacks what lies in {fallback}.") from error
        logger.warning("Brought over into %s what its last driver had to keep in %s.", folder, fallback)


def _missing(away: Path, kept: Path, begin: int) -> bytes:
    """What the file in the fallback folder, `away`, has and the kept one lacks. `begin`: the byte of the kept one at which it begins."""
    ours, content = away.read_bytes(), kept.read_bytes() if kept.exists() else b""
    theirs = content[begin:]
    if len(content) >= begin and ours.startswith(theirs):
        return ours[len(theirs) :]
    if theirs.startswith(ours):  # it was brought over before
        return b""
    raise UserError(
        f"{kept} is not what {away} goes on from: the run went on without it. Nothing was changed. Keep one of the two: go on with the "
        f"other by `tuner resume {away.parent}`, or remove {away.parent}."
    )


# --- files -------------------------------------------------------------------------------------------------------------


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`: one that was removed takes lines as well, and nobody ever finds them."""
    return os.path.samestat(os.fstat(descriptor), path.stat())


def _append(descriptor: int, lines: bytes, *, sync: bool) -> None:
    """All of it or, where that fails, nothing."""
    end = os.fstat(descriptor).st_size
    try:
        while lines:
            lines = lines[os.write(descriptor, lines) :]
        if sync:
            os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, end)
        raise


def _append_to(path: Path, lines: bytes) -> None:
    """Makes the file, and the folder that it lies in, but none above."""
    path.parent.mkdir(exist_ok=True)
    descriptor = _open(path)
    try:
        _append(descriptor, lines, sync=False)
    finally:
        os.close(descriptor)


def _move(source: Path, target: Path) -> None:
    """To another disk, too; whole or not at all."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with whole(target) as part:
            shutil.copyfile(source, part)
        source.unlink()


def _copy(descriptor: int, path: Path) -> int:
    """Copies an open file, be it removed or out of reach by its name, and gives the byte at which the copy begins: the first, or where
    not even the open file can be read its end."""
    end, begin = os.fstat(descriptor).st_size, 0
    content = b""
    try:
        while len(content) < end and (piece := os.pread(descriptor, 1 << 20, len(content))):
            content += piece
    except OSError:
        content, begin = b"", end
    path.write_bytes(content)
    return begin


def _bases() -> list[Path]:
    """Where fallback folders may lie."""
    return [layout.cache() / "spill", Path(tempfile.gettempdir()) / f"tuner-{os.getuid()}" / "spill"]


def _fallback_of(folder: Path, run_id: str) -> Path:
    """A run's fallback folder, on another disk than its folder where there is one: a disk that is full is full for both."""
    device = folder.stat().st_dev
    elsewhere = [base for base in _bases() if _device(base) != device]
    return (elsewhere or _bases())[0] / run_id


def _device(path: Path) -> int:
    return next(parent.stat().st_dev for parent in (path, *path.parents) if parent.exists())

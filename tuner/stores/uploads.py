"""A run that is to lie in a store: it is worked on in a local folder, whose files are sent there every `EVERY_S`, and at the end.

In the store lies what lies in the folder, but for the journal, to which nothing is appended over a network. It is cut into segments of
whole lines, `results/<position of the first byte>.jsonl`: one is written anew until it has `SEGMENT` bytes, and then the next is begun.
The journal is these in the order of their names. It is sent after the study: no trial in it is unknown to the study.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UserError
from tuner.runs.paths import JOURNAL, SPEC

from .lock import BEAT_S, StoreLock, TakenOver
from .store import Store, reason

logger = logging.getLogger("tuner")

EVERY_S = BEAT_S
SEGMENT = 4 << 20  # bytes
SEGMENTS, CHECKPOINTS = "results/", "checkpoints/"
COPY = ".copy"  # in a folder that was brought from a store, and that no driver has worked on since


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a store has of a run in the end. `missing`: the files of the folder that it has not, or not as they are."""

    place: str
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FileState:
    """By which it is seen that a file has changed. `changed_ns`: the time of its last change."""

    size: int
    changed_ns: int


class Uploads:
    """Sends a folder's files to a store, in a thread, until the end of the context.

    A store that cannot be reached is told once; the search goes on, and what is missing is sent when it answers again.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store, self._lock = folder, store, StoreLock(store)
        self._there: dict[str, FileState] = {}  # what was sent, as it was then
        self._begin, self._end = 0, 0  # of the last segment, in bytes of the journal
        self._trouble, self._lost = False, False
        self._refused = False  # the folder's content, before anything was done with it: then it is not sent
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)

    def __enter__(self) -> Uploads:
        """
        Raises:
            UserError: the store cannot be used, another driver has the run, or it has gone on elsewhere.
        """
        self._store.check()
        self._lock.acquire()
        self._take_up()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._refused = kind is not None and issubclass(kind, UserError)
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # it becomes old by itself
            self._lock.release()

    def sent(self) -> Sent:
        if not (self._folder / SPEC).is_file():
            return Sent(place=self._store.place, missing=(JOURNAL,))
        missing = [name for name, state in self._files().items() if self._there.get(name) != state]
        return Sent(place=self._store.place, missing=tuple([JOURNAL] * bool(self._tail()[self._end - self._begin :]) + missing))

    def _take_up(self) -> None:
        """Finds out how much of the journal is there already."""
        (self._folder / COPY).unlink(missing_ok=True)
        files = self._store.files()
        self._there = {key: FileState(size=-1, changed_ns=-1) for key in files if key.startswith(CHECKPOINTS)}
        for begin, key in segments(files):
            self._begin, self._end = begin, begin + files[key]
        last = self._store.read(segment_key(self._begin)) if self._end else b""
        if not self._tail().startswith(last):
            raise UserError(
                f"{self._store.place} has gone on elsewhere, without what lies in {self._folder}. Go on with what is there: move this "
                f"folder away, then tuner resume {self._store.place}"
            )

    # --- the thread ---

    def _work(self) -> None:
        over = False
        while not over:
            over = self._over.wait(EVERY_S)
            if not (self._refused or self._lost):
                self._attempt(over)

    def _attempt(self, last: bool) -> None:
        place = self._store.place
        try:
            self._send(last)
        except TakenOver as error:
            self._lost = True
            logger.error("%s was taken over by a driver on %s: nothing more is sent there from here.", place, error)
        except Exception as error:  # whatever the store's client raises: a night's search does not end with it
            if not self._trouble:
                self._trouble = True
                logger.warning(
                    "%s cannot be reached: %s. The search goes on in %s; what is missing there is sent when it answers again.",
                    place, reason(error), self._folder,
                )  # fmt: skip
        else:
            if self._trouble:
                self._trouble = False
                logger.warning("%s answers again: all that was missing is there.", place)

    def _send(self, last: bool) -> None:
        """One pass. Checkpoints first: a winner's weights are one of them until they are `best.safetensors`."""
        journal, files = self._tail(), self._files()
        for name in sorted(files, key=lambda name: not name.startswith(CHECKPOINTS)):
            if self._there.get(name) != files[name] and (last or not _grows(name, files[name])):
                self._lock.beat()
                with contextlib.suppress(FileNotFoundError):  # a trial's end removed it
                    self._store.write(name, (self._folder / name).read_bytes())
                    self._there[name] = files[name]
        self._lock.beat()
        self._send_journal(journal)
        for key in self._there.keys() - files.keys():
            self._store.remove(key)
            del self._there[key]

    def _send_journal(self, tail: bytes) -> None:
        """`tail`: from the beginning of the last segment on."""
        while self._begin + len(tail) > self._end:
            length = len(tail) if len(tail) <= SEGMENT else tail.rfind(b"\n", 0, SEGMENT) + 1 or len(tail)
            self._store.write(segment_key(self._begin), tail[:length])
            self._end = self._begin + length
            if length < len(tail):
                self._begin, tail = self._end, tail[length:]

    def _tail(self) -> bytes:
        """The journal's whole lines from the beginning of the last segment on."""
        try:
            with (self._folder / JOURNAL).open("rb") as file:
                file.seek(self._begin)
                content = file.read()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def _files(self) -> dict[str, FileState]:
        """The files that are sent as they are.

        Raises:
            FileNotFoundError: the folder is not there.
        """
        found = {}
        if not (self._folder / SPEC).is_file():  # nothing in the store is to go with it
            raise FileNotFoundError(errno.ENOENT, f"{self._folder} is away")
        for folder, below, names in os.walk(self._folder):
            below[:] = [name for name in below if not name.startswith(".")]
            for path in (Path(folder) / name for name in names):
                if path.name.startswith(".") or path.suffix in (".tmp", ".new", ".lock") or path.is_symlink():
                    continue
                with contextlib.suppress(FileNotFoundError):
                    stat = path.stat()
                    state = FileState(size=stat.st_size, changed_ns=stat.st_mtime_ns)
                    found[path.relative_to(self._folder).as_posix()] = state
        found.pop(JOURNAL, None)
        return found


def _grows(name: str, state: FileState) -> bool:
    """W&B appends to its files for as long as a trial runs; they are sent when it has ended."""
    return name.startswith("wandb/") and time.time_ns() - state.changed_ns < 2 * EVERY_S * 1e9


def place_of_runs(uri: str | None, name: str | None) -> Store | None:
    """Where the runs of an `--out` are sent to; None where it is a folder.

    Raises:
        UserError: it cannot be written, or has a run of this name.
    """
    if uri is None:
        return None
    store = Store(uri)
    store.check()
    if name is not None and name in store.folders():
        raise UserError(f"There is a run '{name}' in {store.place} already. Choose another --name, or leave it out: runs are numbered.")
    return store


@contextlib.contextmanager
def uploading(folder: Path, uri: str | None) -> Iterator[Uploads | None]:
    """Sends the run in `folder` to its place under the URI for as long as this lasts; does nothing where there is no URI."""
    if uri is None:
        yield None
        return
    with Uploads(folder, Store(uri)) as uploads:
        yield uploads


# --- segments ----------------------------------------------------------------------------------------------------------


def segment_key(begin: int) -> str:
    return f"{SEGMENTS}{begin:012d}.jsonl"


def segments(files: dict[str, int]) -> list[tuple[int, str]]:
    """The journal's segments among a run's files: where each begins, and its key, in their order.

    Raises:
        UserError: one of them is absent.
    """
    end, found = 0, []
    for key in sorted(key for key in files if key.startswith(SEGMENTS)):
        if key != segment_key(end):
            raise UserError(
                f"The journal in the store is damaged: {segment_key(end)} should follow, but {key} does. Bring it back from a copy."
            )
        found.append((end, key))
        end += files[key]
    return found

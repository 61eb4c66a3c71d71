"""One driver for a run: a lock in its folder, which names who holds it and is taken over where its holder is dead.

On the machine of whoever asks, a holder is alive while its process is, the same one: a number may be given to another. Of a holder
elsewhere only the file's age can tell: it is touched every few seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.atomic import write_whole
from tuner.errors import UserError

logger = logging.getLogger("tuner")

LOCK = "driver.lock"
BEAT_S = 10.0
DEAD_AFTER_S = 60.0  # without a beat, where the process cannot be asked for


class RunLock:
    """Held from `acquire` to `release`, or as a context. The folder exists."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._mine = this_driver()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Takes the lock, also a dead driver's.

        Raises:
            UserError: another driver that lives holds it.
        """
        with _alone_with(self._path.parent):
            check_free(self._path.parent)
            write_whole(self._path, json.dumps(self._mine) + "\n")
        self._thread = threading.Thread(target=self._beat, name="lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if _read(self._path) == self._mine:
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                holder = _read(self._path)
                if holder == self._mine:
                    os.utime(self._path)
                    continue
            except OSError:
                continue  # a folder that is away for a moment: whoever writes there finds out by himself
            if holder is not None:
                # This process slept, and was taken for dead. Two that write one journal would spoil it: no clean end, an end.
                logger.error("%s has been taken over by a driver on %s: this one ends.", self._path.parent, holder.get("host"))
                os._exit(1)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A driver that runs. `since`: seconds since 1970."""

    host: str
    pid: int
    since: float


def holder_of(folder: Path) -> Holder | None:
    """Who drives the run in `folder`; None where nobody does."""
    path = folder / LOCK
    found = _read(path)
    if found is None or not _lives(found, path):
        return None
    return Holder(host=str(found.get("host")), pid=int(found.get("pid", 0)), since=float(found.get("since", 0.0)))


def check_free(folder: Path) -> None:
    """Raises UserError where a driver that lives holds the run."""
    path = folder / LOCK
    found = _read(path)
    if found is not None and _lives(found, path):
        raise UserError(refusal(folder.name, found, lambda: _age(path), DEAD_AFTER_S))


def is_gone(pid: int) -> bool:
    """Whether no process of this machine has this number."""
    return _start_of(pid) is None


def _lives(holder: dict[str, Any], path: Path) -> bool:
    return alive(holder, lambda: _age(path), DEAD_AFTER_S)


def this_driver() -> dict[str, Any]:
    """What a lock says of its holder: this process."""
    return {**_this_machine(), "pid": os.getpid(), "process_started": _start_of(os.getpid()), "since": time.time()}


def refusal(run: str, holder: dict[str, Any], age: Callable[[], float], dead_after: float) -> str:
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    message = f"{run} has a driver already, {who}: one run has one driver. Stop that one with Ctrl-C, or wait for its end."
    if not _is_here(holder):
        ago = age()
        when = f"was {ago:.0f} s ago" if ago >= 0 else f"lies {-ago:.0f} s ahead of the clock here: one of the clocks is wrong"
        message += f" If it is dead: it is given up {dead_after:g} s after its last sign of life, which {when}."
    return message


def alive(holder: dict[str, Any], age: Callable[[], float], dead_after: float) -> bool:
    """`age`: seconds since the holder's last sign of life, which is asked for where the process itself cannot be."""
    if not _is_here(holder):
        return age() < dead_after
    started = _start_of(int(holder.get("pid", 0)))
    return started is not None and started == holder.get("process_started")


def _is_here(holder: dict[str, Any]) -> bool:
    """Whether it is on this machine, since its last start: two machines may share a name."""
    return {key: holder.get(key) for key in ("host", "boot")} == _this_machine()


def _this_machine() -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return {"host": platform.node(), "boot": boot.read_text().strip() if boot.is_file() else None}


def _start_of(pid: int) -> str | None:
    """When a process of this machine began, in the system's own words; None where it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").is_file():
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # a program's name may hold blanks and brackets
        except OSError:
            return None
        return None if fields[0] in ("Z", "X") else fields[19]
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return said.stdout.strip() or None


def _age(path: Path) -> float:
    """Seconds since the last beat, by the clock of whoever keeps the files: two machines' clocks may differ."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{LOCK}.") as now:
            return os.fstat(now.fileno()).st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return DEAD_AFTER_S


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}  # nobody's: it is written whole or not at all
    return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def _alone_with(folder: Path) -> Iterator[None]:
    """While it lasts, nobody else looks at the lock in order to take it. Two who find the same dead driver must not both succeed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that cannot; the two would have to come within a millisecond
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

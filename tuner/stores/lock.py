"""One driver for a run whose files are sent to a store: `driver.lock` there, as `lock.py` keeps it in a folder.

An object store has no lock. What holds: a second driver is refused where the first one's sign of life is younger than `DEAD_AFTER_S`.
What does not: two that begin within the same `SETTLE_S` may both be let in. Each then finds the other's lock, or its own, at its next
sign of life; the one whose lock is gone sends nothing more.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tuner.errors import UserError
from tuner.runs.lock import LOCK, alive, refusal, this_driver

from .store import Store

BEAT_S = 20.0
DEAD_AFTER_S = 180.0  # sending one large file may take longer than a beat
SETTLE_S = 1.0


class TakenOver(Exception):
    """Another driver holds the lock. `str()`: its host."""


class StoreLock:
    """All methods raise OSError where the store cannot be reached."""

    def __init__(self, store: Store) -> None:
        self._store, self._mine, self._beaten = store, this_driver(), 0.0

    def acquire(self) -> None:
        """
        Raises:
            UserError: another driver that lives holds it.
        """
        holder = self._read()
        # A process of this machine may live on that could not release its lock: the store was away.
        if holder is not None and alive(holder, self._age, DEAD_AFTER_S) and self._age() < DEAD_AFTER_S:
            raise UserError(refusal(self._store.place, holder, self._age, DEAD_AFTER_S))
        self._write()
        time.sleep(SETTLE_S)
        holder = self._read()
        if holder is not None and holder != self._mine:
            raise UserError(refusal(self._store.place, holder, self._age, DEAD_AFTER_S))

    def beat(self) -> None:
        """Gives a sign of life, where it is time for one.

        Raises:
            TakenOver: the lock is another's.
        """
        if time.monotonic() - self._beaten < BEAT_S:
            return
        holder = self._read()
        if holder is not None and holder != self._mine:
            raise TakenOver(str(holder.get("host")))
        self._write()

    def release(self) -> None:
        if self._read() == self._mine:
            self._store.remove(LOCK)

    def _write(self) -> None:
        self._store.write(LOCK, json.dumps(self._mine).encode())
        self._beaten = time.monotonic()

    def _read(self) -> dict[str, Any] | None:
        try:
            content = json.loads(self._store.read(LOCK))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}  # nobody's: it is written whole
        return content if isinstance(content, dict) else {}

    def _age(self) -> float:
        try:
            return self._store.age(LOCK)
        except FileNotFoundError:
            return DEAD_AFTER_S

"""Orders to a search that runs: files in its folder, which its driver takes up and answers.

Whoever sees the folder may give one, on whichever machine. An order is `orders/<when>-<whose>.json`, written whole or not at all; the
driver answers beside it, in `<the same>.answer`, and removes it. Where no driver runs, a configuration may wait for `tuner resume`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuner.atomic import write_whole
from tuner.errors import UserError

from .lock import holder_of

logger = logging.getLogger("tuner")

ORDERS = "orders"  # in the run's folder
LOOK_EVERY_S, POLL_S, ALIVE_EVERY_S = 0.5, 0.1, 1.0
ANSWER_S = 90.0  # over a network other machines may see a new file only after a minute


class NotNow(UserError):
    """What cannot be done yet: an order that was kept for the next driver is kept for the one after it."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """`do`: stop | enqueue. `trial`: the one to stop; None: all of them. `like`: the trial to copy; `set`: texts such as `lr=1e-3`.
    `warm`: its training starts from the weights of the trial `like`.

    `kept`: it was handed in while no driver ran, and nobody waits for the answer.
    """

    do: str
    trial: int | None = None
    like: int | None = None
    set: tuple[str, ...] = ()
    warm: bool = False
    kept: bool = False
    id: str = field(default_factory=lambda: f"{time.time_ns()}-{os.getpid()}")


# --- who gives one -----------------------------------------------------------------------------------------------------


def give(folder: Path, order: Order) -> str | None:
    """Hands an order in, and returns what its driver says; None where no driver runs, and the order is withdrawn.

    Raises:
        UserError: the driver refuses it, or does not answer.
    """
    if holder_of(folder) is None:
        return None
    path = _write(folder, order)
    answer, began = path.with_suffix(".answer"), time.monotonic()
    ask = began + ALIVE_EVERY_S
    try:
        while not answer.exists():
            time.sleep(POLL_S)
            if time.monotonic() > ask:
                ask += ALIVE_EVERY_S
                if holder_of(folder) is None and not answer.exists():
                    return None
            if time.monotonic() > began + ANSWER_S:
                raise UserError(f"{folder.name} has not answered for {ANSWER_S:.0f} s: the order is withdrawn. Try again.")
        said: dict[str, Any] = json.loads(answer.read_text())
    finally:
        path.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)
        _remove_if_empty(folder)
    if not said["taken"]:
        raise UserError(said["said"])
    return str(said["said"])


def keep(folder: Path, order: Order) -> None:
    """Leaves an order for the next driver."""
    _write(folder, order)


def wait_for_end(folder: Path) -> None:
    """Returns when no driver runs any more."""
    while holder_of(folder) is not None:
        time.sleep(LOOK_EVERY_S)


def waiting(folder: Path) -> list[Path]:
    """The files of the orders that nobody has taken up, the oldest first."""
    return sorted((folder / ORDERS).glob("*.json"))


def _write(folder: Path, order: Order) -> Path:
    path = folder / ORDERS / f"{order.id}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps(asdict(order)) + "\n")
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written: {error.strerror or error}.") from error
    return path


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / ORDERS).rmdir()


# --- who takes it up ---------------------------------------------------------------------------------------------------


class Inbox:
    """A driver's side. `take` does what an order says, and returns what is to be answered; a `UserError` refuses it."""

    def __init__(self, folder: Path, take: Callable[[Order], str]) -> None:
        self._folder, self._take = folder, take
        self._next, self._first = 0.0, True

    def look(self) -> None:
        """Takes up what has come, not more often than twice a second. A folder that is away for a moment is looked at later."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_EVERY_S
        try:
            for answer in (self._folder / ORDERS).glob("*.answer") if self._first else ():  # to somebody who did not wait
                answer.unlink(missing_ok=True)
            found = waiting(self._folder)
        except OSError:
            return
        for path in found:
            self._take_up(path)
        self._first = False

    def _take_up(self, path: Path) -> None:
        try:
            order = _read(path)
        except OSError:
            return  # it was withdrawn, or the folder is away
        taken = False
        try:
            said = self._done(order, path)
            taken = True
        except UserError as error:
            if isinstance(error, NotNow) and order is not None and order.kept:
                return
            said = str(error)
        heard = order is not None and not order.kept
        if not heard and not taken:
            logger.warning("What was enqueued while no driver ran is refused: %s", said)
        with contextlib.suppress(OSError):  # it is taken up again, and known by its name
            if heard:
                write_whole(path.with_suffix(".answer"), json.dumps({"taken": taken, "said": said}) + "\n")
            path.unlink(missing_ok=True)
            _remove_if_empty(self._folder)

    def _done(self, order: Order | None, path: Path) -> str:
        if order is None:
            raise UserError(f"{path.name} is no order of tuner's.")
        if self._first and order.do == "stop":
            raise UserError(f"{self._folder.name} has only just begun, and that was for its driver before. Say it again.")
        return self._take(order)


def _read(path: Path) -> Order | None:
    try:
        content = json.loads(path.read_text())
        order = Order(**{**content, "set": tuple(content["set"])})
    except (ValueError, TypeError, KeyError):
        return None
    numbers = all(number is None or type(number) is int for number in (order.trial, order.like))
    warm: object = order.warm  # as a file says it
    sound = numbers and isinstance(warm, bool) and not (warm and order.like is None)
    sound = sound and order.do in ("stop", "enqueue") and all(isinstance(text, str) for text in (order.id, *order.set))
    return order if sound else None

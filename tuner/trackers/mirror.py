"""A tracker that takes its time, off the search's path: a thread of its own, fed by a queue."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from tuner.errors import first_line
from tuner.runs.events import Run, TrialEnd
from tuner.runs.records import EpochLine

LAST_UPLOAD_S = {"done": 60, "stopped": 10, "failed": 10}  # what the end of a search waits for


class Recorder(Protocol):
    """Takes a search's events. Everything happens on the mirror's thread."""

    def catch_up(self) -> None:
        """Records what an earlier driver could not before it died."""

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None: ...

    def epoch_ended(self, trial: int, line: EpochLine) -> None: ...

    def trial_ended(self, end: TrialEnd) -> None: ...

    def search_ended(self, status: str) -> None: ...


class Mirror(ABC):
    """A `Listener` that passes everything on to a `Recorder`. A failure is reported once; it neither stops nor delays the search.

    `title`: the tracker's name, and `late`: what becomes of lines that have not arrived at the end. `say` prints one line for the user.
    """

    title: ClassVar[str]
    late: ClassVar[str]

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._events: queue.SimpleQueue[tuple[str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def prepared(self, run: Run) -> Callable[[], Recorder] | None:
        """What opens the recorder, on the mirror's thread; None: nothing is recorded. Called before the journal grows."""

    def search_started(self, run: Run) -> None:
        opening = self.prepared(run)
        if opening is not None:
            self._thread = threading.Thread(target=self._work, args=(opening,), name=self.title, daemon=True)
            self._thread.start()

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        self._put("trial_started", trial, config)

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._put("epoch_ended", trial, line)

    def trial_ended(self, end: TrialEnd) -> None:
        self._put("trial_ended", end)

    def search_ended(self, status: str) -> None:
        if self._thread is None:
            return
        self._put("search_ended", status)
        self._events.put(None)
        self._thread.join(LAST_UPLOAD_S[status])
        if self._thread.is_alive():
            self._say(f"{self.title}: still sending. {self.late}")

    def _put(self, name: str, *args: Any) -> None:
        if self._thread is not None:
            self._events.put((name, args))

    def _work(self, opening: Callable[[], Recorder]) -> None:
        recorder, intact = None, True
        try:
            recorder = opening()
            recorder.catch_up()
        except Exception as error:  # a mirror must not break the search; what is lost is reported
            self._say(f"{self.title}: not recorded: {first_line(error)}")
        while (event := self._events.get()) is not None:
            name, args = event
            if recorder is not None:
                try:
                    getattr(recorder, name)(*args)
                except Exception as error:
                    if intact:
                        self._say(f"{self.title}: something was not recorded: {first_line(error)}")
                    intact = False

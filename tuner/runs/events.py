"""What happens in a search, as events, and who hears of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuner.plain_json import is_whole
from tuner.space.warm import WARM

from .records import EndLine, EpochLine

if TYPE_CHECKING:
    from tuner.space.spec import Spec


logger = logging.getLogger("tuner")

# --- events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Run:
    """A search that is going on. `info`: versions, commit, hardware, resources of a trial, the dashboard's address.

    `past`: what happened before it was interrupted; None where it has just begun.
    """

    name: str
    folder: Path
    spec: Spec
    info: Mapping[str, Any]
    past: Past | None = None


@dataclass(frozen=True, kw_only=True)
class Past:
    """What happened in a run before this driver's time. `ends`: of trials that are over. `pruned`: trials that ASHA had stopped before
    the last driver died, and whose end is not in the journal yet. `open`: the trials that go on, by number."""

    ends: tuple[TrialEnd, ...]
    pruned: tuple[TrialEnd, ...]
    open: Mapping[int, OpenTrial]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class OpenTrial:
    """A trial that goes on. `metrics`: of each journalled epoch; `shown`: of the epoch that the score is of."""

    config: dict[str, Any]
    metrics: Sequence[Mapping[str, float]]
    score: float | None
    shown: Mapping[str, float]
    seconds: float


NO_END = ("running", "unfinished")  # a trial's states where the journal has no end of it: its search goes on, or does not


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a trial ended. `metrics` are those of the epoch that the score was taken from; `score` is None where none counts.

    Of a run that is read back also how far a trial without an end has come; its state is then one of NO_END.
    """

    trial: int
    state: str  # one of STATES
    config: Mapping[str, Any]
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    reason: str | None = None
    traceback: str | None = None  # where it raised
    asked_for: bool = False  # by a person
    for_good: bool = False  # it was stopped by a person, and does not go on with the search
    configuration: int | None = None  # where each has several seeds: the number of its first trial

    @property
    def warm(self) -> int | None:
        """The trial from whose weights its training started; None where it started cold. Scores of the two kinds are not compared."""
        found: Any = self.config.get(WARM)
        return found if is_whole(found) else None

    @property
    def is_over(self) -> bool:
        """Whether it stays so. A trial that was stopped with its search goes on with it."""
        return self.state not in NO_END and (self.state != "stopped" or self.for_good)

    @staticmethod
    def of(line: EndLine) -> TrialEnd:
        """From the journal's line, be it of an older tuner."""
        known = {name: line[name] for name in _END_KEYS if name in line}  # type: ignore[literal-required]  # the keys are its fields
        if known.get("score") is not None:
            known["score"] = float(known["score"])
        return TrialEnd(**known)

    def line(self, now: float) -> EndLine:
        """The journal's line."""
        line: EndLine = {
            "trial": self.trial,
            "state": self.state,
            "config": dict(self.config),
            "score": self.score,
            "metrics": dict(self.metrics),
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "time": round(now, 3),
        }
        if self.traceback:
            line["traceback"] = self.traceback
        if self.asked_for:
            line["asked_for"] = True
        if self.for_good:
            line["for_good"] = True
        if self.configuration is not None:
            line["configuration"] = self.configuration
        return line


_END_KEYS = tuple(one.name for one in fields(TrialEnd))


class Listener(Protocol):
    """Hears of a search. All calls come in order, from one thread of the driver's process.

    To add a tracker, write a class with these methods in `tuner/trackers/`, and return an instance from `asked_for` in
    `tuner/service/trackers.py`. `search_started` gives it the run, with its folder and its space. Its calls must return at once: the
    search waits for them. What takes long, such as a network, belongs on a thread of its own, as in `tuner/trackers/mirror.py`.
    """

    def search_started(self, run: Run) -> None: ...

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        """`config`: every hyper-parameter under its dotted name, and the trial's `seed`."""

    def epoch_ended(self, trial: int, line: EpochLine) -> None: ...

    def trial_ended(self, end: TrialEnd) -> None: ...

    def search_ended(self, status: str) -> None:
        """`status`: done | stopped | failed."""


class Listeners:
    """The journal, then the others. If another one fails, that is logged once and it hears no more; the search goes on."""

    def __init__(self, journal: Listener, others: Sequence[Listener]) -> None:
        self._journal = journal
        self._others = list(others)

    def search_started(self, run: Run) -> None:
        self._journal.search_started(run)
        self._tell(lambda other: other.search_started(run))

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        self._journal.trial_started(trial, config)
        self._tell(lambda other: other.trial_started(trial, config))

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._journal.epoch_ended(trial, line)
        self._tell(lambda other: other.epoch_ended(trial, line))

    def trial_ended(self, end: TrialEnd) -> None:
        self._journal.trial_ended(end)
        self._tell(lambda other: other.trial_ended(end))

    def search_ended(self, status: str) -> None:
        self._journal.search_ended(status)
        self._tell(lambda other: other.search_ended(status))

    def _tell(self, call: Callable[[Listener], None]) -> None:
        for other in list(self._others):
            try:
                call(other)
            except Exception as error:  # a dashboard that is down must not end a night's search
                self._others.remove(other)
                logger.warning(
                    "%s failed and is left out from here on; the search and its journal go on. %s: %s",
                    type(other).__name__, type(error).__name__, error,
                )  # fmt: skip

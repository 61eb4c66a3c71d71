"""What a trial's process reports to the driver, through Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.capture import Line
from tuner.runs.records import EpochLine

_KEY = "report"  # in the dictionaries that Tune hands around


@dataclass(frozen=True, kw_only=True)
class TuneResult:
    """A clustering epoch, or the end of a trial that was stopped in its pre-training: that one has neither `line` nor `score`."""

    trial: int
    node: str  # Ray's id of the node that trains it
    ended: str | None  # by itself, or in its pre-training by `tuner stop`; None while it goes on
    before: Sequence[EpochLine] = ()  # the lines of the pre-training epochs since the last result
    line: EpochLine | None = None  # the epoch's, as it is journalled but for the time
    score: float | None = None  # of the trial so far
    reason: str | None = None
    trouble: str | None = None  # what could not be written
    captured: Sequence[Line] = ()  # log records, warnings and prints since the last report

    def for_tune(self) -> dict[str, Any]:
        """As Tune wants it: what its scheduler and its searcher read stands beside the whole."""
        result: dict[str, Any] = {_KEY: self, "ended": self.ended, "done": self.ended is not None}
        if self.line is not None:
            result |= {"score": self.score, "cluster_epoch": self.line["cluster_epoch"] or 0}
        return result

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> TuneResult:
        """What `for_tune` wrote, which Tune has added its own figures to."""
        found = result[_KEY]
        assert isinstance(found, cls)
        return found

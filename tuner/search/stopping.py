"""The rules of a space that end a search before all its trials are tried: a target, a plateau, hours.

What `target` and `plateau` see are the ends of trials in the order of the journal, so that a resumed search comes to the same verdict.
A rule that has ended a search is renewed when the search goes on: then it looks at what comes from there on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.clock import Clock
from tuner.runs.configurations import Standings, number_of
from tuner.runs.events import Run, TrialEnd
from tuner.space.spec import Spec
from tuner.space.stopping import hours_in_words
from tuner.text import counted, number


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """From where on the rules count: after so many ended trials, and so many seconds of all drivers."""

    ends: int = 0
    seconds: float = 0.0

    @staticmethod
    def of(about: Any) -> Renewed:
        """From a run's spec.json."""
        return Renewed(**about.get("renewed", {}))


class StopRules:
    """Fed with the trials that end. `because`: what the rule saw that ended the search, in words; None while it goes on. `out_of_time`:
    whether it is the hours, after which what trains is interrupted."""

    def __init__(self, spec: Spec, renewed: Renewed = Renewed(), ends: Iterable[TrialEnd] = ()) -> None:
        """`ends`: of trials that are over, in the journal's order."""
        self.because: str | None = None
        self.out_of_time = False
        self._spec, self._renewed = spec, renewed
        self._standings = Standings(spec.seeds, spec.metric, (spec.metrics or ())[1:])
        self._trials, self._reached = 0, False  # that are over; whether the target is
        self._since: set[int] = set()  # the configurations that have ended since the last gain
        self._clock: Clock | None = None
        self._until = math.inf
        for end in ends:
            self.add(end)

    @staticmethod
    def of(run: Run, clock: Clock) -> StopRules:
        """Those of a run, of which the driver begins now."""
        renewed, past = Renewed.of(run.info), run.past
        rules = StopRules(run.spec, renewed, past.ends if past else ())
        if run.spec.stop.hours is not None:
            rules._clock = clock
            rules._until = clock.time() + run.spec.stop.hours * 3600 - ((past.seconds if past else 0.0) - renewed.seconds)
        return rules

    def add(self, end: TrialEnd) -> None:
        """A trial has ended. One that was interrupted with its search goes on, and counts when it is over."""
        stop = self._spec.stop
        if not end.is_over or (stop.target is None and stop.plateau is None):
            return
        self._trials += 1
        if end.warm is not None:  # its score is compared with none
            return
        gained = self._standings.add(end)
        # Nothing counts before the first complete trial: where many train at once, those that are stopped early end first.
        counts = not gained and self._standings.best is not None and self._decided(end)
        if gained:
            self._since.clear()
        elif counts:
            self._since.add(number_of(end))
        reached = self._meets_target()
        if self._trials <= self._renewed.ends:
            self._reached = self._reached or reached
            self._since.clear()
            return
        if self.because is None and reached and not self._reached:
            self.because = self._of_target()
        elif self.because is None and stop.plateau is not None and len(self._since) >= stop.plateau:
            self.because = self._of_plateau()
        self._reached = self._reached or reached

    @property
    def until(self) -> float:
        """When the hours are over, by the clock; infinity: there are none."""
        return self._until

    def time_is_up(self) -> bool:
        return self._clock is not None and self._clock.time() >= self._until

    def end_in_time(self) -> None:
        """The search ends since its time is up."""
        assert self._spec.stop.hours is not None
        verb = "is" if self._spec.stop.hours == 1 else "are"
        self.out_of_time = True
        self.because = f"{hours_in_words(self._spec.stop.hours)} {verb} over"

    def _decided(self, end: TrialEnd) -> bool:
        return self._spec.seeds.race is not None or self._standings.decided(number_of(end))

    def _meets_target(self) -> bool:
        """By a configuration that has had all its seeds."""
        best, target, metric = self._standings.best, self._spec.stop.target, self._spec.metric
        if best is None or target is None or best.end.score is None or best.n < self._spec.seeds.most:
            return False
        return metric.rank(best.end.score) <= metric.rank(target)

    @property
    def _who(self) -> str:
        return "trial" if self._spec.seeds.single else "configuration"

    def _of_target(self) -> str:
        best, name = self._standings.best, self._spec.metric.name
        assert best is not None
        return f"{self._who} {best.number} reached {name} {number(best.end.score, name)}, and the target was {self._spec.stop.target:g}"

    def _of_plateau(self) -> str:
        best, plateau = self._standings.best, self._spec.stop.plateau
        assert best is not None and plateau is not None
        return f"none of the last {counted(plateau, self._who)} was better than {self._who} {best.number}"

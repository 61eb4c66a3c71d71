"""What a trial is worth: its score so far, by the rule of the space, and the epoch that the score is of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tuner.runs.states import STATES

if TYPE_CHECKING:
    from tuner.space.spec import Spec


def values_of(spec: Spec, metrics: Mapping[str, float], state: str | None = None) -> list[float]:
    """Where several metrics decide: theirs at an epoch, or the worst of each where the trial ended so. `state`: how it ended there."""
    worst = state is not None and STATES[state].worst
    return [metric.worst if worst else float(metrics[metric.name]) for metric in spec.metrics or (spec.metric,)]


class TrialScore:
    """Of one trial, as its clustering epochs come. The trainer, the history of a resumed run and the driver all use it."""

    def __init__(self, spec: Spec, values: Iterable[float] = ()) -> None:
        """`values`: the metric at the clustering epochs so far."""
        self._spec = spec
        self.values = [float(value) for value in values]

    def add(self, value: float) -> bool:
        """Adds the metric at the next clustering epoch. Gives whether the score is now of that epoch."""
        self.values.append(float(value))
        return self.epoch == len(self.values)

    @property
    def value(self) -> float | None:
        """The score; None before the first clustering epoch."""
        return self.after(len(self.values)) if self.values else None

    @property
    def epoch(self) -> int:
        """Which of the values, from 1 on, the score is of: with `max` the last of the best ones, else the last; 0 where there are none."""
        if self._spec.score != "max" or not self.values:
            return len(self.values)
        best = self._spec.metric.best(self.values)
        return max(i for i, value in enumerate(self.values, 1) if value == best)

    def after(self, epochs: int) -> float:
        """The score as it was after this many values, at least one."""
        return self._spec.score_of(self.values[:epochs])

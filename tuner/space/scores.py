"""Which epochs of a trial count for its score. Quick to import: commands that only list runs use it, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .metric import Metric


@dataclass(frozen=True, kw_only=True)
class Score:
    """A rule by which the values of the metric become one score.

    `of`: the score, given the metric and its values at the clustering epochs so far, at least one. `doc`: the epochs that count.
    `words`: for a sentence, `acc {words}`. `short`: in the head of a table; empty for a single epoch that needs no word.
    """

    of: Callable[[Metric, Sequence[float]], float]
    doc: str
    words: str
    short: str = ""


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


SCORES: dict[str, Score] = {
    "last": Score(of=lambda metric, values: _mean(values[-1:]), doc="the last epoch", words="of the last epoch"),
    "max": Score(of=lambda metric, values: metric.best(values), doc="the best epoch", words="of the best epoch", short="best"),
    "mean_last_5": Score(
        of=lambda metric, values: _mean(values[-5:]),
        doc="the mean of the last five epochs",
        words="as the mean of the last five epochs",
        short="mean",
    ),
}

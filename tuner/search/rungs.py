"""The arithmetic of asynchronous successive halving, ASHA (Li et al. 2020, https://arxiv.org/abs/1810.05934)

Rungs stand at `grace`, `grace * reduction`, `grace * reduction**2`, … clustering epochs. A trial that reaches a rung stops there unless
its score is among the best 1/`reduction` of those that reached it before.
"""

from __future__ import annotations

import numpy as np


class Rungs:
    """The scores at each rung so far. The verdicts are those of `ray.tune.schedulers.AsyncHyperBandScheduler`, as a test asserts."""

    def __init__(self, *, grace: int, reduction: int, larger_is_better: bool) -> None:
        self._grace, self._reduction = grace, reduction
        self._sign = 1.0 if larger_is_better else -1.0
        self._scores: dict[int, dict[int, float]] = {}  # by rung and trial; larger is better

    def add(self, trial: int, cluster_epoch: int, score: float) -> bool:
        """Enters a score at the highest rung that the trial has reached and has no score at. True: the trial stops here."""
        for rung in reversed(self._reached(cluster_epoch)):
            scores = self._scores.setdefault(rung, {})
            if trial in scores:
                continue
            stops = bool(scores) and self._sign * score < self._cutoff(scores)
            scores[trial] = self._sign * score
            return stops
        return False

    def _reached(self, cluster_epoch: int) -> list[int]:
        reached, rung = [], self._grace
        while rung <= cluster_epoch:
            reached.append(rung)
            rung *= self._reduction
        return reached

    def _cutoff(self, scores: dict[int, float]) -> float:
        return float(np.nanpercentile(list(scores.values()), (1 - 1 / self._reduction) * 100))

"""What TPE remembers of a long search. It goes through all trials for every proposal: the 20,000th would take a tenth of a second."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Container, Sequence
from typing import NamedTuple

from optuna import Study
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MOST = 1000  # finished trials
BEST = 25  # TPE tells at most so many from the others, which it gives less weight the older they are


class _Rank(NamedTuple):
    """The less the better, as TPE has it: complete trials by their values, then those that were stopped, the last one first."""

    stopped: bool
    steps: int
    loss: float


class News:
    """Which trials of a list that grows are finished, each told once."""

    def __init__(self) -> None:
        self._n_known = 0  # of the trials, from the first on; but for these, which went on when they were looked at:
        self.open: list[int] = []

    def finished(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """The indices of those that ended since the last time, but for failures."""
        due = [*self.open, *range(self._n_known, len(trials))]
        self._n_known, self.open = len(trials), [i for i in due if not trials[i].state.is_finished()]
        return [i for i in due if trials[i].state in (TrialState.COMPLETE, TrialState.PRUNED)]


class Remembered(Study):
    """A study as its sampler sees it: what runs and, of more than `MOST` trials that are finished, the best and the latest. It writes into
    the same storage."""

    def __init__(self, name: str, storage: BaseStorage, whole: Study) -> None:
        """`name`: the study's, in its storage. `whole`: all trials, as the sampler would see them; of one objective, and of one seed each,
        so that what is finished stays as it is."""
        super().__init__(name, storage)
        self._whole = whole
        self.trials_known: list[FrozenTrial] = []  # all of them, at the last look
        self._shown: list[FrozenTrial] = []
        self._news = News()
        self._ranked: list[tuple[_Rank, int]] = []
        self._finished: list[int] = []  # by number, as the others
        self.refresh()

    def refresh(self) -> None:
        """Looks at the study. Until the next time the sampler sees it so."""
        trials = self.trials_known = self._whole.get_trials(deepcopy=False)
        for i in self._news.finished(trials):
            insort(self._finished, i)
            insort(self._ranked, (self._rank(trials[i]), i))
        del self._ranked[BEST:]
        best = {i for _, i in self._ranked}
        latest = [i for i in self._finished[-MOST:] if i not in best][-(MOST - BEST) :]
        self._shown = [trials[i] for i in sorted({*best, *latest, *self._news.open})]

    def _get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False) -> list[FrozenTrial]:
        """What `get_trials` and all samplers call."""
        return [trial for trial in self._shown if states is None or trial.state in states]

    def _rank(self, trial: FrozenTrial) -> _Rank:
        sign = -1 if self.direction == StudyDirection.MAXIMIZE else 1
        if trial.state == TrialState.COMPLETE:
            return _Rank(stopped=False, steps=0, loss=sign * trial.values[0])
        step, value = max(trial.intermediate_values.items(), default=(-1, math.nan))
        return _Rank(stopped=True, steps=-step, loss=math.inf if math.isnan(value) else sign * value)

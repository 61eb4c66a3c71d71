"""What is known of a search while it runs: counts, the best trial, what runs, and how fast."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.text import counted

from .configurations import Standings

if TYPE_CHECKING:
    from tuner.space.spec import Spec

    from .events import Run, TrialEnd
    from .records import EpochLine

WINDOW_S = 30  # over which the speed is counted


class Progress:
    """A search in numbers, fed by its events."""

    def __init__(self, run: Run) -> None:
        self.run, self.spec = run, run.spec
        self.ends: Counter[str] = Counter()
        self.running: dict[int, Trial] = {}
        self._standings = Standings(run.spec.seeds, run.spec.metric, (run.spec.metrics or ())[1:])
        self.epochs = 0
        self._ended_epochs = 0
        self._began = time.monotonic()
        self._first_epoch: float | None = None
        self._recent: deque[float] = deque()  # when the epochs of the last `WINDOW_S` seconds ended
        for end in run.past.ends if run.past else ():
            self.end(end)

    # --- events ---

    def begin(self, trial: int, config: Mapping[str, Any]) -> None:
        self.running[trial] = Trial(config, self._planned(config))

    def advance(self, trial: int, line: EpochLine, now: float) -> None:
        if self._first_epoch is None:
            self._first_epoch = now
        self.epochs += 1
        self._recent.append(now)
        if trial in self.running:
            self.running[trial].advance(line, self.spec.metric.name)

    def end(self, end: TrialEnd) -> bool:
        """Whether this trial, or its configuration, is the best so far."""
        self.running.pop(end.trial, None)
        self.ends[end.state] += 1
        self._ended_epochs += end.epochs
        return self._standings.add(end)

    @property
    def best(self) -> TrialEnd | None:
        """The best so far; of a configuration with several seeds, all of them as one."""
        return None if self._standings.best is None else self._standings.best.end

    def _planned(self, config: Mapping[str, Any]) -> int:
        """All epochs that the trial would have, pre-training included."""
        from tuner.training.trial import planned_epochs

        return planned_epochs(self.spec.loaded(), self.spec.hyper({k: v for k, v in config.items() if k != "seed"}))[0]

    # --- what follows from them ---

    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def ended(self) -> int:
        return sum(self.ends.values())

    def speed(self) -> float:
        """Epochs per second of late, all trials together."""
        now = time.monotonic()
        while self._recent and now - self._recent[0] > WINDOW_S:
            self._recent.popleft()
        if self._first_epoch is None or len(self._recent) < 2:
            return 0.0
        return len(self._recent) / max(min(now - self._first_epoch, WINDOW_S), 1e-3)

    def seconds_left(self) -> float | None:
        """An estimate: that the trials to come are as long as those that ended, and one of full length, were on average."""
        if self._first_epoch is None or not self.running or self.epochs < 2:  # one epoch has no duration yet
            return None
        longest = max(trial.planned for trial in self.running.values())
        length = (self._ended_epochs + longest) / (self.ended + 1)
        waiting = max(self.spec.most_trials - self.ended - len(self.running), 0)
        to_do = waiting * length + sum(max(length - trial.epoch, 1) for trial in self.running.values())
        rate = self.epochs / max(time.monotonic() - self._first_epoch, 1e-3)
        return to_do / rate if rate else None


class Trial:
    """A trial that runs."""

    def __init__(self, config: Mapping[str, Any], planned: int) -> None:
        self.config, self.planned = config, planned
        self.epoch, self.phase = 0, ""
        self.value: float | None = None

    def advance(self, line: EpochLine, metric: str) -> None:
        self.epoch, self.phase = line["epoch"], line["phase"]
        self.value = line["metrics"].get(metric)


def amount(spec: Spec) -> str:
    """`24 trials`, or `24 configurations with 3 seeds each`"""
    if spec.seeds.single:
        return counted(spec.trials, "trial")
    many = f"up to {spec.seeds.race} seeds" if spec.seeds.race is not None else f"{spec.seeds.repeat} seeds"
    return f"{counted(spec.trials, 'configuration')} with {many} each"

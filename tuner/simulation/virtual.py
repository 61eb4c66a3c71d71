"""The executor in Ray's place: lanes that replay recorded trials, in the order in which their epochs would have ended."""

from __future__ import annotations

import contextlib
import heapq
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tuner.machines.cluster import Share
from tuner.plain_json import load_json
from tuner.runs.events import Listener, Run
from tuner.runs.files import RunFiles
from tuner.runs.records import EpochLine
from tuner.runs.states import STATES
from tuner.search.scores import TrialScore
from tuner.space.spec import Spec
from tuner.tune.executor import Letters, NoLetters, Parts
from tuner.tune.result import TuneResult

from .nearest import Nearest
from .table import RecordedEpoch

STARTS = "starts.jsonl"  # when each trial was begun, by the virtual clock: the journal does not say
_NODE = "simulated"


class VirtualClock:
    """Stands still but for `now`, which the lanes set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Replay:
    """What was replayed: trials that have a row of their own, those that took the nearest one's, and those that went on beyond what was
    recorded of them, with their last metrics."""

    exact: int = 0
    nearest: int = 0
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """An executor. `lanes`: how many trials are trained at once."""

    nearest: Nearest
    lanes: int
    clock: VirtualClock
    replay: Replay = field(default_factory=Replay)

    def listeners(self) -> Sequence[Listener]:
        return ()

    @contextlib.contextmanager
    def session(self, run: Run, files: RunFiles) -> Iterator[Lanes]:
        files.open(STARTS)
        yield Lanes(simulator=self, files=files)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """As Ray Tune's: with its configuration, and the name that the searcher knows it by. `results`: those that are still to come, and
    when."""

    trial_id: str
    config: dict[str, Any]
    recorded: int  # its last epoch of which the metrics were recorded
    results: Iterator[tuple[float, TuneResult]]


@dataclass(frozen=True, kw_only=True, order=True)
class _Due:
    """What comes next of a trial, and when by the virtual clock. What comes at the same moment goes by the trials' numbers."""

    time: float
    number: int
    trial: _Trial = field(compare=False)
    result: TuneResult = field(compare=False)


class Lanes:
    """Replays the trials of one search. What is told to whom, and in which order, is that of Ray Tune's controller."""

    def __init__(self, *, simulator: Simulator, files: RunFiles) -> None:
        self.share = Share(cpu=1.0, gpu=0.0, slots=simulator.lanes)
        self.letters: Letters = NoLetters()
        self._simulator, self._files, self._clock = simulator, files, simulator.clock
        self._begun = _starts(files.folder / STARTS)
        self._due: list[_Due] = []

    def run(self, run: Run, parts: Parts) -> None:
        left = run.spec.most_trials - (0 if run.past is None else len(run.past.ends) + len(run.past.pruned))
        more, step = True, 0
        while True:
            for callback in parts.callbacks:
                callback.on_step_begin(step, [])
            if parts.control.requests.stop_all():
                return
            while more and left and len(self._due) < self.share.slots:
                config: Any = parts.searcher.suggest(str(left))
                if config is None:
                    break  # later
                more = config != Searcher.FINISHED
                if more:
                    self._begin(run, parts, str(left), config)
                    left -= 1
            if not self._due:
                return
            if self._clock.now < parts.control.until < self._due[0].time:
                self._clock.now = parts.control.until  # the time is up before anything else happens
                continue
            due = heapq.heappop(self._due)
            self._clock.now = max(self._clock.now, due.time)
            if self._goes_on(due, parts, step):
                self._wait(due.trial)
            step += 1

    def _begin(self, run: Run, parts: Parts, name: str, config: Mapping[str, Any]) -> None:
        number = int(config["trial"])
        before = run.past.open.get(number) if run.past is not None else None
        if number not in self._begun:
            self._begun[number] = round(self._clock.now, 3)
            self._files.append(STARTS, json.dumps([number, self._begun[number]]).encode() + b"\n")
        found, replay = self._simulator.nearest.find(config["config"]), self._simulator.replay
        replay.exact, replay.nearest = replay.exact + found.exact, replay.nearest + (not found.exact)
        epochs = as_long_as(found.trial.epochs, self._simulator.nearest.planned)
        results = _results(run.spec, number, epochs, after=0 if before is None else len(before.metrics))
        begun = self._begun[number]
        trial = _Trial(
            trial_id=name,
            config=dict(config),
            recorded=found.trial.epochs[-1].epoch,
            results=((begun + seconds, result) for seconds, result in results),
        )
        tune: Any = trial
        for callback in parts.callbacks:
            callback.on_trial_start(0, [], tune)
        self._wait(trial)

    def _wait(self, trial: _Trial) -> None:
        time, result = next(trial.results)
        heapq.heappush(self._due, _Due(time=time, number=result.trial, trial=trial, result=result))

    def _goes_on(self, due: _Due, parts: Parts, step: int) -> bool:
        """Tells everybody of the trial's epoch. False: it ends with that."""
        tune: Any = due.trial
        name, result = due.trial.trial_id, due.result.for_tune()
        ends = parts.control.requests(name, result) or due.result.ended is not None
        controller: Any = None  # neither of our schedulers asks for it
        self._simulator.replay.held += due.result.line is not None and due.result.line["epoch"] == due.trial.recorded + 1
        ends = ends or parts.scheduler.on_trial_result(controller, tune, result) == TrialScheduler.STOP
        if not ends:
            parts.searcher.on_trial_result(name, result)
        for callback in parts.callbacks:
            callback.on_trial_result(step, [], tune, result)
        if ends:
            parts.scheduler.on_trial_complete(controller, tune, result)
            parts.searcher.on_trial_complete(name, result)
            for callback in parts.callbacks:
                callback.on_trial_complete(step, [], tune)
        return not ends


def as_long_as(recorded: Sequence[RecordedEpoch], planned: int) -> list[RecordedEpoch]:
    """A trial of `planned` clustering epochs, cut out of a longer one; or a shorter one, whose last metrics are held to the end."""
    clustering = 0
    for place, epoch in enumerate(recorded, 1):
        clustering += epoch.cluster_epoch is not None
        if epoch.ended is not None and STATES[epoch.ended].worst:
            return list(recorded[:place])
        if clustering == planned:
            return [*recorded[: place - 1], replace(epoch, ended="complete")]
    last = recorded[-1]
    if last.ended is not None:  # by a condition of its model
        return list(recorded)
    usual = statistics.median(epoch.seconds for epoch in recorded)
    more = [replace(last, epoch=last.epoch + i, cluster_epoch=clustering + i, seconds=usual) for i in range(1, planned - clustering + 1)]
    return [*recorded, *more[:-1], replace(more[-1], ended="complete")]


def _results(spec: Spec, number: int, epochs: Sequence[RecordedEpoch], *, after: int) -> Iterator[tuple[float, TuneResult]]:
    """What a trial reports, each with the seconds since it began, from the first epoch on that is not in the journal; its last epoch at
    least."""
    score, seconds = TrialScore(spec), 0.0
    before: list[EpochLine] = []
    for epoch in epochs:
        seconds += epoch.seconds
        line: EpochLine = {
            "trial": number, "epoch": epoch.epoch, "phase": epoch.phase, "cluster_epoch": epoch.cluster_epoch, "metrics": epoch.metrics,
        }  # fmt: skip
        worst = epoch.ended is not None and STATES[epoch.ended].worst
        if epoch.ended is not None:
            line["ended"] = epoch.ended
        if epoch.cluster_epoch is None and not worst:
            before.append(line)
            continue
        if not worst:
            score.add(epoch.metrics[spec.metric.name])
        value = spec.metric.worst if worst else score.value
        if epoch.epoch > after or epoch is epochs[-1]:
            brought, before = before, []
            yield seconds, TuneResult(trial=number, node=_NODE, ended=epoch.ended, before=brought, line=line, score=value)


def _starts(path: Path) -> dict[int, float]:
    """When each trial was begun; of a torn last line nothing."""
    found = {}
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        with contextlib.suppress(ValueError):
            number, time = load_json(line)
            found[int(number)] = float(time)
    return found

"""A run read back from its folder."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from tuner.errors import UserError, did_you_mean
from tuner.space.dominance import fronts
from tuner.space.metric import Metric
from tuner.space.seeding import Seeds
from tuner.space.warm import WARM, WARM_FILE, WARM_WEIGHTS
from tuner.text import counted, near
from tuner.text import number as in_figures

from .configurations import Configuration, ranked
from .events import TrialEnd
from .journal import json_object, read_lines, read_status
from .ledger import Ledger, LedgerCount
from .paths import JOURNAL, SPEC
from .records import About, EndLine, EpochLine, Status, wrong_about
from .states import STATES

# --- reading a run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run read back. `metric`, `goal` (maximize | minimize) and `score` (last | max | mean_last_5) say what was searched for.
    `labels`: how often labels were looked at. `because`: which rule of the space ended it, and what that saw."""

    name: str
    folder: Path
    spec_json: About
    status: str  # running | done | stopped | failed
    metric: str
    goal: Literal["maximize", "minimize"]
    score: str
    trials: tuple[TrialEnd, ...]  # by number
    epochs: int  # of all trials together
    seconds: float
    labels: Ledger = field(default_factory=Ledger)
    because: str | None = None

    def ranked(self) -> list[TrialEnd]:
        """The complete trials, best first. Of configurations with several seeds each is one: see `Configuration.end`."""
        return [found.end for found in self.configurations()]

    def configurations(self) -> list[Configuration]:
        """The configurations that count, best first: where each has one seed, the complete trials. Where several metrics decide, front
        after front, and in each by the first of them."""
        metric = Metric(name=self.metric, goal=self.goal)
        found = ranked(self.trials, self.seeds, metric, self.metrics[1:])
        if len(self.metrics) == 1:
            return found
        front = fronts({one.number: [m.rank(one.end.metrics[m.name]) for m in self.metrics] for one in found})
        return sorted(found, key=lambda one: front[one.number])

    @property
    def metrics(self) -> list[Metric]:
        """Those that decide; the first is `metric`."""
        several = self.spec_json.get("metrics") or [{"name": self.metric, "goal": self.goal}]
        return [Metric(name=one["name"], goal=one["goal"]) for one in several]

    def front(self) -> list[TrialEnd]:
        """Where several metrics decide: the complete trials that none dominates, by the first metric."""
        found = self.configurations()
        front = fronts({one.number: [m.rank(one.end.metrics[m.name]) for m in self.metrics] for one in found})
        return [one.end for one in found if front[one.number] == 0]

    @property
    def seeds(self) -> Seeds:
        """On how many seeds each configuration was tried."""
        return Seeds.of(self.spec_json.get("seeds"))

    def best(self) -> TrialEnd | None:
        """The best of the complete trials; of equal ones the first."""
        return next(iter(self.ranked()), None)

    @property
    def _earlier(self) -> list[dict[str, Any]]:
        """The runs that it was warm-started from."""
        return list(self.spec_json.get("earlier", {}).get("runs", ()))

    def in_sentences(self) -> Iterator[str]:
        """What its sampler was told of earlier runs, which trials started from others' weights, and which rule ended it."""
        for run in self._earlier:
            out = f"; {run['left_out']} lie outside this space and were left out ({run['why']})" if run["left_out"] else ""
            yield f"Warm start: the sampler was told of {counted(run['told'], 'complete trial')} of {near(Path(run['run']))}{out}."
        for end in self.warm():
            value = end.score if end.score is not None else end.metrics.get(self.metric)
            came = f"{self.metric} {in_figures(value, self.metric)}" if value is not None else "no figure yet"
            yield (
                f"Warm-started: trial {end.trial}, from the weights of trial {end.warm}{_of_file(end)}, is {end.state}, {came}. That is "
                "not comparable with trials that start cold: it is never the best, and is not confirmed."
            )
        if self.because is not None:
            yield f"Ended before all its trials were tried: {self.because}."

    def warm(self) -> list[TrialEnd]:
        """The trials that started from another's weights, by number. Their figures are compared with no other trial's."""
        return [end for end in self.trials if end.warm is not None]

    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        return {state: sum(t.state == state for t in self.trials) for state in STATES}

    def summary(self) -> dict[str, Any]:
        """What `tuner show --json` prints."""
        best = self.best()
        return {
            "name": self.name,
            "status": self.status,
            **({"because": self.because} if self.because else {}),
            "metric": self.metric,
            "best": None if best is None else self._best_summary(),
            "trials": self.counts(),
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            **({"from": self._earlier} if self._earlier else {}),
            "labels": self.labels.summary(),
            **({"warm": [_warm_summary(end) for end in self.warm()]} if self.warm() else {}),
            **self._front_summary(),
        }

    def _front_summary(self) -> dict[str, Any]:
        names = [metric.name for metric in self.metrics]
        front = [{"trial": end.trial, "metrics": {name: end.metrics[name] for name in names}} for end in self.front()]
        return {} if len(names) == 1 else {"metrics": names, "front": front}

    def _best_summary(self) -> dict[str, Any]:
        best = self.configurations()[0]
        found = {"trial": best.end.trial, "metrics": dict(best.end.metrics), "config": dict(best.end.config)}
        return found if self.seeds.single else found | {"mean": best.end.score, "sd": dict(best.sd), "scores": list(best.scores)}


def read_run(folder: Path) -> Results:
    """The run in `folder`.

    Raises:
        UserError: there is no run, or what is there is damaged.
    """
    if not os.path.isfile(folder / SPEC):  # noqa: PTH113 - Path.is_file raises where a name is too long to be one
        raise no_such_run(folder)
    about = cast("About", json_object(folder / SPEC, wrong_about))
    status = read_status(folder)
    now = _status_now(status)
    journal, looks = _Journalled(), LedgerCount(about)
    if (folder / JOURNAL).exists():
        for line in read_lines(folder / JOURNAL):
            journal.add(line)
            looks.add(line)
    return Results(
        name=str(about.get("name", folder.name)),
        folder=folder,
        spec_json=about,
        status=now,
        metric=about["metric"]["name"],
        goal=about["metric"]["goal"],
        score=about.get("score", "last"),
        trials=tuple(journal.trials("running" if now == "running" else "unfinished")),
        epochs=sum(journal.epochs.values()),
        seconds=_seconds(status, journal.times, running=now == "running"),
        labels=looks.ledger(),
        because=status.get("because"),
    )


def _of_file(end: TrialEnd) -> str:
    return f" ({end.config[WARM_FILE]})" if WARM_FILE in end.config else ""


def _warm_summary(end: TrialEnd) -> dict[str, Any]:
    known = {"trial": end.trial, "from": end.warm, "file": end.config.get(WARM_FILE), "weights": end.config.get(WARM_WEIGHTS)}
    return known | {"state": end.state, "score": end.score, "metrics": dict(end.metrics)}


class _Journalled:
    """A journal's lines, put together by trial."""

    def __init__(self) -> None:
        self.ends: dict[int, EndLine] = {}
        self.last: dict[int, EpochLine] = {}
        self.epochs: Counter[int] = Counter()
        self.times: list[float] = []  # of the first line and the last

    def add(self, line: EpochLine | EndLine) -> None:
        number = line["trial"]
        self.times[1:] = [float(line.get("time", 0.0))]
        if "state" in line:
            self.ends[number] = line
        else:
            self.ends.pop(number, None)  # it was interrupted, and goes on
            self.last[number] = line
            self.epochs[number] += 1

    def trials(self, without_end: str) -> Iterator[TrialEnd]:
        """By number. `without_end`: the state of those that have none. The epochs are those of the journal: a trial may share others."""
        for number in sorted(self.ends.keys() | self.last.keys()):
            if number in self.ends:
                yield replace(TrialEnd.of(self.ends[number]), epochs=self.epochs[number])
            else:
                last = self.last[number]
                known = {WARM: last["warm"]} if "warm" in last else {}
                yield TrialEnd(trial=number, state=without_end, config=known, metrics=last["metrics"], epochs=self.epochs[number])


def _seconds(status: Status, times: Sequence[float], *, running: bool) -> float:
    """How long all drivers together took. `times`: of the journal, for a driver that died or an older tuner."""
    since = float(status.get("since", status.get("started", times[0] if times else 0.0)))
    until = float(status.get("ended", time.time() if running else times[-1] if times else since))
    return float(status.get("seconds", status.get("before", 0.0) + max(0.0, until - since)))


def no_such_run(folder: Path) -> UserError:
    siblings = [path.name for path in _run_folders(folder.parent)]
    return UserError(f"There is no run '{folder}'.{did_you_mean(folder.name, siblings)} `tuner ls` lists them.")


def _status_now(status: Status) -> str:
    """What the file says, unless it says `running` of a process on this machine that is gone."""
    written = status.get("status", "failed")
    if written != "running" or status.get("host") != socket.gethostname():
        return written
    try:
        os.kill(int(status["pid"]), 0)
    except ProcessLookupError:
        return "failed"
    except PermissionError:  # alive, and another user's
        return written
    return written


def list_runs(out: Path) -> tuple[list[Results], list[UserError]]:
    """All runs under `out`, oldest first; and of each that is damaged, what is wrong with it."""
    found: list[tuple[float, Results]] = []
    damaged = []
    for folder in _run_folders(out):
        try:
            found.append((float(read_status(folder).get("started", 0.0)), read_run(folder)))
        except UserError as error:
            damaged.append(error)
    return [run for _, run in sorted(found, key=lambda one: (one[0], one[1].name))], damaged


def _run_folders(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob(f"*/{SPEC}")) if os.path.isdir(out) else []  # noqa: PTH112

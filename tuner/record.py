"""What happens in a search, as events; the journal that keeps them; and a run read back from its folder.

`results.jsonl` is the truth that every table is made from. One line per trial and epoch, `{"trial", "epoch", "phase",
"cluster_epoch", "metrics", "time"}`, and one when a trial ends, `{"trial", "state", "config", "score", "metrics", "epochs",
"seconds", "reason", "time"}`, with a `traceback` where it raised, and `asked_for` where a person asked for its configuration. `time`
is the driver's clock in seconds since 1970. A trial that was interrupted has an end `stopped`, and where the search was resumed its
further epochs and another end after that; with `for_good` it was stopped by itself, and does not go on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from .errors import UserError, did_you_mean
from .plain_json import load_json
from .run_files import STATES, wrong_about, wrong_line, wrong_status

if TYPE_CHECKING:
    from .spec import Spec
    from .spill import RunFiles

logger = logging.getLogger("tuner")

JOURNAL, STUDY, STATUS, SPEC, SPACE = "results.jsonl", "study.journal", "status.json", "spec.json", "space.yaml"

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

    @cached_property
    def files(self) -> RunFiles:
        """What its driver writes."""
        from .spill import RunFiles

        return RunFiles(self.folder, str(self.info.get("id", self.name)))


@dataclass(frozen=True, kw_only=True)
class Past:
    """What happened in a run before this driver's time. `ends`: of trials that are over. `pruned`: of those that were to stop, which
    nobody wrote down any more. `open`: the trials that go on, by number."""

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


@dataclass(frozen=True, kw_only=True)
class TrialEnd:
    """How a trial ended. `metrics` are those of the epoch that the score was taken from; `score` is None where none counts."""

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

    @property
    def is_over(self) -> bool:
        """Whether it stays so: what was stopped with its search goes on with it."""
        return self.state != "stopped" or self.for_good

    def line(self, now: float) -> dict[str, Any]:
        """The journal's line."""
        line = {
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
        rare = {"traceback": self.traceback, "asked_for": self.asked_for, "for_good": self.for_good}
        return line | {name: value for name, value in rare.items() if value}


class Listener(Protocol):
    """Whoever wants to know. All calls come in order, from one thread of the driver's process."""

    def search_started(self, run: Run) -> None: ...

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        """`config`: every hyper-parameter under its dotted name, and the trial's `seed`."""

    def epoch_ended(self, trial: int, line: dict[str, Any]) -> None:
        """`line`: what the journal keeps."""

    def trial_ended(self, end: TrialEnd) -> None: ...

    def search_ended(self, status: str) -> None:
        """`status`: done | stopped | failed."""


class Listeners:
    """The journal, and others after it. Another's failure is told once and ends its listening, never the search."""

    def __init__(self, journal: Listener, others: Sequence[Listener]) -> None:
        self._journal = journal
        self._others = list(others)

    def search_started(self, run: Run) -> None:
        self._journal.search_started(run)
        self._tell(lambda other: other.search_started(run))

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        self._journal.trial_started(trial, config)
        self._tell(lambda other: other.trial_started(trial, config))

    def epoch_ended(self, trial: int, line: dict[str, Any]) -> None:
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


# --- the journal -------------------------------------------------------------------------------------------------------


class Journal:
    """Appends to `results.jsonl` and flushes every line; `status.json` says whether the search goes on, and where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: RunFiles | None = None
        self._started, self._before, self._since = 0.0, 0.0, 0.0  # its first driver; seconds of earlier ones; this one

    def search_started(self, run: Run) -> None:
        path = self.folder / JOURNAL
        if path.exists():
            _cut_torn_line(path)
        self._files = run.files
        self._files.open(JOURNAL)
        self._since = time.time()
        self._started = _read_status(self.folder).get("started", self._since)
        self._before = 0.0 if run.past is None else run.past.seconds
        clock = {"started": self._started, "since": self._since, "before": self._before}
        self._write_status({"status": "running", **clock, "host": socket.gethostname(), "pid": os.getpid()})

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        pass  # the study keeps what was asked; a trial's first line is its first epoch

    def epoch_ended(self, trial: int, line: dict[str, Any]) -> None:
        self._append(line)

    def trial_ended(self, end: TrialEnd) -> None:
        self._append(end.line(time.time()), sync=True)  # an epoch may be lost to a power cut, a finished trial not

    def search_ended(self, status: str) -> None:
        now = time.time()
        seconds = self._before + now - self._since
        self._write_status({"status": status, "started": self._started, "ended": now, "seconds": seconds})

    def _append(self, line: dict[str, Any], *, sync: bool = False) -> None:
        assert self._files is not None, "the search has not started"
        self._files.append(JOURNAL, json.dumps(line, allow_nan=False).encode() + b"\n", sync=sync)

    def _write_status(self, status: dict[str, Any]) -> None:
        assert self._files is not None, "the search has not started"
        self._files.write(STATUS, json.dumps(status) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Whoever reads `path` finds the old text or the new one, never half."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """A journal's lines. A torn last one is left out.

    Raises:
        UserError: a line is damaged that is not the last one.
    """
    for line, _ in _lines_with_ends(path):
        yield line


def _lines_with_ends(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Every whole line, and the position in the file where it ends."""
    end = 0
    with _opened(path) as file:
        following = file.readline()
        number = 0
        while following:
            raw, following = following, file.readline()
            number, end = number + 1, end + len(raw)
            try:
                line = load_json(raw)
            except ValueError:
                if not following:
                    return  # torn: the power went while it was written
                line = None
            wrong = wrong_line(line)
            if wrong is not None:
                raise UserError(
                    f"{path}:{number}: the journal is damaged here: {wrong}. Nothing was changed. Bring the file back from "
                    "a copy; what it holds elsewhere is sound as far as it could be read."
                )
            yield line, end


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _cut_torn_line(path: Path) -> None:
    """Makes the file end with a whole line, so that one may be appended."""
    end = 0
    for _, position in _lines_with_ends(path):
        end = position
    with path.open("r+b") as file:
        file.truncate(end)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _read_status(folder: Path) -> dict[str, Any]:
    path = folder / STATUS
    return _json_object(path, wrong_status) if path.exists() else {}


def _json_object(path: Path, wrong_with: Callable[[dict[str, Any]], str | None]) -> dict[str, Any]:
    try:
        content = load_json(path.read_bytes())
        wrong = wrong_with(content) if isinstance(content, dict) else "it should hold one JSON object"
    except (OSError, ValueError) as error:
        content, wrong = {}, getattr(error, "strerror", None) or str(error)
    if wrong:
        raise UserError(f"{path} cannot be read: {wrong}. Nothing was changed. Bring the file back from a copy.")
    return dict(content)


# --- reading a run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial as the journal knows it. `state`: one of STATES; `running` or `unfinished` where no end was written."""

    trial: int
    state: str
    config: Mapping[str, Any]
    score: float | None
    metrics: Mapping[str, float]
    epochs: int
    seconds: float = 0.0
    reason: str | None = None
    traceback: str | None = None
    asked_for: bool = False
    for_good: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it stays as it is when the search goes on."""
        return self.state in STATES and (self.state != "stopped" or self.for_good)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A run read back. `metric`, `goal` (maximize | minimize) and `score` (last | max | mean_last_5) say what was searched for."""

    name: str
    folder: Path
    spec_json: dict[str, Any]
    status: str  # running | done | stopped | failed
    metric: str
    goal: str
    score: str
    trials: tuple[TrialRecord, ...]  # by number
    epochs: int  # of all trials together
    seconds: float

    def ranked(self) -> list[TrialRecord]:
        """The complete trials, best first."""
        complete = [t for t in self.trials if t.state == "complete" and t.score is not None]
        sign = -1.0 if self.goal == "maximize" else 1.0
        return sorted(complete, key=lambda t: (sign * float(t.score or 0.0), t.trial))

    def best(self) -> TrialRecord | None:
        """The best of the complete trials; of equal ones the first."""
        return next(iter(self.ranked()), None)

    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        return {state: sum(t.state == state for t in self.trials) for state in STATES}

    def summary(self) -> dict[str, Any]:
        """What `tuner show --json` prints."""
        best = self.best()
        return {
            "name": self.name,
            "status": self.status,
            "metric": self.metric,
            "best": None if best is None else {"trial": best.trial, "metrics": dict(best.metrics), "config": dict(best.config)},
            "trials": self.counts(),
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
        }


def read_run(folder: Path) -> Results:
    """The run in `folder`.

    Raises:
        UserError: there is no run, or what is there is damaged.
    """
    if not os.path.isfile(folder / SPEC):  # noqa: PTH113 - Path.is_file raises where a name is too long to be one
        raise no_such_run(folder)
    spec = _json_object(folder / SPEC, wrong_about)
    status = _read_status(folder)
    now = _status_now(status)
    ends: dict[int, dict[str, Any]] = {}
    last: dict[int, dict[str, Any]] = {}
    epochs: dict[int, int] = {}
    times: list[float] = []
    if (folder / JOURNAL).exists():
        for line in read_lines(folder / JOURNAL):
            number = line["trial"]
            times[1:] = [float(line.get("time", 0.0))]
            if "state" in line:
                ends[number] = line
            else:
                ends.pop(number, None)  # it was interrupted, and goes on
                last[number] = line
                epochs[number] = epochs.get(number, 0) + 1
    trials = [
        _ended(ends[number], epochs.get(number, 0))
        if number in ends
        else TrialRecord(
            trial=number,
            state="running" if now == "running" else "unfinished",
            config={},
            score=None,
            metrics=last[number]["metrics"],
            epochs=epochs[number],
        )
        for number in sorted(ends.keys() | last.keys())
    ]
    since = float(status.get("since", status.get("started", times[0] if times else 0.0)))
    until = float(status.get("ended", time.time() if now == "running" else times[-1] if times else since))
    seconds = float(status.get("seconds", status.get("before", 0.0) + max(0.0, until - since)))
    return Results(
        name=str(spec.get("name", folder.name)),
        folder=folder,
        spec_json=spec,
        status=now,
        metric=str(spec["metric"]["name"]),
        goal=str(spec["metric"]["goal"]),
        score=str(spec.get("score", "last")),
        trials=tuple(trials),
        epochs=sum(epochs.values()),
        seconds=seconds,
    )


def no_such_run(folder: Path) -> UserError:
    siblings = [path.name for path in _run_folders(folder.parent)]
    return UserError(f"There is no run '{folder}'.{did_you_mean(folder.name, siblings)} `tuner ls` lists them.")


def _ended(line: Mapping[str, Any], epochs: int) -> TrialRecord:
    score = line.get("score")
    return TrialRecord(
        trial=line["trial"],
        state=line["state"],
        config=line["config"],
        score=None if score is None else float(score),
        metrics=line["metrics"],
        epochs=epochs,
        seconds=float(line.get("seconds", 0.0)),
        reason=line.get("reason"),
        traceback=line.get("traceback"),
        asked_for=bool(line.get("asked_for")),
        for_good=bool(line.get("for_good")),
    )


def _status_now(status: Mapping[str, Any]) -> str:
    """What the file says, unless it says `running` of a process on this machine that is gone."""
    said = str(status.get("status", "failed"))
    if said != "running" or status.get("host") != socket.gethostname():
        return said
    try:
        os.kill(int(status["pid"]), 0)
    except ProcessLookupError:
        return "failed"
    except PermissionError:  # alive, and somebody else's
        return said
    return said


def list_runs(out: Path) -> tuple[list[Results], list[UserError]]:
    """All runs under `out`, oldest first; and of each that is damaged, what is wrong with it."""
    found: list[tuple[float, Results]] = []
    damaged = []
    for folder in _run_folders(out):
        try:
            found.append((float(_read_status(folder).get("started", 0.0)), read_run(folder)))
        except UserError as error:
            damaged.append(error)
    return [run for _, run in sorted(found, key=lambda one: (one[0], one[1].name))], damaged


def _run_folders(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob(f"*/{SPEC}")) if os.path.isdir(out) else []  # noqa: PTH112

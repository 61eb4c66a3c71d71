"""Recorded trials: the epochs of many configurations, with the seconds that each epoch took. Made of a run, kept in one file."""

from __future__ import annotations

import gzip
import itertools
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.atomic import whole
from tuner.errors import UserError
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL, SPEC
from tuner.runs.records import EndLine, EpochLine
from tuner.runs.results import Results, read_run
from tuner.space.warm import WARM

FORMAT = 1
_LIKE_A_PAUSE = 10.0  # an epoch that took so many times the trial's median: the search was interrupted in it


@dataclass(frozen=True, kw_only=True)
class RecordedEpoch:
    """An epoch, and the seconds that it took. `ended`: how the trial ended with it by itself."""

    epoch: int
    phase: str
    cluster_epoch: int | None  # None in pre-training
    metrics: Mapping[str, float]
    seconds: float
    ended: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """`config`: every hyper-parameter, weight and switch, and the `seed`."""

    config: Mapping[str, Any]
    state: str
    epochs: Sequence[RecordedEpoch]


@dataclass(frozen=True, kw_only=True)
class Table:
    """`about`: the model, the data set and the epochs of what was recorded, the commit and the hardware. `name`: how to call it."""

    name: str
    about: Mapping[str, Any]
    trials: Sequence[RecordedTrial]

    @staticmethod
    def read(path: Path) -> Table:
        """A file that `write` wrote, or the folder of a run.

        Raises:
            UserError: it is neither, or holds no trial that can be replayed.
        """
        found = _of_run(path) if (path / SPEC).is_file() else _of_file(path)
        if not found.trials:
            raise UserError(f"{path} holds no trial with an epoch: there is nothing to replay. Name a run, or a table, of finished trials.")
        return found

    def write(self, path: Path) -> None:
        """As lines of JSON, compressed: first `about`, then a line per trial."""
        lines = [{"tuner table": FORMAT, **self.about}, *(_packed(trial) for trial in self.trials)]
        text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        with whole(path) as unfinished:
            unfinished.write_bytes(gzip.compress(text.encode(), mtime=0))


def _packed(trial: RecordedTrial) -> dict[str, Any]:
    epochs = [[e.epoch, e.phase, e.cluster_epoch, round(e.seconds, 4), e.ended] for e in trial.epochs]
    names = sorted({name for e in trial.epochs for name in e.metrics} - {"samples_per_s"})
    metrics = {name: [e.metrics.get(name) for e in trial.epochs] for name in names}
    return {"config": dict(trial.config), "state": trial.state, "epochs": epochs, "metrics": metrics}


def _unpacked(line: Mapping[str, Any]) -> RecordedTrial:
    epochs = [
        RecordedEpoch(
            epoch=epoch,
            phase=phase,
            cluster_epoch=cluster_epoch,
            seconds=seconds,
            ended=ended,
            metrics={name: values[place] for name, values in line["metrics"].items() if values[place] is not None},
        )
        for place, (epoch, phase, cluster_epoch, seconds, ended) in enumerate(line["epochs"])
    ]
    return RecordedTrial(config=line["config"], state=line["state"], epochs=epochs)


def _of_file(path: Path) -> Table:
    try:
        raw = path.read_bytes()
    except OSError as error:
        what = "is the folder of no run" if path.is_dir() else f"cannot be read: {error.strerror or error}"
        raise UserError(f"--table {path} {what}. Name a run's folder, or a table that one was recorded into.") from error
    try:
        head, *lines = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
        if head["tuner table"] != FORMAT:
            raise UserError(f"--table {path} has format {head['tuner table']}; this version of tuner reads format {FORMAT}.")
        return Table(name=path.name, about=head, trials=[_unpacked(line) for line in lines])
    except UserError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"--table {path} is no table of recorded trials. Name a run's folder, or a table that one was recorded into."
        ) from error


def _of_run(folder: Path) -> Table:
    results = read_run(folder)
    return Table(name=results.name, about=_about(results), trials=list(_trials(read_lines(folder / JOURNAL))) if results.epochs else [])


def _about(results: Results) -> dict[str, Any]:
    spec = results.spec_json
    names = ("model", "dataset", "metric", "epochs", "commit", "hardware", "versions", "parameters")
    return {name: spec[name] for name in names if name in spec} | {"run": results.name}  # type: ignore[literal-required]


def _trials(lines: Iterable[EpochLine | EndLine]) -> Iterator[RecordedTrial]:
    """Those that ended by themselves or were stopped early, by number; none that started from another's weights."""
    epochs: dict[int, list[EpochLine]] = {}
    ends: dict[int, EndLine] = {}
    for line in lines:
        if "state" in line:
            ends[line["trial"]] = line
        else:
            epochs.setdefault(line["trial"], []).append(line)
    for trial, end in sorted(ends.items()):
        if end["state"] not in ("failed", "stopped") and epochs.get(trial) and WARM not in end["config"]:
            own = epochs[trial]
            yield RecordedTrial(config=end["config"], state=end["state"], epochs=[*map(_recorded, own, _seconds(own, end))])


def _recorded(line: EpochLine, seconds: float) -> RecordedEpoch:
    metrics = {name: value for name, value in line["metrics"].items() if name != "samples_per_s"}
    ended = line.get("ended")
    return RecordedEpoch(
        epoch=line["epoch"], phase=line["phase"], cluster_epoch=line["cluster_epoch"], metrics=metrics, seconds=seconds, ended=ended
    )


def _seconds(epochs: Sequence[EpochLine], end: EndLine) -> list[float]:
    """Of each epoch, by the times of the journal: of the first what the trial's own seconds leave for it."""
    times = [line.get("time", 0.0) for line in epochs]
    later = [max(0.0, after - before) for before, after in itertools.pairwise(times)]
    usual = statistics.median(later) if later else end["seconds"]
    later = [usual if one > _LIKE_A_PAUSE * max(usual, 0.1) else one for one in later]
    first = end["seconds"] - sum(later)
    return [first if first > 0 else usual, *later]

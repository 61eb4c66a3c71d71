"""Searches that are interrupted and go on, and how they are compared."""

import os
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from kit.one_ray import OneRay
from tuner.runs.journal import read_lines
from tuner.runs.lock import LOCK
from tuner.runs.paths import STUDY
from tuner.runs.results import read_run
from tuner.search import trainer
from tuner.search.study import open_storage
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.space.reader import read_space

SPACE = """
model: kmeans
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
score: max
trials: 8
epochs: 9
early_terminate: {type: asha, grace: 2, reduction: 2}
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 60}
  n_init: {values: [1, 3]}
"""


def one_at_a_time(folder: Path, space: str = SPACE) -> Path:
    """A space's file in which a trial takes all of the session's Ray, so that order is certain."""
    import ray

    path = folder / "space.yaml"
    path.write_text(space.replace("CPU", str(int(ray.cluster_resources()["CPU"]))))
    return path


@pytest.fixture(scope="session")
def through(tmp_path_factory: pytest.TempPathFactory, ray_here: OneRay) -> Outcome:
    """The search that nothing interrupted."""
    ray_here.up()
    folder = tmp_path_factory.mktemp("through")
    outcome = search(read_space(str(one_at_a_time(folder))), SearchOptions(out=folder / "runs", name="s"))
    states = outcome.results.counts()
    assert outcome.status == "done" and states["pruned"] and states["complete"] > 1, states
    return outcome


@pytest.fixture
def always_checkpointed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY_S", 0.0)


class Heard:
    """Notes what was trained, and does something once at an epoch of a trial."""

    def __init__(self, at: tuple[int, int] | None = None, number: int = signal.SIGINT) -> None:
        self.at, self.number = at, number
        self.started: list[int] = []
        self.epochs: list[tuple[int, int]] = []

    def trial_started(self, number: int, config: object) -> None:
        self.started.append(number)

    def epoch_ended(self, number: int, line: dict[str, Any]) -> None:
        self.epochs.append((number, line["epoch"]))
        if (number, line["epoch"]) == self.at:
            os.kill(os.getpid(), self.number)

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


def plain(folder: Path) -> tuple[Any, ...]:
    """What must be the same however often a search was interrupted: all but times, and ends that were none."""
    lines = []
    for line in read_lines(folder / "results.jsonl"):
        if line.get("state") != "stopped":
            kept = {key: value for key, value in line.items() if key not in ("time", "seconds")}
            lines.append(kept | {"metrics": {k: v for k, v in line["metrics"].items() if k != "samples_per_s"}})
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder / STUDY))
    trials = [(t.number, t.state.name, t.params, t.values, t.intermediate_values, t.user_attrs) for t in study.trials]
    best = yaml.safe_load((folder / "best.yaml").read_text())
    best["metrics"].pop("samples_per_s")
    return lines, trials, best, study.user_attrs


def same(one: Path, other: Path) -> None:
    for ours, theirs in zip(plain(one), plain(other), strict=True):
        assert ours == theirs
    assert read_run(one).status == "done"
    assert not (one / "checkpoints").exists() and not (one / LOCK).exists()
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}

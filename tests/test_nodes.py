"""Searches on a real Ray cluster of two nodes, one of which is no good."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tuner.driver import Outcome, SearchOptions, search
from tuner.quarantine import IN_A_ROW
from tuner.ray_cluster import protect_token
from tuner.spec import read_space
from tuner.trial import Report

SPACE = """
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
trials: 6
epochs: 3
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 200}
"""
ROOM = {"num_cpus": 1, "object_store_memory": 100_000_000}


@dataclass(frozen=True)
class Script:
    """Stands in for `Trainer`: dies on the bad node; elsewhere every trial has three epochs, the later ones while others die."""

    folder: Path
    spill: Path | None = None

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        if "BAD" in os.environ:
            (self.folder.parent / f"death {time.time_ns()}").touch()
            os._exit(1)
        for epoch in (1, 2, 3):
            line = {"trial": trial, "epoch": epoch, "phase": "p", "cluster_epoch": epoch, "metrics": {"acc": 0.5}}
            yield Report(line=line, score=0.5, ended="complete" if epoch == 3 else None, reason=None)
            while len(list(self.folder.parent.glob("death *"))) < {1: IN_A_ROW - 1, 2: IN_A_ROW}.get(epoch, 0):
                time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    protect_token()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    cluster = Cluster(initialize_head=True, head_node_args={**ROOM, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Begins:
    """Does something when the first trial begins."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = [do]

    def trial_started(self, trial: int, config: object) -> None:
        if self._do:
            self._do.pop()()

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


def run(tmp_path: Path, cluster: Cluster, listener: Begins) -> Outcome:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return search(read_space(str(path)), SearchOptions(out=tmp_path / "runs", address=cluster.address, listeners=(listener,)))


def test_nodes_that_are_no_good_get_no_more_trials_and_none_is_lost_through_them(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On one every process dies. On another, which joins while the search runs, a package is of another version."""
    packages = tmp_path / "packages" / "optuna-1.2.3.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: optuna\nVersion: 1.2.3\n")
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setattr("tuner.trial.Trainer", lambda **given: Script(given["folder"]))
    bad = cluster.add_node(**ROOM, env_vars={"BAD": "1"})
    other = {"PYTHONPATH": f"{packages.parent}{os.pathsep}{path}"}
    with caplog.at_level(logging.WARNING, logger="tuner"):
        outcome = run(tmp_path, cluster, Begins(lambda: cluster.add_node(**ROOM, env_vars=other)))
    assert [t.state for t in outcome.results.trials] == ["complete"] * 6
    assert len(list((tmp_path / "runs").glob("death *"))) == IN_A_ROW
    said = sorted(message for message in caplog.messages if "gets no further trial" in message)
    assert len(said) == 2
    where = f"{os.uname().nodename} ({bad.node_ip_address})"
    last = f"Node {where} gets no further trial of this search"
    assert said[0].startswith(f"{last}: the last 3 failed there, others do well. the trial's process is gone: ")
    assert said[1].startswith(f"{bad.node_ip_address} does not have the driver's code: optuna 1.2.3, at the driver ")
    assert "Install the same on every machine" in said[1] and said[1].endswith(f"{last}.")

"""Searches on a real Ray cluster of two nodes, one of which is no good."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from tuner.machines import probe
from tuner.machines.token import protect_token
from tuner.machines.versions import OtherCode
from tuner.search.trainer import Report
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.space.reader import read_space
from tuner.tune.actor import SearchContext, trainable
from tuner.tune.quarantine import IN_A_ROW

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
    fallback: Path | None = None

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
def cluster(without_ray: None) -> Iterator[Cluster]:
    protect_token()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    cluster = Cluster(initialize_head=True, head_node_args={**ROOM, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def run(tmp_path: Path, cluster: Cluster) -> Outcome:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return search(read_space(str(path)), SearchOptions(out=tmp_path / "runs", address=cluster.address))


@pytest.mark.slow
def test_a_node_where_trials_keep_dying_gets_no_more_and_no_trial_is_lost_through_it(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.search.trainer.Trainer", lambda **given: Script(given["folder"]))
    bad = cluster.add_node(**ROOM, env_vars={"BAD": "1"})
    with caplog.at_level(logging.WARNING, logger="tuner"):
        outcome = run(tmp_path, cluster)
    assert [t.state for t in outcome.results.trials] == ["complete"] * 6
    assert len(list((tmp_path / "runs").glob("death *"))) == IN_A_ROW
    (said,) = [message for message in caplog.messages if "gets no further trial" in message]
    assert said.startswith(f"Node {os.uname().nodename} ({bad.node_ip_address}) gets no further trial of this search: the last 3 ")
    assert "failed there, others do well. the trial's process is gone: " in said


def test_a_process_with_other_code_trains_nothing_and_says_what_differs() -> None:
    code = {**probe.versions(), "optuna": "1.2.3", "tuner": None}
    context = SearchContext(name="s", cpu=1, gpu=0, mailbox="", trainer=b"not even read", code=code)
    actor = trainable(context)({"trial": 0, "config": {}, "outside": []})
    with pytest.raises(OtherCode) as error:
        actor.step()
    here = probe.versions()
    assert str(error.value).endswith(
        f" does not have the driver's code: optuna {here['optuna']}, at the driver 1.2.3; tuner with code {here['tuner']}, at the "
        "driver absent. Install the same on every machine, from one wheel or one image: trials run that code, not this machine's."
    )

"""Run as a program: a search with a URI for `--out`, on a cluster of two nodes of which one only trains. Its trials are killed once, in
the middle. Prints what the journal and the folders of both sides came to as JSON.

A process of its own, with HOME in its environment: the nodes' folders lie there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from tuner.clusters import local

from tuner.machines.token import protect_token
from tuner.search import trainer
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space
from tuner.stores.store import Store, local_place
from tuner.tune.callback import TuneCallback

SPACE = """
model: dec
dataset: {name: digits, limit: 100}
metric: {name: nmi, goal: maximize}
trials: 2
epochs: 4
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  pretrain_epochs: {value: 2}
  batch_size: {value: 50}
  hidden: {value: 8}
  lr: {min: 1e-3, max: 1e-2}
"""


class Kills:
    """Ends the process of trial 0 once, which this node runs. `node`: the process that started it."""

    def __init__(self, node: int) -> None:
        self._node, self.killed = node, False

    def epoch_ended(self, number: int, line: dict[str, Any]) -> None:
        if (number, line["epoch"]) == (0, 5) and not self.killed:
            self.killed = True
            os.kill(self._trial(), 9)

    def _trial(self) -> int:
        """By its title, which Ray begins with the run's name. There is one at a time."""
        (found,) = [pid for pid, _ in local.family(self._node) if _title(pid).startswith("ray::s")]
        return found

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it ended meanwhile
        return ""


def main(folder: Path) -> None:
    protect_token()
    trainer.CHECKPOINT_EVERY_S = 0.0
    uri = f"file://{folder}/store"
    (folder / "space.yaml").write_text(SPACE)
    again: list[int] = []  # the epochs of which a trial was told a second time
    TuneCallback._compare = lambda self, running, line: again.append(line["epoch"])  # type: ignore[method-assign]
    room = {"object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**room, "num_cpus": 0})
    try:
        node = cluster.add_node(**room, num_cpus=1)
        (raylet,) = node.all_processes["raylet"]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        options = SearchOptions(out=local_place(uri), uri=uri, name="s", address=cluster.address, listeners=(Kills(raylet.process.pid),))
        outcome = search(read_space(str(folder / "space.yaml")), options)
    finally:
        ray.shutdown()
        cluster.shutdown()
    node = local_place(Store(uri).at("s").uri)
    found = {
        "status": outcome.status,
        "states": outcome.results.counts(),
        "epochs": [
            (line["trial"], line["epoch"]) for line in map(json.loads, (outcome.folder / "results.jsonl").open()) if "epoch" in line
        ],
        "again": again,
        "folder": sorted(path.name for path in outcome.folder.iterdir()),
        "node": [path.name for path in node.rglob("*") if path.is_file()],
        "pretrained": len(list(node.with_name(".pretrained").iterdir())),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

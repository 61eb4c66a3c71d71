"""Run as a program: `tuner doctor` on a real Ray cluster of two nodes, healthy and with planted problems. Prints what it found as JSON.

A process of its own, with RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH in its environment: Ray reads the mode when it is imported.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from tuner.errors import UserError
from tuner.machines import doctor, nodes
from tuner.machines.cluster import join
from tuner.machines.doctor import Checkup, examine
from tuner.machines.token import protect_token


def main(folder: Path) -> None:
    protect_token()
    # The second node: a package of another version before the real one, and a GPU that is not there.
    packages = folder / "packages" / "optuna-1.2.3.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: optuna\nVersion: 1.2.3\n")
    files = folder / "files"
    files.mkdir()
    (files / "my.csv").write_text("a,b\n" + "".join(f"{(3 * i) % 20 / 8},{(7 * i) % 20 / 4}\n" for i in range(20)))
    # A folder that every process sees as another one, or not at all: a share that is not shared.
    mine = f"/proc/self/fd/{os.open(files, os.O_RDONLY)}"
    out = folder / "runs"
    found = {}
    room = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**room, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")

        def checkup(name: str, **more: object) -> None:
            what = Checkup(**{"address": cluster.address, "out": out, "wandb": "disabled", **more})  # type: ignore[arg-type]
            found[name] = {check.name: asdict(check) for check in examine(what)}

        checkup("healthy", dataset=f"csv:{files}/my.csv")
        doctor.check_nodes(join(cluster.address), out)
        nodes.WAIT_S = 0
        checkup("too few", nodes=2)
        path = os.environ.get("PYTHONPATH", "")
        cluster.add_node(**room, num_gpus=1, env_vars={"PYTHONPATH": f"{packages.parent}{os.pathsep}{path}"})
        (folder / "token").chmod(0o644)
        checkup("planted", nodes=2, dataset="csv:my.csv", data_root=Path(mine), out=Path(mine) / "runs")
        try:
            doctor.check_nodes(join(cluster.address), out)
        except UserError as error:
            found["refused"] = str(error)
        nodes.ANSWER_S = 0
        checkup("silent")
        found["left"] = sorted(path.name for path in (*folder.iterdir(), *files.iterdir()))
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The nodes of a cluster, and what `probe` finds on each of them."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import probe

WAIT_S, ANSWER_S = 120, 150  # for nodes that are still to join; for the answer of a node


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the cluster: what Ray says of it, and what was found on it. `error`: why nothing was."""

    id: str
    label: str
    address: str
    ports: tuple[int, ...]
    gpus: float
    found: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A folder in `--out` for the check alone; `key`: what stands in the driver's file."""

    folder: Path
    key: str


@contextlib.contextmanager
def left_in(out: Path) -> Iterator[Storage | None]:
    """A file of the driver's in `out`, which nodes should see; nothing is left behind. None: it cannot be written even here."""
    out = out.expanduser().absolute()
    made = [path for path in (out, *out.parents) if not path.exists()]
    storage = Storage(folder=out / f".doctor-{secrets.token_hex(8)}", key=secrets.token_hex(8))
    try:
        storage.folder.mkdir(parents=True)
        (storage.folder / "driver").write_text(storage.key)
    except OSError:
        yield None
    else:
        yield storage
    shutil.rmtree(storage.folder, ignore_errors=True)
    for path in made:
        with contextlib.suppress(OSError):
            path.rmdir()


def wait_for_nodes(expected: int | None) -> list[dict[str, Any]]:
    import ray

    end = time.monotonic() + WAIT_S
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        if expected is None or len(alive) >= expected or time.monotonic() > end:
            return alive
        time.sleep(1)


def look(alive: Sequence[Mapping[str, Any]], storage: Storage | None, files: Sequence[str]) -> list[Node]:
    """Probes all nodes at once. A task that needs no CPU runs at once, on a node that is busy with trials, too."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = _known(alive)
    cloudpickle.register_pickle_by_value(probe)
    try:
        task = ray.remote(probe.look)
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    answers = []
    for node in nodes:
        questions = {
            "storage": {"folder": str(storage.folder), "key": storage.key, "name": node.id} if storage else None,
            "files": list(files),
            "peers": [[other.address, port] for other in nodes if other is not node for port in other.ports],
            "gpu": node.gpus > 0,
        }
        options = task.options(num_cpus=0, max_retries=2, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False))
        answers.append(options.remote(questions))
    ray.wait(answers, num_returns=len(answers), timeout=ANSWER_S)
    return [_with_answer(node, answer) for node, answer in zip(nodes, answers, strict=True)]


def _known(alive: Sequence[Mapping[str, Any]]) -> list[Node]:
    """What Ray knows of the nodes."""
    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    nodes = []
    for each in alive:
        host = each["NodeManagerHostname"]
        label = host if hosts[host] == 1 else f"{host}/{each['NodeID'][:6]}"  # several on one machine
        ports = tuple(int(each[port]) for port in ("NodeManagerPort", "ObjectManagerPort"))
        gpus = each["Resources"].get("GPU", 0)
        nodes.append(Node(id=each["NodeID"], label=label, address=each["NodeManagerAddress"], ports=ports, gpus=gpus, found={}))
    return nodes


def _with_answer(node: Node, answer: Any) -> Node:
    import ray

    try:
        found = ray.get(answer, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return replace(node, error=f"no answer within {ANSWER_S} s")
    except ray.exceptions.RayError as error:
        return replace(node, error=str(error).strip().splitlines()[-1])
    return replace(node, found=found)

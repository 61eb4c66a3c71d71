"""`tuner doctor`: would a search work here? Every check says what it found and, where that is a problem, what to do."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuner.errors import UserError

from . import probe
from .cluster import Cluster, join, token_file
from .versions import INSTALL, differences

logger = logging.getLogger("tuner")

WAIT_S, ANSWER_S = 120, 150  # for nodes that are still to join; for what a node is asked
ORDER = ("nodes", "token", "dashboard", "ports", "versions", "storage", "data", "gpu", "wandb")
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """What is examined. `nodes`: how many there should be; they are waited for. `uri`: the place that the runs in `out` are sent to."""

    address: str | None = None
    nodes: int | None = None
    out: Path = Path("runs")
    uri: str | None = None
    dataset: str | None = None
    data_root: Path | None = None
    wandb: str = "online"


@dataclass(frozen=True, kw_only=True)
class Check:
    """`note`: worth knowing, no problem. `todo`: what to do about it, where there is something to do."""

    name: str
    state: Literal["ok", "note", "problem"]
    said: str
    todo: str = ""


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


def examine(what: Checkup) -> list[Check]:
    """Joins the cluster, or starts Ray here, looks at every node, and says what it found.

    Raises:
        UserError: the cluster cannot be joined, or the data set cannot be (a name that there is none of).
    """
    files = data_files(what)
    cluster = join(what.address)
    try:
        return _examine(what, cluster, files)
    finally:
        cluster.close()


def check_nodes(cluster: Cluster, out: Path | None) -> None:
    """The quick part, before a search on a cluster that was joined: every node answers, has this code, and writes where the run will be:
    in `out`, which is None where only the driver writes. A cluster that asks nobody for a token is warned of: it may be somebody's wish.

    Raises:
        UserError: one does not.
    """
    alive = _wait_for_nodes(None)
    with contextlib.nullcontext() if out is None else _left_in(out) as storage:
        asked = _look([node | {"Resources": {}} for node in alive], storage, [])  # trying GPUs takes seconds
        nodes = [node for node in asked if node.error is None]
        checks = [_joined(asked, None), _versions(nodes)]
        checks += [] if out is None else [_storage(nodes, Checkup(out=out), storage)]
    wrong = [f"  {check.name}: {check.said}. {check.todo}" for check in checks if check.state == "problem"]
    token = _token(nodes, cluster)
    if token.state == "problem":
        logger.warning("%s. %s", token.said, token.todo)
    if wrong:
        raise UserError(
            "\n".join(["The cluster cannot run this search:", *wrong, "`tuner doctor` with the same --address and --out says more."])
        )


def _examine(what: Checkup, cluster: Cluster, files: list[str]) -> list[Check]:
    alive = _wait_for_nodes(what.nodes)
    with _left_in(what.out) if what.uri is None else contextlib.nullcontext() as storage:
        asked = _look(alive, storage, files)
        nodes = [node for node in asked if node.error is None]
        checks = [_joined(asked, what.nodes), _dashboard(cluster), _wandb(what.wandb)]
        if nodes:
            checks += [_token(nodes, cluster), _ports(nodes), _versions(nodes), _gpus(nodes)]
            checks.append(_storage(nodes, what, storage) if what.uri is None else _store(what.uri))
    if nodes and what.dataset is not None:
        checks.append(_data(nodes, what, files))
    return sorted(checks, key=lambda check: ORDER.index(check.name))


# --- asking the nodes --------------------------------------------------------------------------------------------------


def _wait_for_nodes(wanted: int | None) -> list[dict[str, Any]]:
    import ray

    end = time.monotonic() + WAIT_S
    while True:
        alive = [node for node in ray.nodes() if node["Alive"]]
        if wanted is None or len(alive) >= wanted or time.monotonic() > end:
            return alive
        time.sleep(1)


def _look(alive: Sequence[Mapping[str, Any]], storage: Storage | None, files: list[str]) -> list[Node]:
    """Asks all nodes at once. A task that needs no CPU runs at once on a node that is busy with trials, too."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    nodes = []
    for each in alive:
        host = each["NodeManagerHostname"]
        label = host if hosts[host] == 1 else f"{host}/{each['NodeID'][:6]}"  # several on one machine
        ports = tuple(int(each[port]) for port in ("NodeManagerPort", "ObjectManagerPort"))
        nodes.append(
            Node(
                id=each["NodeID"],
                label=label,
                address=each["NodeManagerAddress"],
                ports=ports,
                gpus=each["Resources"].get("GPU", 0),
                found={},
            )
        )
    cloudpickle.register_pickle_by_value(probe)
    try:
        task = ray.remote(probe.look)
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    answers = []
    for node in nodes:
        peers = [[other.address, port] for other in nodes if other is not node for port in other.ports]
        asked = {
            "storage": {"folder": str(storage.folder), "key": storage.key, "name": node.id} if storage else None,
            "files": files,
            "peers": peers,
            "gpu": node.gpus > 0,
        }
        options = task.options(num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False))
        answers.append(options.remote(asked))
    ray.wait(answers, num_returns=len(answers), timeout=ANSWER_S)
    return [_answered(node, answer) for node, answer in zip(nodes, answers, strict=True)]


def _answered(node: Node, answer: Any) -> Node:
    import ray

    try:
        found = ray.get(answer, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return Node(**{**vars(node), "error": f"no answer within {ANSWER_S} s"})
    except ray.exceptions.RayError as error:
        return Node(**{**vars(node), "error": str(error).strip().splitlines()[-1]})
    return Node(**{**vars(node), "found": found})


# --- the checks --------------------------------------------------------------------------------------------------------


def _joined(nodes: Sequence[Node], wanted: int | None) -> Check:
    silent = [f"{node.label}: {node.error}" for node in nodes if node.error]
    count = f"{len(nodes)} node" + "s" * (len(nodes) != 1)
    if silent:
        return Check(
            name="nodes",
            state="problem",
            said="; ".join(silent),
            todo="See that machine's Ray logs (/tmp/ray/session_latest/logs), or remove it.",
        )
    if wanted is not None and len(nodes) < wanted:
        todo = "A machine without the token never joins, and says so in its own log only: look there."
        return Check(name="nodes", state="problem", said=f"{count} of {wanted} joined within {WAIT_S} s", todo=todo)
    return Check(name="nodes", state="ok", said=f"{count}: {', '.join(node.label for node in nodes)}")


def _token(nodes: Sequence[Node], cluster: Cluster) -> Check:
    """Of the cluster, not of this process: what its nodes were started with, and what its dashboard lets pass."""
    anybody = "Whoever reaches the cluster can run any code on it"
    restart = "Start every node again with RAY_AUTH_MODE=token and the same ~/.ray/auth_token (clusters/README.md)."
    open_ = [node.label for node in nodes if node.found["auth"] != "token"]
    if open_ or _lets_pass(cluster):
        said = f"{anybody}: no token is asked for" + (f" on {', '.join(open_)}" if open_ else "")
        return Check(name="token", state="problem", said=said, todo=restart)
    path = token_file()
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            said = f"The token is asked for, but others on this machine can read it in {path}"
            return Check(name="token", state="problem", said=said, todo=f"chmod 600 {path}")
    return Check(name="token", state="ok", said="asked for on every node")


def _lets_pass(cluster: Cluster) -> bool:
    """Whether the dashboard answers somebody without a token. It takes jobs, which are programs."""
    at = _dashboard_url(cluster)
    if at is None:
        return False
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy's answer would be the proxy's
    try:
        direct.open(f"{at}/api/jobs/", timeout=5).close()
    except OSError:  # refused; or not to be reached from here
        return False
    return True


def _dashboard_url(cluster: Cluster) -> str | None:
    known = cluster.dashboard()
    return known["url"] if known else None


def _dashboard(cluster: Cluster) -> Check:
    at = _dashboard_url(cluster)
    if at is None:
        return Check(
            name="dashboard",
            state="note",
            said="there is none, or not yet",
            todo="`tuner submit` needs it, and so ray[default] on the head.",
        )
    host = at.removeprefix("http://").rpartition(":")[0]
    if host in _LOOPBACK:
        return Check(name="dashboard", state="ok", said=f"{at}, on the loopback only")
    todo = "Only the token keeps others from it. Start the head with --dashboard-host=127.0.0.1, and reach it through a tunnel."
    return Check(name="dashboard", state="note", said=f"{at} listens on the network", todo=todo)


def _ports(nodes: Sequence[Node]) -> Check:
    labels = {(node.address, port): node.label for node in nodes for port in node.ports}
    closed = [
        f"{node.label} cannot reach {labels.get((host, port), host)} at {host}:{port}"
        for node in nodes
        for host, port in node.found["closed"]
    ]
    if closed:
        todo = "Let the firewall pass all ports among the cluster's machines, and none from elsewhere."
        return Check(name="ports", state="problem", said="; ".join(closed), todo=todo)
    return Check(name="ports", state="ok", said="the nodes reach each other" if len(nodes) > 1 else "one node only")


def _versions(nodes: Sequence[Node]) -> Check:
    here = probe.versions()
    odd = []
    for node in nodes:
        differs = differences(node.found["versions"], here, "here")
        if differs:
            odd.append(f"{node.label} has {'; '.join(differs)}")
    if odd:
        return Check(name="versions", state="problem", said=". ".join(odd), todo=INSTALL)
    return Check(
        name="versions", state="ok", said=f"the same everywhere: Python {here['python']}, ray {here['ray']}, torch {here['torch']}"
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A folder in `--out` for the check alone; `key`: what stands in the driver's file."""

    folder: Path
    key: str


@contextlib.contextmanager
def _left_in(out: Path) -> Iterator[Storage | None]:
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


def _storage(nodes: Sequence[Node], what: Checkup, storage: Storage | None) -> Check:
    out = what.out.expanduser().absolute()
    if storage is None:
        todo = "Give --out a folder that can be written, on this machine and on every node."
        return Check(name="storage", state="problem", said=f"{out} cannot be written from here", todo=todo)
    wrong = []
    for node in nodes:
        there = node.found["storage"]
        if not there["seen"]:
            wrong.append(f"{node.label} does not see what is written there ({there['error'] or 'another file is'})")
        elif there["error"]:
            wrong.append(f"{node.label} cannot write there ({there['error']})")
        elif not (storage.folder / node.id).is_file():
            wrong.append(f"what {node.label} writes there is not seen here")
    if wrong:
        todo = "Trials write their weights into the run's folder: let --out be one that all machines share, such as NFS."
        return Check(name="storage", state="problem", said=f"{out}: {'; '.join(wrong)}", todo=todo)
    return Check(name="storage", state="ok", said=f"{out} is read and written" + (" from every node" if len(nodes) > 1 else ""))


def _store(uri: str) -> Check:
    """Of this machine alone: the driver's is the only one that sends anything there."""
    from tuner.stores.store import Store

    try:
        Store(uri).check()
    except UserError as error:
        return Check(name="storage", state="problem", said=str(error), todo="Or give --out a folder that all machines share.")
    return Check(name="storage", state="ok", said=f"{Store(uri).place} is read and written from here, where the search is started")


def data_files(what: Checkup) -> list[str]:
    """The files of the data set, by the absolute paths that trials use."""
    if what.dataset is None:
        return []
    from tuner.data.datasets import DatasetSpec
    from tuner.data.published import KNOWN, PUBLISHED
    from tuner.data.raw import data_root

    spec = DatasetSpec(name=what.dataset).located(what.data_root)
    if spec.name in PUBLISHED:
        return [str(data_root(what.data_root) / file) for file in PUBLISHED[spec.name].files]
    kind, _, path = spec.name.partition(":")
    if kind not in ("npz", "csv") or not path:
        raise UserError(f"There is no data set '{what.dataset}'. {KNOWN}")
    return [path]


def _data(nodes: Sequence[Node], what: Checkup, files: Sequence[str]) -> Check:
    here = {path: probe.fingerprint(path) for path in files}
    absent = {path: [node.label for node in nodes if node.found["files"][path] is None] for path in files}
    other = {
        path: [node.label for node in nodes if (there := node.found["files"][path]) and here[path] and there != here[path]]
        for path in files
    }
    wrong = [f"{path} is not on this machine" for path in files if here[path] is None]
    wrong += [f"{path} is not on {', '.join(labels)}" for path, labels in absent.items() if labels]
    wrong += [f"{path} is another file on {', '.join(labels)}" for path, labels in other.items() if labels]
    if wrong:
        fetched = "" if ":" in str(what.dataset) else " They are fetched where there is a network."
        todo = f"Put the files there, or give --data-root a folder that all machines share.{fetched}"
        return Check(name="data", state="problem", said="; ".join(wrong), todo=todo)
    try:
        from tuner.data.datasets import DatasetSpec, describe

        spec = describe(DatasetSpec(name=str(what.dataset)), what.data_root)
    except UserError as error:
        return Check(name="data", state="problem", said=str(error), todo="Mend the file.")
    where = "comes with the installation" if not files else "the same on every node" if len(nodes) > 1 else "is here"
    return Check(name="data", state="ok", said=f"{what.dataset}, {spec.n_samples:,} samples, {where}")


def _gpus(nodes: Sequence[Node]) -> Check:
    wrong, good = [], []
    for node in nodes:
        found = node.found.get("gpu")
        if found is None:
            continue
        if found.get("error") or len(found["gpus"]) < node.gpus:
            built = "" if found.get("error") or found.get("built") else "; this torch is built without CUDA"
            wrong.append(f"{node.label} offers {node.gpus:g} to trials, torch sees {len(found['gpus'])}{built}")
            wrong[-1] += f" ({found['error']})" if found.get("error") else ""
        for one in found["gpus"]:
            if "error" in one:
                wrong.append(f"{node.label}: {one['error']}")
            elif one["free"] < one["total"] / 2:
                wrong.append(f"{node.label}: of a {one['name']}'s {_gb(one['total'])} only {_gb(one['free'])} are free")
            else:
                good.append(f"{node.label}: {one['name']}, {_gb(one['free'])} of {_gb(one['total'])} free")
    if wrong:
        todo = "See `nvidia-smi` on that machine: the driver, torch's build, and who else uses the memory. Ray does not limit a trial's."
        return Check(name="gpu", state="problem", said="; ".join([*wrong, *good]), todo=todo)
    return Check(name="gpu", state="ok" if good else "note", said="; ".join(good) or "none: trials train on CPUs")


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _wandb(mode: str) -> Check:
    if mode != "online":
        return Check(name="wandb", state="ok", said=f"{mode}, as WANDB_MODE says")
    from tuner.trackers.wandb_login import why_offline

    why = why_offline()
    if why is None:
        return Check(name="wandb", state="ok", said="logged in")
    rejected = "accept" in why
    todo = (
        "Log in again: wandb login --relogin"
        if rejected
        else "A search is recorded offline. `wandb login` changes that; WANDB_MODE=offline says so."
    )
    return Check(name="wandb", state="problem" if rejected else "note", said=why, todo=todo)


def ready(checks: Sequence[Check]) -> bool:
    return all(check.state != "problem" for check in checks)

"""The checks of `tuner doctor`, each a function from what was found on the nodes to a `Check`."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuner.errors import UserError

from . import probe
from .cluster import Cluster
from .nodes import WAIT_S, Node, Storage
from .token import token_file
from .versions import INSTALL, differences

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Check:
    """`note`: worth knowing, no problem. `todo`: what to do about it, where there is something to do."""

    name: str
    state: Literal["ok", "note", "problem"]
    found: str
    todo: str = ""


def check_joined(nodes: Sequence[Node], expected: int | None) -> Check:
    silent = [f"{node.label}: {node.error}" for node in nodes if node.error]
    count = f"{len(nodes)} node" + "s" * (len(nodes) != 1)
    if silent:
        return Check(
            name="nodes",
            state="problem",
            found="; ".join(silent),
            todo="See that machine's Ray logs (/tmp/ray/session_latest/logs), or remove it.",
        )
    if expected is not None and len(nodes) < expected:
        todo = "A machine without the token never joins, and says so in its own log only: look there."
        return Check(name="nodes", state="problem", found=f"{count} of {expected} joined within {WAIT_S} s", todo=todo)
    return Check(name="nodes", state="ok", found=f"{count}: {', '.join(node.label for node in nodes)}")


def check_token(nodes: Sequence[Node], cluster: Cluster) -> Check:
    """Checks the cluster, not this process: how its nodes were started, and whether its dashboard answers without a token."""
    anybody = "Anybody who reaches the cluster can run any code on it"
    restart = "Start every node again with RAY_AUTH_MODE=token and the same ~/.ray/auth_token (clusters/README.md)."
    open_ = [node.label for node in nodes if node.found["auth"] != "token"]
    if open_ or _lets_pass(cluster):
        found = f"{anybody}: no token is asked for" + (f" on {', '.join(open_)}" if open_ else "")
        return Check(name="token", state="problem", found=found, todo=restart)
    path = token_file()
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            found = f"The token is asked for, but others on this machine can read it in {path}"
            return Check(name="token", state="problem", found=found, todo=f"chmod 600 {path}")
    return Check(name="token", state="ok", found="asked for on every node")


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


def check_dashboard(cluster: Cluster) -> Check:
    at = _dashboard_url(cluster)
    if at is None:
        return Check(
            name="dashboard",
            state="note",
            found="there is none, or not yet",
            todo="`tuner submit` needs it, and so ray[default] on the head.",
        )
    host = at.removeprefix("http://").rpartition(":")[0]
    if host in _LOOPBACK:
        return Check(name="dashboard", state="ok", found=f"{at}, on the loopback only")
    todo = "Only the token keeps others from it. Start the head with --dashboard-host=127.0.0.1, and reach it through a tunnel."
    return Check(name="dashboard", state="note", found=f"{at} listens on the network", todo=todo)


def check_ports(nodes: Sequence[Node]) -> Check:
    labels = {(node.address, port): node.label for node in nodes for port in node.ports}
    closed = [
        f"{node.label} cannot reach {labels.get((host, port), host)} at {host}:{port}"
        for node in nodes
        for host, port in node.found["closed"]
    ]
    if closed:
        todo = "Let the firewall pass all ports among the cluster's machines, and none from elsewhere."
        return Check(name="ports", state="problem", found="; ".join(closed), todo=todo)
    return Check(name="ports", state="ok", found="the nodes reach each other" if len(nodes) > 1 else "one node only")


def check_versions(nodes: Sequence[Node]) -> Check:
    here = probe.versions()
    odd = []
    for node in nodes:
        differs = differences(node.found["versions"], here, "here")
        if differs:
            odd.append(f"{node.label} has {'; '.join(differs)}")
    if odd:
        return Check(name="versions", state="problem", found=". ".join(odd), todo=INSTALL)
    return Check(
        name="versions", state="ok", found=f"the same everywhere: Python {here['python']}, ray {here['ray']}, torch {here['torch']}"
    )


def check_storage(nodes: Sequence[Node], out: Path, storage: Storage | None) -> Check:
    out = out.expanduser().absolute()
    if storage is None:
        todo = "Give --out a folder that can be written, on this machine and on every node."
        return Check(name="storage", state="problem", found=f"{out} cannot be written from here", todo=todo)
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
        return Check(name="storage", state="problem", found=f"{out}: {'; '.join(wrong)}", todo=todo)
    return Check(name="storage", state="ok", found=f"{out} is read and written" + (" from every node" if len(nodes) > 1 else ""))


def check_store(uri: str) -> Check:
    """Checked from this machine alone: only the driver writes there."""
    from tuner.stores.store import Store

    try:
        Store(uri).check()
    except UserError as error:
        return Check(name="storage", state="problem", found=str(error), todo="Or give --out a folder that all machines share.")
    return Check(name="storage", state="ok", found=f"{Store(uri).place} is read and written from here, where the search is started")


def check_data(nodes: Sequence[Node], dataset: str, data_root: Path | None, files: Sequence[str]) -> Check:
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
        fetched = "" if ":" in dataset else " They are fetched where there is a network."
        todo = f"Put the files there, or give --data-root a folder that all machines share.{fetched}"
        return Check(name="data", state="problem", found="; ".join(wrong), todo=todo)
    try:
        from tuner.data.datasets import DatasetSpec, describe
        from tuner.data.examine import examine

        looked = examine(DatasetSpec(name=dataset), data_root) if ":" in DatasetSpec(name=dataset).name else None
        spec = describe(DatasetSpec(name=dataset), data_root) if looked is None else looked.data.spec
    except UserError as error:
        return Check(name="data", state="problem", found=str(error), todo="Mend the file.")
    where = "comes with the installation" if not files else "the same on every node" if len(nodes) > 1 else "is here"
    found = f"{dataset}, {spec.n_samples:,} samples, {where}"
    if looked is not None and looked.doubts:
        return Check(name="data", state="note", found=f"{found}. {'. '.join(looked.doubts)}", todo="`tuner data` says more.")
    return Check(name="data", state="ok", found=found)


def check_gpus(nodes: Sequence[Node]) -> Check:
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
        return Check(name="gpu", state="problem", found="; ".join([*wrong, *good]), todo=todo)
    return Check(name="gpu", state="ok" if good else "note", found="; ".join(good) or "none: trials train on CPUs")


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def check_wandb(mode: str) -> Check:
    if mode != "online":
        return Check(name="wandb", state="ok", found=f"{mode}, as WANDB_MODE says")
    from tuner.trackers.wandb_login import why_offline

    why = why_offline()
    if why is None:
        return Check(name="wandb", state="ok", found="logged in")
    rejected = "accept" in why
    todo = (
        "Log in again: wandb login --relogin"
        if rejected
        else "A search is recorded offline. `wandb login` changes that; WANDB_MODE=offline says so."
    )
    return Check(name="wandb", state="problem" if rejected else "note", found=why, todo=todo)

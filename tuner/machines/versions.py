"""Versions of code: whether a node has its driver's, checked before a process trains its first trial, and what a run notes of its own."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tuner import __version__, layout

from . import probe

if TYPE_CHECKING:
    from .cluster import Cluster, Share


INSTALL = "Install the same on every machine, from one wheel or one image: trials run that code, not this machine's."


class OtherCode(RuntimeError):
    """This node's code is not its driver's."""


def check_code(driver: Mapping[str, str | None]) -> None:
    """`driver`: its `probe.versions()`.

    Raises:
        OtherCode: something that results depend on is another here.
    """
    odd = differences(_here(), driver, "at the driver")
    if odd:
        import ray

        raise OtherCode(f"{ray.util.get_node_ip_address()} does not have the driver's code: {'; '.join(odd)}. {INSTALL}")


_here = cache(probe.versions)


def differences(there: Mapping[str, str | None], ours: Mapping[str, str | None], at: str) -> list[str]:
    """What a node has and what there is `at` the other place, where it is not the same."""
    odd = [name for name in ours if there.get(name) != ours[name]]
    return [f"{name} {_version(name, there.get(name))}, {at} {_version(name, ours[name])}" for name in odd]


def _version(name: str, value: str | None) -> str:
    if value is None:
        return "absent"
    return f"with code {value}" if name == "tuner" else value


def provenance(cluster: Cluster, share: Share) -> dict[str, Any]:
    """The code, the versions and the machine that a result comes from."""
    dashboard = cluster.dashboard()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "versions": {name: version for name, version in probe.versions(also=("wandb",)).items() if version} | {"tuner": __version__},
        "hardware": _hardware(),
        "share": {"cpu": share.cpu, "gpu": share.gpu, "at_once": share.slots},
        "address": cluster.address,
        "dashboard": dashboard,
    }


def commit() -> str | None:
    """Of the checkout that this code lies in, with `-dirty` where what trains was changed since; None for an installed wheel."""
    checkout = layout.ROOT
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return None

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=False)

    found = git("rev-parse", "--short=12", "HEAD").stdout.strip()
    changed = git("diff", "--quiet", "HEAD", "--", "tuner", "models").returncode == 1
    return f"{found}-dirty" if changed else found or None


def _hardware() -> dict[str, Any]:
    """Of the whole cluster, and of the driver's machine."""
    import ray

    nodes: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
    total = {kind: sum(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    kinds = {name.removeprefix("accelerator_type:") for node in nodes for name in node["Resources"] if name.startswith("accelerator_type:")}
    memory = sum(node["Resources"].get("memory", 0) for node in nodes)
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "nodes": len(nodes),
        "cpus": total["CPU"],
        "gpus": total["GPU"],
        "gpu_types": sorted(kinds),
        "memory_gb": round(memory / 1e9, 1),
    }

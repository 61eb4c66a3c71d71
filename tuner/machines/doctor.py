"""`tuner doctor`: would a search work here? Every check says what it found and, where that is a problem, what to do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UserError

from . import checks, nodes
from .checks import Check
from .cluster import Cluster, join

logger = logging.getLogger("tuner")

ORDER = ("nodes", "token", "dashboard", "ports", "versions", "storage", "data", "gpu", "wandb")


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


def examine(what: Checkup) -> list[Check]:
    """Joins the cluster, or starts Ray here, probes every node, and returns all checks.

    Raises:
        UserError: the cluster cannot be joined, or there is no such data set.
    """
    files = data_files(what)
    cluster = join(what.address)
    try:
        return _examine(what, cluster, files)
    finally:
        cluster.close()


def check_nodes(cluster: Cluster, out: Path | None) -> None:
    """The quick checks before a search on a cluster that was joined: every node answers, has this code, and can write into `out`, where
    the run will be; None where only the driver writes. A cluster without a token is only warned of: somebody may want it so.

    Raises:
        UserError: a check fails.
    """
    alive = nodes.wait_for_nodes(None)
    with contextlib.nullcontext() if out is None else nodes.left_in(out) as storage:
        probed = nodes.look([node | {"Resources": {}} for node in alive], storage, [])  # trying GPUs takes seconds
        answered = [node for node in probed if node.error is None]
        found = [checks.check_joined(probed, None), checks.check_versions(answered)]
        found += [] if out is None else [checks.check_storage(answered, out, storage)]
    wrong = [f"  {check.name}: {check.found}. {check.todo}" for check in found if check.state == "problem"]
    token = checks.check_token(answered, cluster)
    if token.state == "problem":
        logger.warning("%s. %s", token.found, token.todo)
    if wrong:
        raise UserError(
            "\n".join(["The cluster cannot run this search:", *wrong, "`tuner doctor` with the same --address and --out says more."])
        )


def _examine(what: Checkup, cluster: Cluster, files: list[str]) -> list[Check]:
    alive = nodes.wait_for_nodes(what.nodes)
    with nodes.left_in(what.out) if what.uri is None else contextlib.nullcontext() as storage:
        probed = nodes.look(alive, storage, files)
        answered = [node for node in probed if node.error is None]
        found = [checks.check_joined(probed, what.nodes), checks.check_dashboard(cluster), checks.check_wandb(what.wandb)]
        if answered:
            found += [checks.check_token(answered, cluster), checks.check_ports(answered)]
            found += [checks.check_versions(answered), checks.check_gpus(answered)]
            found.append(checks.check_storage(answered, what.out, storage) if what.uri is None else checks.check_store(what.uri))
    if answered and what.dataset is not None:
        found.append(checks.check_data(answered, what.dataset, what.data_root, files))
    return sorted(found, key=lambda check: ORDER.index(check.name))


def ready(checks: Sequence[Check]) -> bool:
    return all(check.state != "problem" for check in checks)


def data_files(what: Checkup) -> list[str]:
    """The files of the data set, by the absolute paths that trials use."""
    if what.dataset is None:
        return []
    from tuner.data.datasets import DatasetSpec
    from tuner.data.files import OPENML
    from tuner.data.names import FORMATS
    from tuner.data.published import KNOWN, PUBLISHED
    from tuner.data.raw import data_root

    spec = DatasetSpec(name=what.dataset).located(what.data_root)
    if spec.name in PUBLISHED:
        return [str(data_root(what.data_root) / file) for file in PUBLISHED[spec.name].files]
    kind, _, path = spec.name.partition(":")
    if kind == OPENML:
        return []
    if kind not in FORMATS or not path:
        raise UserError(f"There is no data set '{what.dataset}'. {KNOWN}")
    return [str(file) for file in sorted(Path(path).rglob("*")) if file.is_file()] if Path(path).is_dir() else [path]

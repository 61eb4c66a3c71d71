"""Several metrics that decide together: the key `metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .located import Located
from .metric import Metric
from .reading import read_one_metric

if TYPE_CHECKING:
    from .reading import Reading

MOST = 4  # more and nearly no trial dominates another


def read_metrics(reading: Reading, key: str) -> tuple[Metric, ...] | None:
    """None where one metric decides. The first is the search's `metric`, too."""
    node = reading.nodes.get(key)
    if node is None:
        return None
    if "metric" in reading.nodes:
        reading.problems.at(node, "'metric' and 'metrics' are both given: keep 'metric' where one decides, 'metrics' where several do.")
        return None
    if not isinstance(node.value, list) or not 2 <= len(node.value) <= MOST:
        rule = f"must be a list of 2 to {MOST} metrics, such as [acc, silhouette]"
        reading.problems.at(node, f"'metrics' {rule}, but got {node.shown}.")
        return None
    found: list[Metric] = []
    for one in node.value:
        named = one if isinstance(one.value, dict) else Located(value={"name": one}, place=one.place, line=one.line)
        metric = read_one_metric(reading, named, "metrics")
        if metric.name in [other.name for other in found]:
            reading.problems.at(one, f"'metrics' names '{metric.name}' twice.")
        found.append(metric)
    reading.values["metric"] = found[0]
    return tuple(found)

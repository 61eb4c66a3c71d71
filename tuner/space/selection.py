"""What may decide in a search: the key `select`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tuner.errors import did_you_mean

if TYPE_CHECKING:
    from .reading import Reading

_LABELS = ("allowed", "never")
WITHOUT_LABELS = "balance"
"""What decides with `labels: never` where no metric is named: of what every epoch of a trial has by itself, it loses least against a choice
by labels (docs/selection.md)."""


@dataclass(frozen=True, kw_only=True)
class Select:
    """`labels`: whether what looks at labels may choose, stop and rank; with `never` it is only reported."""

    labels: Literal["allowed", "never"] = "allowed"


def put_metric(reading: Reading) -> None:
    """Names the metric where the space forbids that labels decide, and does not say what does."""
    select = reading.nodes.get("select")
    if select is None or not isinstance(select.value, dict) or {"metric", "metrics"} & reading.nodes.keys():
        return
    labels = select.value.get("labels")
    if labels is not None and labels.word == "never":
        reading.nodes["metric"] = replace(labels, value={"name": replace(labels, value=WITHOUT_LABELS, text=WITHOUT_LABELS)})
        reading.default("metric.name", WITHOUT_LABELS)


def read_select(reading: Reading, key: str) -> Select:
    node = reading.nodes.get(key)
    if node is None:
        return Select(labels=reading.default("select.labels", "allowed"))
    if not isinstance(node.value, dict):
        reading.problems.at(node, f"'select' must be a mapping such as {{labels: never}}, but got {node.shown}.")
        return Select()
    reading.only("'select'", node.value, ("labels",))
    labels = node.value.get("labels")
    if labels is None:
        return Select(labels=reading.default("select.labels", "allowed"))
    if labels.word not in _LABELS:
        nearest = did_you_mean(labels.word, _LABELS)
        reading.problems.at(labels, f"'labels' must be one of {' | '.join(_LABELS)}, but got {labels.shown}.{nearest}")
        return Select()
    return Select(labels="never" if labels.word == "never" else "allowed")

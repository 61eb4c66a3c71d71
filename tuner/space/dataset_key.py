"""The key `dataset`: which data a space clusters, and what the columns of a file are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tuner.data.datasets import DatasetSpec
from tuner.data.raw import COLOURS, Columns
from tuner.data.scaling import SCALES
from tuner.errors import did_you_mean
from tuner.plain_json import is_whole

from .located import Located

if TYPE_CHECKING:
    from .reading import Reading


def read_dataset(reading: Reading, key: str) -> DatasetSpec:
    node = reading.nodes.get(key)
    if node is None:
        return DatasetSpec(name="")
    parts = node.value if isinstance(node.value, dict) else {"name": node}
    reading.only("'dataset'", parts, ("name", "limit", "scale", *(field.name for field in fields(Columns))))
    name, scale = parts.get("name"), parts.get("scale")
    if name is None or name.word is None:
        shown = "no name" if isinstance(node.value, dict) and name is None else (name or node).shown
        reading.problems.at(name or node, f"'dataset' must be a name or {{name: ..., limit: ..., scale: ...}}, but got {shown}.")
    if scale is not None and scale.word not in SCALES:
        nearest = did_you_mean(scale.word, SCALES)
        reading.problems.at(scale, f"'scale' must be one of {' | '.join(SCALES)}, but got {scale.shown}.{nearest}")
        scale = None
    limit = reading.whole_in(parts, "limit", 2, 0) or None if "limit" in parts else None
    columns = _columns(reading, parts)
    return DatasetSpec(name=(name.word or "") if name else "", limit=limit, scale=scale.word if scale else None, columns=columns)


def _columns(reading: Reading, parts: Mapping[str, Located]) -> Columns:
    """What the columns of a file are; a column is named, or has a number from 1 on."""
    found: dict[str, Any] = {}
    for key, what in (("label", "a column, or none"), ("id", "a column, or none"), ("samples", "the name of an array")):
        if (node := parts.get(key)) is not None:
            found[key] = node.word
            if node.word is None:
                reading.problems.at(node, f"'{key}' must be {what}, but got {node.shown}.")
    if (node := parts.get("colours")) is not None:
        found["colours"] = node.word
        if node.word not in COLOURS:
            reading.problems.at(
                node, f"'colours' must be {' or '.join(COLOURS)}, but got {node.shown}.{did_you_mean(node.word or '', COLOURS)}"
            )
    if (node := parts.get("size")) is not None:
        both = [one.value for one in node.value] if isinstance(node.value, list) else [node.value]
        if not (0 < len(both) < 3 and all(is_whole(n, 1) for n in both)):
            reading.problems.at(node, f"'size' must be a whole number or [height, width], but got {node.shown}.")
        else:
            found["size"] = both[0] if len(both) == 1 else (both[0], both[1])
    if (node := parts.get("drop")) is not None:
        listed = node.value if isinstance(node.value, list) else [node]
        found["drop"] = tuple(one.word for one in listed if one.word is not None)
        if len(found["drop"]) < len(listed):
            reading.problems.at(node, f"'drop' must be a list of columns, but got {node.shown}.")
    if (node := parts.get("header")) is not None:
        found["header"] = node.value
        if not isinstance(node.value, bool):
            reading.problems.at(node, f"'header' must be true or false, but got {node.shown}.")
    return Columns(**found)

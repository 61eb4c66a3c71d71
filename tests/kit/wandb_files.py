"""Reads what W&B writes on disk, `run-<id>.wandb`: protobuf records in the framing of LevelDB's log, in blocks of 32 KiB.

A record is one or more chunks `checksum (4 bytes) · length (2) · kind (1) · payload`; the kind says whether the payload is a whole
record or its first, a middle or the last part. A block's end that is too short for a chunk's head is padding.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as proto

BLOCK, HEAD, MAGIC_LENGTH = 32 * 1024, 7, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """One run as it was recorded. `history`: what was logged, in order, with its `_step`."""

    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    sweep_id: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def payloads(raw: bytes) -> Iterator[bytes]:
    assert raw.startswith(b":W&B"), "not a W&B file"
    at, parts = MAGIC_LENGTH, b""
    while at + HEAD <= len(raw):
        left_in_block = BLOCK - at % BLOCK
        if left_in_block < HEAD:
            at += left_in_block
            continue
        length, kind = int.from_bytes(raw[at + 4 : at + 6], "little"), raw[at + 6]
        payload = raw[at + HEAD : at + HEAD + length]
        at += HEAD + length
        parts = payload if kind in (WHOLE, FIRST) else parts + payload
        if kind in (WHOLE, LAST):
            yield parts


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_run(path: Path) -> OfflineRun:
    run = OfflineRun()
    for payload in payloads(path.read_bytes()):
        record = proto.Record.FromString(payload)
        match record.WhichOneof("record_type"):
            case "run":
                r = record.run
                run.id, run.name, run.project, run.group = r.run_id, r.display_name, r.project, r.run_group
                run.job_type, run.sweep_id, run.tags = r.job_type, r.sweep_id, tuple(r.tags)
                run.config |= values(r.config.update)
            case "config":
                run.config |= values(record.config.update)
            case "history":
                run.history.append(values(record.history.item))
            case "summary":
                run.summary |= values(record.summary.update)
            case "exit":
                run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def read_runs(folder: Path) -> dict[str, OfflineRun]:
    """All offline runs under a search's folder, by id."""
    return {run.id: run for run in map(read_run, sorted(folder.glob("wandb/offline-run-*/run-*.wandb")))}


def artifacts(path: Path) -> list[Any]:
    """What a run logged as artifacts, as W&B's own records."""
    records = (proto.Record.FromString(payload) for payload in payloads(path.read_bytes()))
    found = (
        record.request.log_artifact.artifact if record.WhichOneof("record_type") == "request" else record.artifact for record in records
    )
    return [artifact for artifact in found if artifact.name]

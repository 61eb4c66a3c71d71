"""A recorded table of trials of kmeans on digits, searches that are simulated on it, and how they are compared."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from kit.searches import SPACE, space
from tuner.runs.journal import read_lines
from tuner.service.simulate import Simulated, SimulateOptions, simulate
from tuner.simulation.table import RecordedEpoch, RecordedTrial, Table
from tuner.space.spec import Spec

MANY = SPACE.replace("trials: 9", "trials: 40")


def acc(n_clusters: int) -> float:
    return 1 / (1 + abs(math.log(n_clusters / 10)))


def row(config: dict[str, Any], seconds: float) -> RecordedTrial:
    """A trial whose acc rises to a height that its number of clusters decides."""
    return RecordedTrial(
        config=config,
        state="complete",
        epochs=[
            RecordedEpoch(
                epoch=i, phase="lloyd", cluster_epoch=i, seconds=seconds, ended="complete" if i == 9 else None,
                metrics={"acc": acc(config["n_clusters"]) * (1 - 0.5**i), "n_used": 9.0},
            )
            for i in range(1, 10)
        ],
    )  # fmt: skip


def recorded_table(folder: Path) -> Path:
    """Of 60 configurations, each with its own seconds per epoch."""
    spec, rng, path = space(folder), random.Random(0), folder / "table.jsonl.gz"
    rows = [row({**spec.config({"n_clusters": n}), "seed": n}, rng.uniform(1, 5)) for n in rng.sample(range(2, 201), 60)]
    Table(name="t", about={"model": "kmeans", "dataset": {"name": "digits"}, "epochs": 9}, trials=rows).write(path)
    return path


def simulated(spec: Spec, table: Path, out: Path, lanes: int = 8, **options: Any) -> Simulated:
    return simulate(spec, SimulateOptions(table=table, out=out, lanes=lanes, **{"name": "s", **options}))


def ends(folder: Path) -> list[dict[str, Any]]:
    """The journal's ends, without times and without those of trials that went on."""
    lines = [line for line in read_lines(folder / "results.jsonl") if line.get("state", "stopped") != "stopped"]
    return [{name: value for name, value in line.items() if name not in ("time", "seconds")} for line in lines]


def epochs(folder: Path) -> set[tuple[int, int]]:
    found = [(line["trial"], line["epoch"]) for line in read_lines(folder / "results.jsonl") if "epoch" in line]
    assert len(found) == len(set(found)), "an epoch is journalled twice"
    return set(found)

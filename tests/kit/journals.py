"""Runs written by hand through the journal's own types: of any size, with every end that there is, in no time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.runs.paths import JOURNAL, SPEC, STATUS

STATES = ("complete", "pruned", "complete", "pruned", "failed", "complete", "collapsed", "diverged")


def write_run(folder: Path, trials: int, epochs: int, **about: Any) -> Path:
    """A run with `trials` trials of up to `epochs` epochs, in folder. `about`: keys of its spec.json."""
    folder.mkdir(parents=True)
    spec = {
        "name": folder.name,
        "model": "dec",
        "dataset": {"name": "digits", "limit": None, "scale": None},
        "metric": {"name": "acc", "goal": "maximize"},
        "score": "last",
        "method": "tpe",
        "trials": max(1, trials),
        "epochs": epochs,
        "seed": 0,
        "early_terminate": {"type": "asha", "grace": max(1, epochs // 4), "reduction": 2},
        "share": {"cpu": 1, "gpu": 0.0, "at_once": 4},
        "parameters": {
            "n_clusters": {"values": [7, 10, 14]},
            "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
            "network": {"values": ["dense", "conv"]},
            "dropout": {"distribution": "uniform", "min": 0.0, "max": 0.5},
            "weights.kl": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1.0, "when": {"network": ["conv"]}},
            "hidden": {"value": 100},
        },
    }
    (folder / SPEC).write_text(json.dumps({**spec, **about}))
    lines = list(_lines(trials, epochs, [metric["name"] for metric in about.get("metrics") or [about.get("metric", spec["metric"])]]))
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / STATUS).write_text(json.dumps({"status": "done", "started": 0.0, "ended": 99.0, "seconds": 99.0}))
    return folder


def _lines(trials: int, epochs: int, names: list[str]) -> Iterator[dict[str, Any]]:
    rng = random.Random(0)
    labelled = [name for name in ("acc", "nmi", "ari") if "silhouette" not in names]
    for trial in range(trials):
        state = STATES[trial % len(STATES)]
        good = rng.random()
        config = {
            "n_clusters": rng.choice((7, 10, 14)),
            "lr": 10 ** rng.uniform(-4, -1),
            "network": rng.choice(("dense", "conv")),
            "hidden": 100,
            "dropout": rng.uniform(0, 0.5),
            "weights.kl": 10 ** rng.uniform(-3, 0),
            "seed": trial,
        }
        n = epochs if state == "complete" else max(1, epochs // 4)
        metrics: dict[str, float] = {}
        for epoch in range(1, n + 1):
            value = 0.2 + 0.6 * good * (1 - 0.9**epoch) + rng.gauss(0, 0.01)
            metrics = {name: value * (0.9 + 0.1 * i) for i, name in enumerate(dict.fromkeys((*names, *labelled, "n_used")))}
            yield {
                "trial": trial,
                "epoch": epoch,
                "phase": "train",
                "cluster_epoch": epoch,
                "metrics": metrics,
                "time": trial * 2.0 + epoch * 0.1,
            }
        counts = state == "complete"
        yield {
            "trial": trial,
            "state": state,
            "config": config,
            "score": metrics[names[0]] if counts else None,
            "metrics": metrics,
            "epochs": n,
            "seconds": n * 0.1,
            "reason": "ValueError: <b>no</b> </script>" if state == "failed" else None,
            "time": trial * 2.0 + n * 0.1,
        }

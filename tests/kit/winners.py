"""A run written by hand gets a winner: a real training's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tuner.api.train import Training


def with_winner(folder: Path, training: Training, dataset: dict[str, Any]) -> Path:
    """The run in `folder`, its best trial this training on `dataset`."""
    training.save(folder / "best.safetensors")
    parameters = {name: value for name, value in training.config.items() if name != "epochs"}
    best = {"model": training.model.name, "dataset": dataset, "epochs": training.config["epochs"], "seed": training.seed, "trial": 0}
    (folder / "best.yaml").write_text(yaml.safe_dump({**best, "parameters": parameters}))
    return folder

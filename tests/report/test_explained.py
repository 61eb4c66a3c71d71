"""How much of what sets trials apart their parameters explain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kit.journals import write_run

from tuner.report.explained import Explained, explained_of
from tuner.report.material import read_material
from tuner.runs.paths import JOURNAL

PARAMETERS = {
    "n_clusters": {"values": [7, 10, 14]},
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "network": {"values": ["dense", "conv"]},
    "weights.kl": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1.0, "when": {"network": ["conv"]}},
    "hidden": {"value": 100},
}
Score = Callable[[dict[str, Any], Random], float]


def of(folder: Path, score: Score, *, configurations: int = 120, seeds: int = 1, asha: Any = "none") -> Explained | None:
    """What is said of a run of four epochs; with ASHA every other trial stops at the second, at half of its score."""

    def lines() -> Iterator[dict[str, Any]]:
        rng = Random(0)
        for number in range(configurations):
            config = {
                "n_clusters": rng.choice((7, 10, 14)), "lr": 10 ** rng.uniform(-4, -1), "network": rng.choice(("dense", "conv")),
                "weights.kl": 10 ** rng.uniform(-3, 0), "hidden": 100,
            }  # fmt: skip
            effect = rng.gauss(0, 1)  # of the configuration, and of no parameter
            for trial in range(number * seeds, (number + 1) * seeds):
                value = score({**config, "effect": effect}, rng)
                stops = asha != "none" and trial % 2 == 1
                for epoch in range(1, 3 if stops else 5):
                    metrics = {"acc": value * (0.5 if epoch <= 2 else 1.0)}
                    yield {"trial": trial, "epoch": epoch, "phase": "train", "cluster_epoch": epoch, "metrics": metrics, "time": 1.0}
                state = "pruned" if stops else "complete"
                end = {"state": state, "score": None if stops else value, "metrics": metrics, "reason": None, "seconds": 1.0}
                yield {"trial": trial, "config": {**config, "seed": trial}, "epochs": epoch, "time": 1.0, **end}

    write_run(folder / "r", 0, 4, parameters=PARAMETERS, early_terminate=asha)
    (folder / "r" / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines()))
    return explained_of(read_material(folder / "r"))


def test_where_one_parameter_decides_it_is_named(tmp_path: Path) -> None:
    found = of(tmp_path, lambda config, rng: (0.8 if config["n_clusters"] == 10 else 0.6) + rng.gauss(0, 0.03))
    assert found is not None and found.trials == 120 and found.first == "n_clusters"
    assert found.share == pytest.approx(0.9, abs=0.08) and found.alone > found.share - 0.05
    first, second = found.in_sentences("acc")
    assert f"predicts the acc of the others from their parameters with R² {found.share:.2f} (120 trials, five folds)" in first
    assert second == f"n_clusters alone gives {found.alone:.2f}: what the other parameters do does not show beside it."


def test_where_two_decide_none_is_named_alone(tmp_path: Path) -> None:
    def score(config: dict[str, Any], rng: Random) -> float:
        kl = config["weights.kl"] if config["network"] == "conv" else 0.0
        return (0.2 if config["n_clusters"] == 10 else 0.0) + (0.2 if kl > 0.03 else 0.0) + rng.gauss(0, 0.02)

    found = of(tmp_path, score)
    assert found is not None and found.share > 0.8 and found.alone < found.share - 0.2
    assert len(list(found.in_sentences("acc"))) == 1


def test_luck_is_called_luck(tmp_path: Path) -> None:
    found = of(tmp_path, lambda config, rng: rng.gauss(0.8, 0.06))
    assert found is not None and found.share < 0.05
    assert "nothing in these trials tells a good configuration from a bad one" in list(found.in_sentences("acc"))[1]


def test_the_seeds_of_a_configuration_do_not_give_it_away(tmp_path: Path) -> None:
    found = of(tmp_path, lambda config, rng: 0.7 + 0.05 * config["effect"] + rng.gauss(0, 0.001), configurations=40, seeds=4)
    assert found is not None and found.trials == 160 and found.share < 0.05


def test_with_early_stopping_all_trials_are_compared_where_they_all_were(tmp_path: Path) -> None:
    asha = {"type": "asha", "grace": 2, "reduction": 2}
    found = of(tmp_path, lambda config, rng: (0.8 if config["n_clusters"] == 10 else 0.6) + rng.gauss(0, 0.03), asha=asha)
    assert found is not None and (found.trials, found.epoch) == (120, 2) and found.share > 0.8
    assert "predicts the acc of clustering epoch 2 of the others" in next(found.in_sentences("acc"))


def test_of_few_or_of_equal_trials_nothing_is_said(tmp_path: Path) -> None:
    assert of(tmp_path / "few", lambda config, rng: rng.random(), configurations=29) is None
    assert of(tmp_path / "equal", lambda config, rng: 0.5) is None

"""A warm-started trial of a real search, alone and in a pack, whose driver is killed while it trains."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.killed import killed
from kit.one_ray import OneRay

from tuner.machines.cluster import Share
from tuner.runs.journal import read_lines
from tuner.runs.orders import Order
from tuner.runs.paths import CHECKPOINTS, weights_file
from tuner.runs.results import read_run
from tuner.search.saved import spec_of
from tuner.search.study import asked_in
from tuner.service import driver
from tuner.service.resume import resume
from tuner.service.steering import keep_for_resume

SPACE = """
model: aae_unsup
dataset: {name: digits, limit: 400}
metric: {name: acc, goal: maximize}
method: random
trials: 8
epochs: 3
early_terminate: none
stop: {hours: 2, plateau: 8}
resources: {cpu: CPU, gpu: 0, pack: PACK}
parameters:
  hidden: {value: 24}
  batch_size: {value: 50}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3, prior: {value: 1e-3, spread: 2}}
"""


def figures(lines: Any) -> dict[int, dict[str, float]]:
    """By epoch; none is there twice."""
    found = list(lines)
    assert len({line["epoch"] for line in found}) == len(found)
    return {line["epoch"]: {k: v for k, v in line["metrics"].items() if k != "samples_per_s"} for line in found}


@pytest.mark.slow
@pytest.mark.parametrize(("pack", "close"), [("off", 1e-6), ("3", 1e-4)], ids=["alone", "packed"])
def test_killed_and_resumed_it_is_the_same_training(
    pack: str, close: float, tmp_path: Path, ray_here: OneRay, always_checkpointed: None
) -> None:
    import ray

    ray_here.up()
    space, folder = tmp_path / "space.yaml", tmp_path / "runs" / "s"
    space.write_text(SPACE.replace("PACK", pack).replace("CPU", str(int(ray.cluster_resources()["CPU"]))))
    killed(space, folder.parent, (3, 1))
    best = read_run(folder).best()
    assert best is not None
    number = len(asked_in(folder, "s"))
    assert keep_for_resume(folder, Order(do="enqueue", like=best.trial, set=("lr_ae=0.002",), warm=True)) == 0
    killed(space, folder.parent, (number, 2))
    (weights,) = (folder / CHECKPOINTS).glob("warm-*.safetensors")
    kept = tmp_path / "alone" / CHECKPOINTS / weights.name
    kept.parent.mkdir(parents=True)
    shutil.copyfile(weights, kept)
    outcome = resume(folder)
    assert outcome.status == "done" and len(outcome.results.trials) == 8, "the rules have not ended it"
    (end,) = outcome.results.warm()
    assert (end.trial, end.warm, end.state) == (number, best.trial, "complete") and weights_file(folder, number).exists()
    assert number not in {one.trial for one in outcome.results.ranked()}

    spec = spec_of(folder, None, None)
    alone = replace(driver.new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None), folder=tmp_path / "alone")
    through = figures(report.line for report in alone(number, end.config))
    ours = figures(line for line in read_lines(folder / "results.jsonl") if line["trial"] == number and "state" not in line)
    assert ours.keys() == through.keys() == {1, 2, 3}
    for epoch, metrics in through.items():
        assert ours[epoch]["loss/recon"] == pytest.approx(metrics["loss/recon"], rel=close)
        assert pack != "off" or ours[epoch]["acc"] == metrics["acc"]

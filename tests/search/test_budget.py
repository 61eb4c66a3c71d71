"""The disk that checkpoints take: what is estimated is what they take, and a budget is kept."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tuner.data.datasets import DatasetSpec, load
from tuner.model import load_model
from tuner.runs.paths import checkpoint_file, weights_file
from tuner.search.budget import Budget, Sizes, sizes, too_little
from tuner.search.trainer import Trainer
from tuner.space.reader import read_space
from tuner.training import checkpoint
from tuner.training.loop import train

SPACE = """
model: {model}
dataset: {{name: digits, limit: 400}}
metric: {{name: acc, goal: maximize}}
epochs: 4
{more}
parameters:
  n_clusters: {{value: 10}}
  {searched}
"""


def space(folder: Path, model: str = "kmeans", searched: str = "n_init: {values: [1, 2]}", more: str = "score: last"):  # type: ignore[no-untyped-def]
    path = folder / "space.yaml"
    path.write_text(SPACE.format(model=model, searched=searched, more=more))
    return read_space(str(path))


@pytest.mark.parametrize("model", ["kmeans", "dec", "aae_unsup", "vade"])
def test_the_estimate_is_what_the_largest_trial_takes(model: str, tmp_path: Path) -> None:
    data = load(DatasetSpec(name="digits", limit=400))
    searched = "n_init: {values: [1, 2]}" if model == "kmeans" else "hidden: {values: [8, 16]}"
    spec = space(tmp_path, model, searched)
    chosen = {"n_init": 2} if model == "kmeans" else {"hidden": 16}
    h = spec.hyper(spec.config(chosen) | ({} if model == "kmeans" else {"batch_size": 50}) | {"epochs": 1})
    *_, last = train(load_model(model), h, data, seed=0)
    snapshot = last.snapshot()
    found = sizes(spec, data.spec)
    assert found.weights == pytest.approx(replace(snapshot, tensors=snapshot.weights()).size, rel=0.02)
    assert snapshot.size <= found.state * 1.02
    checkpoint.save(snapshot, tmp_path / "file")
    assert (tmp_path / "file").stat().st_size == pytest.approx(snapshot.size, abs=30_000)


def test_a_search_takes_a_state_for_each_trial_at_once_and_the_winners_weights(tmp_path: Path) -> None:
    one = Sizes(weights=10, state=30)
    assert one.of_search(space(tmp_path), 4) == 4 * 30 + 20
    assert one.of_search(space(tmp_path, more="score: max"), 4) == 4 * 40 + 20
    assert one.of_search(space(tmp_path, more="checkpoint_gb: 1e-7"), 4) == 100


def test_too_little_room_is_said_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1_000_000))  # type: ignore[attr-defined]
    assert too_little(tmp_path / "not" / "there", 1_000_000) is None
    said = too_little(tmp_path / "not" / "there", 2_500_000)
    assert said is not None and f"--out {tmp_path}/not/there has 0.001 GB free" in said and "may take 0.0025 GB. Make room" in said


def test_a_checkpoint_that_the_budget_has_no_room_for_is_not_written_and_the_trial_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "s"
    run.mkdir(parents=True)
    spec = space(tmp_path, more="checkpoint_gb: 5e-6")
    trainer = Trainer(
        spec=spec, folder=run, dataset=DatasetSpec(name="digits", limit=200), data_root=tmp_path, device="cpu", threads=1,
        checkpoint_every=0.0,
    )  # fmt: skip
    config = spec.config({"n_init": 1}) | {"seed": 1}
    reports = trainer(0, config)
    next(reports), next(reports)
    first = checkpoint_file(run, 0)
    assert checkpoint.load(first).epoch == 1
    second = list(trainer(1, config))
    assert [report.trouble for report in second] == [None, *["checkpoint_gb, 5e-06, is reached, in trial 1"] * 3]
    assert not first.exists(), "the weights of a trial that is complete come first"
    assert second[-1].ended == "complete" and checkpoint.load(weights_file(run, 1)).epoch == 4


def test_room_is_made_by_removing_the_oldest_states_and_no_more_than_it_takes(tmp_path: Path) -> None:
    for age, name in enumerate(["002.resume", "000.resume", "001.resume", "003"]):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + age, 1000 + age))
    budget = Budget(checkpoints=tmp_path, winner=tmp_path / "none", gb=400e-9)
    budget.make_room(tmp_path / "003.safetensors", 100)
    assert len(list(tmp_path.iterdir())) == 4, "it replaces what has its name"
    budget.make_room(tmp_path / "004.safetensors", 150)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001.resume.safetensors", "003.safetensors"]
    with pytest.raises(OSError, match="checkpoint_gb, 4e-07, is reached"):
        budget.fit(tmp_path / "005.resume.safetensors", 300)
    budget.fit(tmp_path / "001.resume.safetensors", 300)

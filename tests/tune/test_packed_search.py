"""Whole searches in packs, on the real Ray: what the user sees is the same."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from kit.workers import worker

from tuner.machines.cluster import Cluster, Share
from tuner.runs.journal import read_lines
from tuner.runs.paths import checkpoint_file
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import resume
from tuner.space.reader import Options, read_space
from tuner.training import checkpoint
from tuner.training.widths import best_width
from tuner.tune.pack_client import chosen_width, shapes
from tuner.tune.searcher import StudySearch

SPACE = """
model: aae_unsup
dataset: {name: digits, limit: 400}
metric: {name: acc, goal: maximize}
method: random
trials: 6
epochs: 4
early_terminate: none
resources: {pack: PACK}
parameters:
  hidden: {value: 24}
  batch_size: {value: 50}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
  weights.cyclic: {values: [0, 0.1]}
"""


def run(folder: Path, pack: object, *listeners: object) -> Outcome:
    path = folder / f"pack_{pack}.yaml"
    path.write_text(SPACE.replace("PACK", str(pack)))
    return search(read_space(str(path)), SearchOptions(out=folder / "runs", listeners=listeners))


def epochs_of(outcome: Outcome) -> dict[tuple[int, int], dict[str, float]]:
    lines = [line for line in read_lines(outcome.folder / "results.jsonl") if "state" not in line]
    assert len({(line["trial"], line["epoch"]) for line in lines}) == len(lines), "an epoch was journalled twice"
    return {(line["trial"], line["epoch"]): line["metrics"] for line in lines}


def configs_of(outcome: Outcome) -> dict[int, dict[str, object]]:
    return {trial.trial: trial.config for trial in outcome.results.trials}


@pytest.mark.slow
def test_a_search_in_packs_is_the_search_without_them(tmp_path: Path, cluster: Cluster) -> None:
    alone, packed = run(tmp_path, "off"), run(tmp_path, 3)
    assert configs_of(alone) == configs_of(packed)
    assert {t.state for t in packed.results.trials} == {"complete"}
    ours, theirs = epochs_of(packed), epochs_of(alone)
    assert ours.keys() == theirs.keys()
    for trial, epoch in ours:
        if epoch == 1:  # eight steps of float32: later ones drift as rounding grows
            for name in ("loss/recon", "loss/adv_y", "loss/l2_z"):
                assert ours[trial, 1][name] == pytest.approx(theirs[trial, 1][name], rel=1e-4), (trial, name)
    assert not (alone.folder / "packs.json").exists()
    assert '"width": 3' in (packed.folder / "packs.json").read_text()
    assert (packed.folder / "best.safetensors").exists()


class KillsAHost:
    """SIGKILLs a process that trains packs, once some epochs have been journalled."""

    def __init__(self) -> None:
        self.epochs, self.killed = 0, 0

    def epoch_ended(self, trial: int, line: object) -> None:
        self.epochs += 1
        if self.epochs == 5 and not self.killed:
            self.killed = worker(r"ray::\w*PackHost")
            os.kill(self.killed, signal.SIGKILL)

    def __getattr__(self, name: str) -> object:
        return lambda *event: None


@pytest.mark.slow
def test_a_host_that_is_killed_loses_nothing(tmp_path: Path, cluster: Cluster) -> None:
    killer = KillsAHost()
    outcome = run(tmp_path, 2, killer)
    assert killer.killed
    assert [t.state for t in outcome.results.trials] == ["complete"] * 6
    assert sorted(epochs_of(outcome)) == [(trial, epoch) for trial in range(6) for epoch in range(1, 5)]


class Stops:
    """Interrupts the search once the trials of its packs are some epochs old."""

    def epoch_ended(self, trial: int, line: dict[str, object]) -> None:
        if line["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    def __getattr__(self, name: str) -> object:
        return lambda *event: None


@pytest.mark.slow
def test_a_search_in_packs_that_was_stopped_goes_on_from_its_checkpoints(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.search.trainer.CHECKPOINT_EVERY_S", 0.0)
    first = run(tmp_path, 3, Stops())
    assert first.status == "stopped"
    before = epochs_of(first)
    kept = sorted(path.name for path in (first.folder / "checkpoints").iterdir())
    # The host is an epoch ahead: where that was the trial's last one, its weights are there, too, and nobody has heard of them.
    assert all(re.fullmatch(r"\d+(\.resume|\.course)?\.safetensors", name) for name in kept)
    resumed = {name.partition(".")[0] for name in kept if name.endswith(".resume.safetensors")}
    assert resumed and {name.partition(".")[0] for name in kept} == resumed, "each of them goes on from a checkpoint"
    assert all(checkpoint_of(first, trial) <= max(e for t, e in before if t == trial) for trial, _ in before), "ahead of the journal"
    with caplog.at_level("WARNING", logger="tuner"):
        outcome = resume(first.folder)
    assert outcome.status == "done" and {t.state for t in outcome.results.trials} == {"complete"}
    (tmp_path / "alone").mkdir()
    alone = StudySearch(outcome.run.spec, tmp_path / "alone", "s")
    assert configs_of(outcome) == {n: asked["config"] for n in range(6) if (asked := alone.suggest(str(n)))}
    after = epochs_of(outcome)
    assert sorted(after) == [(trial, epoch) for trial in range(6) for epoch in range(1, 5)]
    assert {key: after[key] for key in before} == before
    assert all(t.score == after[t.trial, 4]["acc"] and t.epochs == 4 for t in outcome.results.trials)
    assert not (outcome.folder / "checkpoints").exists()
    assert json.loads((outcome.folder / "spec.json").read_text())["resumed"][0]["pack"] == 3


def checkpoint_of(outcome: Outcome, trial: int) -> int:
    """The epoch from which a trial goes on."""
    path = checkpoint_file(outcome.folder, trial)
    return checkpoint.load(path).epoch if path.exists() else 0


def test_a_search_of_many_shapes_does_not_pack_on_a_cpu(tmp_path: Path) -> None:
    path = tmp_path / "shapes.yaml"
    path.write_text(SPACE.replace("PACK", "auto").replace("hidden: {value: 24}", "hidden: {values: [24, 32, 40]}"))
    spec = read_space(str(path), options=Options(trials=64))
    assert shapes(spec) == 6
    assert chosen_width(spec, None, Share(cpu=1, gpu=0, slots=2)) == 1  # type: ignore[arg-type]  # nothing is measured then


def test_a_pack_is_no_wider_than_the_trials_of_a_host(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text(SPACE.replace("PACK", "64"))
    assert chosen_width(read_space(str(path)), None, Share(cpu=1, gpu=0, slots=2)) == 3  # type: ignore[arg-type]


def test_a_model_without_a_batch_loop_trains_alone() -> None:
    from tuner.data.datasets import DatasetSpec, load
    from tuner.model import load_model

    model = load_model("kmeans")
    assert best_width(model, model.hyper(), load(DatasetSpec(name="digits"))) == 1

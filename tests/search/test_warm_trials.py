"""Trials that start from another's weights, as the search has them: asked for, journalled, compared with none, and resumed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.interrupted import a_killed_run

from tuner.errors import UserError
from tuner.machines.cluster import Share
from tuner.report.material import read_material
from tuner.report.words import warm as warm_table
from tuner.runs.clean import clean
from tuner.runs.events import OpenTrial, Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.orders import Order
from tuner.runs.paths import checkpoint_file, warm_file, weights_file
from tuner.runs.results import read_run
from tuner.runs.winner import Winner, read_best
from tuner.search.checkpoints import ahead
from tuner.search.history import past_of
from tuner.search.saved import spec_of
from tuner.search.stopping import StopRules
from tuner.search.study import asked_in, write_study
from tuner.search.trainer import Report
from tuner.service import driver
from tuner.service.steering import Steering, keep_for_resume
from tuner.space.warm import WARM, WARM_FILE
from tuner.training import checkpoint
from tuner.tune.searcher import StudySearch


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Trial 0 has ended and is the best; trial 1 has a checkpoint."""
    folder = a_killed_run(tmp_path)
    about = json.loads((folder / "spec.json").read_text()) | {"versions": {"tuner": "0"}}
    (folder / "spec.json").write_text(json.dumps(about))
    return Run(name="run", folder=folder, spec=spec_of(folder, None, None), info=about)


def asked(run: Run, *texts: str, like: int = 0) -> tuple[StudySearch, dict[str, Any], str]:
    """An order that the driver takes up: the searcher, what it hands out of it, and the answer."""
    searcher = StudySearch(run.spec, run.folder, run.name)
    said = Steering(run, searcher, None).take(Order(do="enqueue", like=like, set=texts, warm=True))  # type: ignore[arg-type]
    searcher.suggest("1")
    found = searcher.suggest("2")
    assert found is not None and found["trial"] == 2
    return searcher, found, said


def trained(run: Run, found: dict[str, Any], epochs: int | None = None, every: float = 60.0) -> Sequence[Report]:
    trainer = replace(driver.new_trainer(run.spec, Share(cpu=1, gpu=0, slots=1), None), folder=run.folder, checkpoint_every=every)
    return list(islice(trainer(found["trial"], found["config"]), epochs))


def ended(run: Run, found: dict[str, Any], reports: Sequence[Report]) -> TrialEnd:
    """As the driver journals it."""
    journal = Journal(RunFiles.of(run))
    journal.search_started(run)
    for report in reports:
        journal.epoch_ended(found["trial"], {**report.line, "time": 1.0})
    last = reports[-1]
    end = TrialEnd(
        trial=found["trial"], state=str(last.ended), config=found["config"], score=9.0, metrics=last.line["metrics"], epochs=len(reports)
    )
    journal.trial_ended(end)
    journal.search_ended("done")
    return end


def figures(reports: Sequence[Report]) -> list[tuple[int, dict[str, float]]]:
    return [(r.line["epoch"], {k: v for k, v in r.line["metrics"].items() if k != "samples_per_s"}) for r in reports]


def test_it_begins_with_the_parents_weights_and_the_journal_says_whose(run: Run) -> None:
    _, found, said = asked(run, "lr=0.05")
    assert said.startswith("It is trial 2 of run, ") and "starts from trial 0's weights (best.safetensors): all " in said
    assert (found["config"][WARM], found["config"][WARM_FILE], found["config"]["lr"]) == (0, "best.safetensors", 0.05)
    kept = checkpoint.load(warm_file(run.folder, found["config"]["warm-weights"])).tensors
    parent = checkpoint.load(run.folder / "best.safetensors").tensors
    assert kept.keys() == parent.keys() and all(torch.equal(kept[name], parent[name]) for name in kept)
    reports = trained(run, found)
    assert [r.line["epoch"] for r in reports] == [3, 4, 5, 6] and all(r.line["warm"] == 0 for r in reports)
    cold = {**found, "config": {name: value for name, value in found["config"].items() if not name.startswith("warm-")}}
    (run.folder / "checkpoints" / "002.safetensors").unlink()
    assert figures(trained(run, cold)) != figures(reports)


def test_what_cannot_be_taken_is_said_with_its_shapes_and_the_rest_is_taken(run: Run) -> None:
    _, found, said = asked(run, "n_clusters=7")
    assert "not taken: " in said and re.search(r"centers_KZ is 10×(\d+) there, 7×\1 here", said)
    assert found["config"]["n_clusters"] == 7 and trained(run, found)[-1].ended == "complete"


def test_killed_it_goes_on_to_the_same_training(run: Run) -> None:
    """Before its first checkpoint, and after one; though the parent's file is another one by then."""
    _, found, _ = asked(run)
    whole = figures(trained(run, found))
    weights_file(run.folder, 2).unlink()
    (run.folder / "best.safetensors").unlink()
    assert figures(trained(run, found, 2, every=0.0)) == whole[:2]
    assert checkpoint_file(run.folder, 2).exists()
    assert figures(trained(run, found)) == whole[1:], "the second epoch was not settled"
    opened = {2: OpenTrial(config=found["config"], metrics=[{}] * 6, score=None, shown={}, seconds=0.0)}
    assert ahead(run.folder, run.spec, opened, None) == []
    checkpoint_file(run.folder, 2).unlink()
    warm_file(run.folder, found["config"]["warm-weights"]).unlink()
    with pytest.raises(UserError, match="is gone, the weights of trial 0 with which trial 2 begins"):
        ahead(run.folder, run.spec, opened, None)


def test_it_is_never_the_best_nor_confirmed_and_nobody_learns_from_it(run: Run) -> None:
    searcher, found, _ = asked(run)
    reports = trained(run, found)
    searcher.on_trial_result("2", {"score": 9.0, "cluster_epoch": 1, "ended": None})
    searcher.on_trial_complete("2", {"score": 9.0, "cluster_epoch": 4, "ended": "complete"})
    trial = searcher.study.trials[2]
    assert (trial.state.name, trial.values, trial.intermediate_values, trial.user_attrs["state"]) == ("FAIL", None, {}, "complete")
    end = ended(run, found, reports)
    winner, rules = Winner(run, RunFiles.of(run)), StopRules(replace(run.spec, stop=replace(run.spec.stop, target=0.99)))
    winner.trial_ended(end)
    rules.add(end)
    assert rules.because is None and read_best(run.folder / "best.yaml")["trial"] == 0
    assert weights_file(run.folder, 2).exists(), "whoever asked for it wants them"
    winner.finish()
    assert not list((run.folder / "checkpoints").glob("warm-*"))
    results = read_run(run.folder)
    assert [one.trial for one in results.ranked()] == [0]
    assert [(one["trial"], one["from"], one["file"]) for one in results.summary()["warm"]] == [(2, 0, "best.safetensors")]
    assert any(line.startswith("Warm-started: trial 2, from the weights of trial 0 (best.safetensors)") for line in results.in_sentences())
    material = read_material(run.folder)
    table = warm_table(material)
    assert 2 not in {one.trial for one in material.trials} and table is not None and table.rows[0][:3] == ["2", "0", "best.safetensors"]
    assert [path for one in clean([run.folder], dry_run=True) for _, path, _ in one.found if path == weights_file(run.folder, 2)] == []
    past, scores = past_of(run.folder, run.spec, asked_in(run.folder, "run"), lambda *_: False)
    assert scores[2] == {} and {one.trial for one in past.ends} == {0, 2}
    write_study(run.folder, replace(run, past=past), asked_in(run.folder, "run"), scores)
    again = StudySearch(run.spec, run.folder, run.name).study.trials[2]
    assert (again.state.name, again.values) == ("FAIL", None)


def test_where_there_are_no_weights_the_next_step_is_said(run: Run) -> None:
    order = Order(do="enqueue", like=1, warm=True)
    assert checkpoint_file(run.folder, 1).exists() and keep_for_resume(run.folder, order) == 0, "its last checkpoint's are weights, too"
    checkpoint_file(run.folder, 1).unlink()
    with pytest.raises(
        UserError, match=r"Trial 1 of run has no weights to start from: it has written no checkpoint yet; .* Ask again then"
    ):
        keep_for_resume(run.folder, order)
    ended(run, {"trial": 1, "config": {}}, [Report(line={"trial": 1, "epoch": 3, "metrics": {}, "phase": "cluster", "cluster_epoch": 1},
                                                   score=0.0, ended="pruned", reason=None)])  # fmt: skip
    with pytest.raises(UserError, match=r"of trials that have ended a run keeps those of its best.* Say --like 0\. Or leave out --warm\."):
        keep_for_resume(run.folder, order)

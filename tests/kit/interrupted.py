"""A run whose driver was killed, made by what a search consists of; Ray alone is left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from tuner.machines.cluster import Share
from tuner.runs.events import TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.new_run import open_run
from tuner.runs.paths import checkpoint_file
from tuner.runs.winner import Winner
from tuner.service import driver
from tuner.space.reader import read_space
from tuner.tune.searcher import StudySearch

SPACE = """\
model: dec
dataset: {name: digits, limit: 100}
metric: {name: acc, goal: maximize}
trials: 3
epochs: 4
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  lr: {min: 0.01, max: 0.1}
  hidden: {value: 8}
  batch_size: {value: 25}
  pretrain_epochs: {value: 2}
"""


def a_killed_run(folder: Path) -> Path:
    """The folder of a run under `folder`: one trial has ended, the next one has a checkpoint. It has three to run."""
    (folder / "space.yaml").write_text(SPACE)
    spec = read_space(str(folder / "space.yaml"))
    info = {"options": {}, "dataset_at": "digits", "data_root": None, "wandb": "disabled", "address": None, "versions": {}}
    run = open_run(spec, "run", folder / "runs", info, None)
    train = replace(driver.new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None), folder=run.folder, checkpoint_every=0.0)
    journal, searcher, winner = Journal(RunFiles.of(run)), StudySearch(spec, run.folder, run.name), Winner(run, RunFiles.of(run))
    journal.search_started(run)
    for last, ended in ((6, "complete"), (2, None)):  # the second finds its pre-training done
        asked = searcher.suggest("it")
        assert asked is not None
        for report in islice(train(asked["trial"], asked["config"]), last):
            journal.epoch_ended(asked["trial"], {**report.line, "time": 1.0})
            if report.score is not None:
                searcher.on_trial_result("it", {"score": report.score, "cluster_epoch": report.line["cluster_epoch"]})
        assert report.ended == ended
        if ended:
            metrics = report.line["metrics"]
            end = TrialEnd(trial=0, state=ended, config=asked["config"], score=report.score, metrics=metrics, epochs=last)
            journal.trial_ended(end)
            winner.trial_ended(end)
            searcher.on_trial_complete("it", {"score": report.score, "cluster_epoch": 4, "ended": ended})
    journal.search_ended("stopped")
    assert checkpoint_file(run.folder, 1).exists()
    return run.folder

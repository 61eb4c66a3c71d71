"""A whole search in this process, made by what a search consists of; Ray alone is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tuner.data.cache import load_once
from tuner.data.raw import data_root
from tuner.machines.cluster import Share
from tuner.runs.events import TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.new_run import open_run
from tuner.runs.winner import Winner
from tuner.service.trainers import new_trainer
from tuner.space.spec import Spec
from tuner.tune.searcher import StudySearch


def without_ray_at_all(spec: Spec, out: Path, name: str = "s") -> Path:
    """The folder of a run that is done: one trial after another, none stopped early."""
    identity = load_once(spec.dataset, data_root(None)).identity
    info = {
        "options": dict(spec.options), "dataset_at": spec.dataset.name, "data_root": None, "wandb": "disabled", "address": None,
        "versions": {}, "data": identity.written(),
    }  # fmt: skip
    run = open_run(spec, name, out, info, None)
    train = replace(new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None), folder=run.folder)
    files = RunFiles.of(run)
    journal, searcher, winner = Journal(files), StudySearch(spec, run.folder, run.name), Winner(run, files)
    journal.search_started(run)
    for _ in range(spec.trials):
        asked = searcher.suggest("it")
        assert asked is not None
        epochs, score, line = 0, None, None
        for report in train(asked["trial"], asked["config"]):
            epochs, score, line = epochs + 1, report.score, report.line
            journal.epoch_ended(asked["trial"], {**line, "time": 1.0})
        assert line is not None and score is not None
        about = {"trial": asked["trial"], "state": line["ended"], "config": asked["config"], "score": score}
        end = TrialEnd(**about, metrics=line["metrics"], epochs=epochs)
        journal.trial_ended(end)
        winner.trial_ended(end)
        searcher.on_trial_complete("it", {"score": score, "cluster_epoch": spec.epochs, "ended": line["ended"]})
    journal.search_ended("done")
    return run.folder

"""A whole search in this process, made by what a search consists of; Ray alone is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.data.cache import load_once
from tuner.data.raw import data_root
from tuner.evidence.kept import KeptWeights
from tuner.machines.cluster import Share
from tuner.runs.events import TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.new_run import open_run
from tuner.runs.winner import Winner
from tuner.search.trainer import Trainer
from tuner.service.confirm import ConfirmOptions, ConfirmOutcome, confirming, finish, opened, prepare
from tuner.service.stages import Ended
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
        end = _trained(train, journal, asked["trial"], asked["config"])
        winner.trial_ended(end)
        searcher.on_trial_complete("it", {"score": end.score, "cluster_epoch": spec.epochs, "ended": end.state})
    journal.search_ended("done")
    return run.folder


def confirmed_without_ray(folder: Path, top: int, seeds: int) -> ConfirmOutcome:
    """The same for a confirmation that nothing interrupts; a training that raises is one that failed."""
    found = prepare(folder, ConfirmOptions(top=top, seeds=seeds))
    spec = confirming(found.run.spec, found.plan)
    run = opened(found, spec, {"versions": {}, "pack": 1})
    files = RunFiles.of(run)
    journal, kept = Journal(files), KeptWeights(run, files, found.plan)
    train = replace(new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None, found.identity), folder=run.folder)
    journal.search_started(run)
    for number in found.plan.requested():
        kept.trial_ended(_trained(train, journal, number, found.plan.config(number)))
    journal.search_ended("done")
    return finish(found, Ended(status="done"))


def _trained(train: Trainer, journal: Journal, trial: int, config: dict[str, Any]) -> TrialEnd:
    """One trial from its first epoch to its end, journalled."""
    epochs, score, line = 0, None, None
    about: dict[str, Any] = {"trial": trial, "config": config}
    try:
        for report in train(trial, config):
            epochs, score, line = epochs + 1, report.score, report.line
            journal.epoch_ended(trial, {**line, "time": 1.0})
        assert line is not None
        about |= {"state": line["ended"], "score": score, "metrics": line["metrics"]}
    except ValueError as error:
        about |= {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
    end = TrialEnd(**about, epochs=epochs)
    journal.trial_ended(end)
    return end

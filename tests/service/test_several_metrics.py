"""Searches by two metrics, on the real Ray: stopped early by fronts, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit.killed import killed
from kit.one_ray import OneRay
from kit.resumed import one_at_a_time, same

from tuner.runs.journal import read_lines
from tuner.runs.results import read_run
from tuner.search.study import open_storage
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import resume
from tuner.space.reader import read_space

SPACE = """
model: kmeans
dataset: {name: digits, limit: 200}
metrics: [acc, silhouette]
trials: 10
epochs: 9
early_terminate: {type: asha, grace: 2, reduction: 2}
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 60}
  n_init: {values: [1, 3]}
"""


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory, ray_here: OneRay) -> Outcome:
    """A search that nothing interrupted."""
    ray_here.up()
    folder = tmp_path_factory.mktemp("through")
    return search(read_space(str(one_at_a_time(folder, SPACE))), SearchOptions(out=folder / "runs", name="s"))


def test_a_search_by_two_metrics_stops_trials_and_ends_with_a_front(through: Outcome) -> None:
    results = through.results
    states = results.counts()
    assert through.status == "done" and states["pruned"] and states["complete"] > 1, states
    complete = [trial for trial in results.trials if trial.state == "complete"]
    by_hand = [
        one.trial
        for one in complete
        if not any(
            other.metrics["acc"] >= one.metrics["acc"]
            and other.metrics["silhouette"] >= one.metrics["silhouette"]
            and (other.metrics["acc"], other.metrics["silhouette"]) != (one.metrics["acc"], one.metrics["silhouette"])
            for other in complete
        )
    ]
    assert sorted(one.trial for one in results.front()) == by_hand
    summary = results.summary()
    assert summary["metrics"] == ["acc", "silhouette"] and sorted(one["trial"] for one in summary["front"]) == by_hand
    assert summary["best"]["trial"] == results.front()[0].trial, "best.yaml is the one that is best by the first metric"
    lines = [line for line in read_lines(through.folder / "results.jsonl") if "state" not in line]
    assert all({"acc", "silhouette"} <= line["metrics"].keys() for line in lines), "both are measured in every epoch"
    study = open_storage(through.folder / "study.journal").get_all_studies()[0]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MAXIMIZE"]
    assert json.loads((through.folder / "spec.json").read_text())["metrics"][1] == {"name": "silhouette", "goal": "maximize"}


@pytest.mark.slow
def test_a_search_by_two_metrics_that_was_killed_three_times_is_the_one_that_ran_through(
    tmp_path: Path, through: Outcome, always_checkpointed: None
) -> None:
    folder = tmp_path / "runs" / "s"
    longest = {line["trial"]: line["epoch"] for line in read_lines(through.folder / "results.jsonl") if "state" not in line}
    for trial, epoch in ((1, 2), (4, 1), (7, 2)):
        killed(one_at_a_time(tmp_path, SPACE), folder.parent, (trial, min(epoch, longest[trial])))
        assert read_run(folder).status == "failed"
    assert resume(folder).status == "done"
    same(folder, through.folder)

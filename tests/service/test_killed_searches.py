"""Searches with several seeds, a race or two metrics, confirmed at their end: killed at three places, the last in the confirmation, and
resumed to the same outcome, alone and in packs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.killed import killed
from kit.one_ray import OneRay

from tuner.evidence.report import confirmation_of
from tuner.runs.journal import read_lines
from tuner.runs.results import read_run
from tuner.service.driver import SearchOptions, search
from tuner.service.resume import resume
from tuner.space.reader import read_space

SPACE = """
model: aae_unsup
dataset: {name: digits, limit: 400}
KIND
method: random
epochs: 3
early_terminate: none
confirm: {top: 1, seeds: 2}
resources: {cpu: CPU, gpu: 0, pack: PACK}
parameters:
  hidden: {value: 24}
  batch_size: {value: 50}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
"""
ONE_METRIC = "metric: {name: acc, goal: maximize}\n"
KINDS = {
    "repeat": ONE_METRIC + "trials: 3\nseed: {repeat: 2}",
    "race": ONE_METRIC + "trials: 6\nseed: {race: 3}",
    "metrics": "metrics: [acc, loss/recon]\ntrials: 6",
}
# Who comes first of several at once is chance, so this race is one in which that does not matter: with five configurations one goes on, the
# first of them to have three beside it, and it is far ahead of the others.
RACE_IN_PACKS = ONE_METRIC + "trials: 5\nseed: {value: 11, race: 3}"
CLOSE = 0.02  # in a pack: how many train together moves the last bits


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of search, and its space."""

    kind: str
    packed: bool
    space: Path


@pytest.fixture(params=[(kind, pack) for kind in KINDS for pack in ("off", "3")], ids=lambda one: "-".join(one))
def case(request: pytest.FixtureRequest, tmp_path: Path, ray_here: OneRay) -> Case:
    import ray

    ray_here.up()
    (kind, pack), path = request.param, tmp_path / "space.yaml"
    text = SPACE.replace("KIND", RACE_IN_PACKS if (kind, pack) == ("race", "3") else KINDS[kind]).replace("PACK", pack)
    path.write_text(text.replace("CPU", str(int(ray.cluster_resources()["CPU"]))))  # one trial, or one pack, at a time
    return Case(kind=kind, packed=pack != "off", space=path)


def epochs_of(folder: Path) -> dict[tuple[int, int], dict[str, float]]:
    """The metrics of every epoch; none is there twice."""
    lines = [line for line in read_lines(folder / "results.jsonl") if "state" not in line]
    assert len({(line["trial"], line["epoch"]) for line in lines}) == len(lines)
    return {(line["trial"], line["epoch"]): {k: v for k, v in line["metrics"].items() if k != "samples_per_s"} for line in lines}


def outcome_of(folder: Path) -> dict[str, Any]:
    """What a search came to."""
    results, best = read_run(folder), yaml.safe_load((folder / "best.yaml").read_text())
    confirmed = confirmation_of(results)
    assert confirmed is not None
    assert not confirmed.left
    return {
        "trials": [(end.trial, end.state, end.configuration, end.config) for end in results.trials],
        "scores": [end.score for end in results.trials],
        "ranked": [one.trials for one in results.configurations()],
        "front": [end.trial for end in results.front()],
        "best": {name: best[name] for name in ("trial", "seed", "parameters", "weights")},
        "confirmed": {one.name: dict(one.values) for one in confirmed.configurations},
        "files": {path.name for path in folder.iterdir()},
    }


@pytest.mark.slow
def test_a_search_that_was_killed_at_three_places_comes_to_the_same(case: Case, tmp_path: Path, always_checkpointed: None) -> None:
    whole = search(read_space(str(case.space)), SearchOptions(out=tmp_path / "whole", name="s"))
    assert whole.status == "done" and (whole.folder / "packs.json").exists() == case.packed
    folder = tmp_path / "runs" / "s"
    for place in ((1, 2), (4, 1)):
        killed(case.space, folder.parent, *place)
        assert read_run(folder).status == "failed"
    killed(case.space, folder.parent, 1, 2, confirming=True)
    assert read_run(folder).status == "done", "the search itself"
    assert resume(folder).status == "done"
    assert epochs_of(folder / "confirm").keys() == epochs_of(whole.folder / "confirm").keys()
    ours, theirs = outcome_of(folder), outcome_of(whole.folder)
    if case.packed:
        assert ours.pop("scores") == pytest.approx(theirs.pop("scores"), abs=CLOSE)
        assert ours.pop("confirmed") == {name: pytest.approx(of, abs=CLOSE) for name, of in theirs.pop("confirmed").items()}
        assert epochs_of(folder).keys() == epochs_of(whole.folder).keys()
    else:
        assert epochs_of(folder) == epochs_of(whole.folder)
    assert ours == theirs

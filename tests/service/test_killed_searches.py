"""Searches in packs with several seeds, a race or two metrics, confirmed at their end: killed, also in the confirmation, and resumed to the
same outcome. Those whose trials train alone are killed at more places, bit by bit beside what they find: test_seeded_searches.py,
test_several_metrics.py, test_confirm.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kit.killed import Place, killed
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
resources: {cpu: CPU, gpu: 0, pack: 3}
parameters:
  hidden: {value: 24}
  batch_size: {value: 50}
  lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 5e-3}
"""
ONE_METRIC = "metric: {name: acc, goal: maximize}\n"
CLOSE = 1e-4  # how many train together moves the last bits


@dataclass(frozen=True)
class Kind:
    """`space`: its lines. `searching`, `confirming`: where its search is killed, and its confirmation."""

    name: str
    space: str
    searching: tuple[Place, ...]
    confirming: Place

    def __str__(self) -> str:
        return self.name


KINDS = [
    Kind("repeat", ONE_METRIC + "trials: 3\nseed: {repeat: 2}", ((1, 2), (4, 1)), (0, 1)),
    # Who comes first of several at once is chance, so this race is one in which that does not matter: with five configurations one goes on,
    # the first of them to have three beside it, and it is far ahead of the others.
    Kind("race", ONE_METRIC + "trials: 5\nseed: {value: 11, race: 3}", ((4, 1),), (3, 2)),
    Kind("metrics", "metrics: [acc, loss/recon]\ntrials: 6", ((1, 2),), (1, 3)),
]


def epochs_of(folder: Path) -> dict[tuple[int, int], dict[str, float]]:
    """The metrics of every epoch; none is there twice."""
    lines = [line for line in read_lines(folder / "results.jsonl") if "state" not in line]
    assert len({(line["trial"], line["epoch"]) for line in lines}) == len(lines)
    return {(line["trial"], line["epoch"]): {k: v for k, v in line["metrics"].items() if k != "samples_per_s"} for line in lines}


def outcome_of(folder: Path) -> dict[str, Any]:
    """What a search came to, all but its figures."""
    results, best = read_run(folder), yaml.safe_load((folder / "best.yaml").read_text())
    return {
        "trials": [(end.trial, end.state, end.configuration, end.config) for end in results.trials],
        "ranked": [one.trials for one in results.configurations()],
        "front": [end.trial for end in results.front()],
        "best": {name: best[name] for name in ("trial", "seed", "parameters", "weights")},
        "files": {path.name for path in folder.iterdir()},
        "epochs": (epochs_of(folder).keys(), epochs_of(folder / "confirm").keys()),
    }


def losses_of(folder: Path) -> dict[tuple[str, int, int], float]:
    """Of every epoch of its trials and of its confirmation, which is done. ACC moves by some samples where losses move by last bits."""
    confirmed = confirmation_of(read_run(folder))
    assert confirmed is not None and not confirmed.left
    parts = {"search": folder, "confirm": folder / "confirm"}
    return {(part, *key): metrics["loss/recon"] for part, at in parts.items() for key, metrics in epochs_of(at).items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_that_was_killed_comes_to_the_same(kind: Kind, tmp_path: Path, ray_here: OneRay, always_checkpointed: None) -> None:
    import ray

    ray_here.up()
    space, folder = tmp_path / "space.yaml", tmp_path / "runs" / "s"
    space.write_text(SPACE.replace("KIND", kind.space).replace("CPU", str(int(ray.cluster_resources()["CPU"]))))  # one pack at a time
    whole = search(read_space(str(space)), SearchOptions(out=tmp_path / "whole", name="s"))
    assert whole.status == "done"
    for part in (whole.folder, whole.folder / "confirm"):
        assert '"width": 3' in (part / "packs.json").read_text()
    before: dict[tuple[int, int], dict[str, float]] = {}
    for place in kind.searching:
        killed(space, folder.parent, place)
        assert read_run(folder).status == "failed"
        now = epochs_of(folder)
        assert {key: now[key] for key in before} == before, "what was journalled stays"
        before = now
    killed(space, folder.parent, kind.confirming, confirming=True)
    assert read_run(folder).status == "done", "the search itself"
    confirming = epochs_of(folder / "confirm")
    assert resume(folder).status == "done"
    assert {key: epochs_of(folder / "confirm")[key] for key in confirming} == confirming
    assert losses_of(folder) == pytest.approx(losses_of(whole.folder), rel=CLOSE)
    assert outcome_of(folder) == outcome_of(whole.folder)

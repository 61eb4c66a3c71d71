"""Searches with several seeds of each configuration, on the real Ray: killed and resumed, confirmed, and extended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from kit.killed import killed
from kit.one_ray import OneRay
from kit.resumed import same

from tuner.errors import UserError
from tuner.evidence.plan import read_plan, used_seeds
from tuner.evidence.selection import judged
from tuner.runs.journal import read_lines
from tuner.runs.results import Results, read_run
from tuner.search.proposals import trial_seed
from tuner.service.confirm import ConfirmOptions, confirm
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.space.configuration import read_recipe
from tuner.space.reader import read_space

SPACE = """
model: kmeans
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
score: max
trials: 6
epochs: 9
seed: SEEDS
holdout: 0.2
early_terminate: {type: asha, grace: 2, reduction: 2}
resources: {cpu: CPU, gpu: 0, pack: off}
parameters:
  n_clusters: {min: 2, max: 60}
  n_init: {values: [1, 3]}
"""
pytestmark = pytest.mark.slow  # by default tests/simulation searches with several seeds
SEEDS = {"repeat": "{repeat: 3}", "race": "{race: 3}"}
PLACES = {"repeat": ((0, 3), (4, 1), (6, 2)), "race": ((1, 4), (3, 2), (5, 1))}  # where it is killed: trial and epoch


def one_at_a_time(folder: Path, seeds: str) -> Path:
    import ray

    path = folder / "space.yaml"
    path.write_text(SPACE.replace("CPU", str(int(ray.cluster_resources()["CPU"]))).replace("SEEDS", SEEDS[seeds]))
    return path


@pytest.fixture(scope="module", params=list(SEEDS))
def through(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ray_here: OneRay) -> Outcome:
    """A search that nothing interrupted."""
    ray_here.up()
    folder = tmp_path_factory.mktemp(request.param)
    return search(read_space(str(one_at_a_time(folder, request.param))), SearchOptions(out=folder / "runs", name="s"))


def seeds_of(results: Results) -> dict[int, list[str]]:
    """How the seeds of each configuration ended."""
    found: dict[int, list[str]] = {}
    for trial in results.trials:
        assert trial.configuration is not None
        found.setdefault(trial.configuration, []).append(trial.state)
    return found


def test_every_configuration_has_its_seeds_or_was_stopped(through: Outcome) -> None:
    found, seeds = seeds_of(through.results), through.run.spec.seeds
    assert through.status == "done" and len(found) == 6
    for states in found.values():
        assert len(states) <= 3 and "pruned" not in states[:-1], "the seeds of a configuration that was stopped are not begun"
        if seeds.race is None:
            assert states[-1] == "pruned" or len(states) == 3
    assert any(states == ["complete"] * 3 for states in found.values())
    best = through.results.configurations()[0]
    assert best.n == 3 and best.end.trial in best.trials and best.sd["score"] >= 0
    assert (through.folder / "best.safetensors").exists() and not (through.folder / "checkpoints").exists()


def test_a_search_that_was_killed_three_times_and_resumed_is_the_one_that_ran_through(
    tmp_path: Path, through: Outcome, always_checkpointed: None
) -> None:
    folder = tmp_path / "runs" / "s"
    kind = "repeat" if through.run.spec.seeds.race is None else "race"
    longest = {line["trial"]: line["epoch"] for line in read_lines(through.folder / "results.jsonl") if "state" not in line}
    for trial, epoch in PLACES[kind]:
        killed(one_at_a_time(tmp_path, kind), folder.parent, (trial, min(epoch, longest[trial])))
        assert read_run(folder).status == "failed"
    assert resume(folder).status == "done"
    same(folder, through.folder)


def test_its_configurations_are_judged_without_labels_by_what_it_kept(through: Outcome) -> None:
    found = judged(through.results, ["ace", "balance"])
    kept = {int(path.stem) for path in (through.folder / "codes").iterdir()}
    for trial in through.results.trials:
        assert ("acc_holdout" in trial.metrics) == (trial.state == "complete"), "whatever epoch its score is of"
    assert kept == {trial.trial for trial in through.results.trials if trial.state == "complete"}
    assert {one.configuration.number for one in found} == {one.number for one in through.results.configurations()}
    assert [one.rank for one in found] == sorted(one.rank for one in found) and all(-1 <= one.values["ace"] <= 1 for one in found)
    if any(one.n < 2 for one in through.results.configurations()):
        with pytest.raises(UserError, match=r"'stability' compares the seeds .* has 1\. Search with `seed: \{repeat: 3\}`"):
            judged(through.results, ["stability"])
    else:
        assert judged(through.results, ["stability"])[0].values["stability"] <= 1
    for name, words in (
        ("acc", "looks at labels"),
        ("silhouette", "in the epoch that its score is of"),
        ("silhuette", "Did you mean 'silhouette'"),
        ("loss/recon", "There is no criterion"),
    ):
        with pytest.raises(UserError, match=words):
            judged(through.results, [name])


def test_a_search_that_is_done_gets_more_configurations_with_their_seeds(tmp_path: Path, through: Outcome) -> None:
    folder = shutil.copytree(through.folder, tmp_path / "s")
    assert not resume(folder).ran
    outcome = resume(folder, ResumeOptions(trials="+1"))
    found = seeds_of(outcome.results)
    assert outcome.status == "done" and len(found) == 7
    assert all(len(states) == 3 or states[-1] != "complete" for states in found.values()) or outcome.run.spec.seeds.race
    assert (folder / "best.safetensors").exists()


def test_a_confirmation_takes_configurations_by_their_means_and_none_of_their_seeds(tmp_path: Path, through: Outcome) -> None:
    folder = shutil.copytree(through.folder, tmp_path / "s")
    outcome = confirm(folder, ConfirmOptions(top=2, seeds=3))
    plan, best, used = read_plan(folder), through.results.configurations(), {int(t.config["seed"]) for t in through.results.trials}
    assert outcome.status == "done" and plan is not None
    assert [one.figure for one in plan.configurations[:2]] == [one.end.score for one in best[:2]]
    assert not used & set(plan.seeds)
    more = {trial_seed(through.run.spec.seed, trial) for trial in range(3 * 6)}  # it may go on
    assert used_seeds(through.results, through.run.spec) == used | more | {0}
    assert len(outcome.found.results.trials) == 3 * len(plan.chosen), "each training is one, and none is stopped early"
    assert (folder / "results.jsonl").read_bytes() == (through.folder / "results.jsonl").read_bytes()
    content = yaml.safe_load((folder / "best.yaml").read_text())
    assert content["confirmed"]["n"] == 3 and content["confirmed"]["search_best"] == best[0].end.trial
    assert ("seeds" in content["score"]) == ("training" not in content["confirmed"]), "the spread over its seeds is the search's"
    assert read_recipe(str(folder / "best.yaml")).seed == content["seed"], "tuner train takes it"
    named = (folder / "best.yaml").read_bytes(), (folder / "best.safetensors").read_bytes()
    assert resume(folder, ResumeOptions(trials="+1")).status == "done"
    if read_run(folder).configurations()[0].end == best[0].end:
        assert ((folder / "best.yaml").read_bytes(), (folder / "best.safetensors").read_bytes()) == named, "what was confirmed stands"

"""A search's best configurations trained again on fresh seeds: on the real Ray, interrupted, and read from the folder alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from kit.killed import killed_confirmation
from kit.one_ray import OneRay
from kit.resumed import Heard
from kit.without_ray import without_ray_at_all
from typer.testing import CliRunner

from tuner.cli.app import app
from tuner.errors import UserError
from tuner.evidence.baselines import CODE, PCA, RAW
from tuner.evidence.plan import default_config, read_plan
from tuner.evidence.report import Confirmation, confirmation_of
from tuner.evidence.sentences import in_sentences
from tuner.inference.export import export
from tuner.inference.load import load_trained, training_data
from tuner.runs.journal import read_lines
from tuner.runs.lock import LOCK
from tuner.runs.results import read_run
from tuner.service.confirm import ConfirmOptions, confirm
from tuner.service.driver import SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.space.configuration import read_recipe
from tuner.space.reader import read_space
from tuner.training.loop import train

SPACE = """
model: dec
dataset: {name: digits, limit: 200}
metric: {name: acc, goal: maximize}
trials: 3
epochs: 3
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: PACK}
parameters:
  lr: {values: [0.03, 0.1, 0.3]}
  hidden: {value: 8}
  batch_size: {value: 50}
  pretrain_epochs: {values: [2, 3]}
  n_clusters: {value: 7}
"""


def space(folder: Path, pack: object = "off", more: str = "") -> Path:
    path = folder / "space.yaml"
    path.write_text(SPACE.replace("PACK", str(pack)) + more)
    return path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that nobody has confirmed."""
    folder = tmp_path_factory.mktemp("searched")
    return without_ray_at_all(read_space(str(space(folder))), folder / "runs")


@pytest.fixture(scope="module")
def through(searched: Path, tmp_path_factory: pytest.TempPathFactory, ray_here: OneRay) -> Path:
    """The same, confirmed without an interruption: the best two and the default, three seeds each."""
    ray_here.up()
    folder = copied(searched, tmp_path_factory.mktemp("through"))
    assert confirm(folder, ConfirmOptions(top=2, seeds=3)).status == "done"
    return folder


def copied(run: Path, to: Path) -> Path:
    (to / "runs").mkdir()
    return Path(shutil.copytree(run, to / "runs" / run.name))


def read(folder: Path) -> Confirmation:
    found = confirmation_of(read_run(folder))
    assert found is not None
    return found


def values(folder: Path) -> dict[str, dict[int, float]]:
    return {one.name: dict(one.values) for one in read(folder).configurations}


def test_the_best_and_the_default_are_trained_on_the_same_fresh_seeds(searched: Path, through: Path) -> None:
    found, plan = read(through), read_plan(through)
    assert plan is not None
    ranked = read_run(through).ranked()
    assert [one.configuration.trial for one in found.configurations] == [ranked[0].trial, ranked[1].trial, None]
    assert [one.configuration.is_default for one in found.configurations] == [False, False, True]
    used = {trial.config["seed"] for trial in read_run(through).trials} | {0}
    assert len(set(plan.seeds)) == 3 and not used & set(plan.seeds)
    assert all(set(one.values) == set(plan.seeds) for one in found.configurations)
    assert (found.left, len(found.results.trials)) == (0, 9)
    assert (through / "results.jsonl").read_bytes() == (searched / "results.jsonl").read_bytes(), "old readers find the search alone"
    assert (through / "study.journal").read_bytes() == (searched / "study.journal").read_bytes()


def test_the_default_is_the_models_for_what_is_searched_and_the_spaces_for_what_is_fixed(tmp_path: Path) -> None:
    config = default_config(read_space(str(space(tmp_path))))
    assert (config["lr"], config["pretrain_epochs"]) == (0.01, 100)
    assert (config["hidden"], config["n_clusters"], config["epochs"]) == (8, 7, 3)


def test_a_training_is_that_of_tuner_train_with_its_seed(through: Path, tmp_path: Path) -> None:
    """Its pre-training has the training's own seed: nothing of the search's is used."""
    from tuner.data.datasets import load

    end = next(end for end in read(through).configurations[0].ends.values() if end.state == "complete")
    recipe = read_recipe(str(through / "best.yaml"))
    h = read_space(str(through / "space.yaml")).hyper(end.config)
    *_, last = train(recipe.model, h, load(recipe.dataset), seed=int(end.config["seed"]))
    assert last.metrics["acc"] == end.score


def test_the_figures_are_those_of_the_values(through: Path) -> None:
    found = read(through)
    for one in found.configurations:
        assert one.summary is not None
        assert one.summary.mean == pytest.approx(np.mean(list(one.values.values())))
        assert one.summary.sd == pytest.approx(np.std(list(one.values.values()), ddof=1))
    means = [one.summary.mean for one in found.ranked if one.summary]
    assert means == sorted(means, reverse=True)
    tuned, default = found.tuned, found.default
    assert tuned is not None and default is not None and found.against_default is not None
    assert found.against_default.differences == pytest.approx({seed: tuned.values[seed] - default.values[seed] for seed in tuned.values})
    chosen = found.configurations[0]
    assert chosen.summary is not None and chosen.configuration.figure is not None
    assert found.winners_curse == pytest.approx(chosen.configuration.figure - chosen.summary.mean)
    about = json.loads(json.dumps(found.summary()))
    assert about["winner"] == found.ranked[0].name and len(about["configurations"][0]["values"]) == 3


def test_k_means_stands_beside_the_winner_on_the_same_seeds(through: Path) -> None:
    from sklearn.cluster import KMeans

    from tuner.data.datasets import DatasetSpec, load
    from tuner.metrics import of_partition

    found = read(through)
    assert found.baselines is not None
    data, seed = load(DatasetSpec(name="digits", limit=200)), found.plan.seeds[0]
    assert set(found.baselines.metrics) == {RAW, PCA, CODE}
    assert all(set(found.baselines.values(name, "acc")) == set(found.plan.seeds) for name in (RAW, PCA, CODE))
    ours = found.baselines.metrics[RAW][seed]
    labels_N = KMeans(7, n_init=10, random_state=seed).fit_predict(data.x_ND.numpy())
    import torch

    assert ours == of_partition(torch.from_numpy(labels_N).long(), data.y_N, 7)


def test_the_pre_trained_code_is_what_the_clustering_began_with(through: Path) -> None:
    """Its k-means is scikit-learn's on the codes of the pre-training alone."""
    import torch
    from sklearn.cluster import KMeans

    from tuner.data.datasets import DatasetSpec, load
    from tuner.metrics import of_partition
    from tuner.model import load_model
    from tuner.training.codes import codes_of

    found = read(through)
    winner = found.winner
    assert winner is not None and found.baselines is not None
    data, seed = load(DatasetSpec(name="digits", limit=200)), found.plan.seeds[1]
    model, h = load_model("dec"), read_space(str(through / "space.yaml")).hyper(winner.configuration.config)
    epoch = next(epoch for epoch in train(model, h, data, seed=seed) if epoch.ends_phase)
    z_NZ = codes_of(model, h, data, epoch.snapshot())
    labels_N = KMeans(7, n_init=10, random_state=seed).fit_predict(z_NZ)
    assert found.baselines.metrics[CODE][seed] == of_partition(torch.from_numpy(labels_N).long(), data.y_N, 7)


def test_best_yaml_names_the_confirmed_winner_and_says_by_what(through: Path) -> None:
    found = read(through)
    best, winner = yaml.safe_load((through / "best.yaml").read_text()), found.winner
    assert winner is not None and winner.summary is not None
    assert best["trial"] == winner.configuration.trial
    assert best["confirmed"]["by"] == "the mean acc on 3 fresh seeds" and best["confirmed"]["mean"] == winner.summary.mean
    recipe = read_recipe(str(through / "best.yaml"))
    h = recipe.model.hyper(recipe.values)
    assert all(getattr(h, name) == value for name, value in winner.configuration.config.items() if name in ("lr", "pretrain_epochs"))
    from tuner.data.datasets import load

    *_, last = train(recipe.model, h, load(recipe.dataset), seed=recipe.seed, pretrain_seed=recipe.pretrain_seed)
    assert last.metrics["acc"] == best["score"]["value"], "its seed, its score and its weights are of one training"
    snapshot = load_trained(through).snapshot
    assert (snapshot.seed, snapshot.config["lr"]) == (best["seed"], best["parameters"]["lr"])


def test_an_exported_winners_card_has_the_search_and_the_confirmed_figures(through: Path, tmp_path: Path) -> None:
    found, best = read(through), yaml.safe_load((through / "best.yaml").read_text())
    export(through, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"By the search `{through.name}`: the highest `acc` of the last epoch, which looks at the labels." in card
    assert "| trials | 3 complete |" in card and "| searched | `lr`, `pretrain_epochs` |" in card
    assert "Labels: metrics looked at them in 9 epochs. They decided " in card
    again = "training" in best["confirmed"]
    assert (", trained again on a fresh seed |" in card) == again and f"| its seed | {best['seed']} |" in card
    assert found.winner is not None and found.winner.summary is not None
    assert f"| {found.winner.name} (this one) | 3 | {found.winner.summary.mean:.4f} ± " in card
    assert card.count(" | 3 | ") == len(found.ranked) and all(f"- {sentence}" in card for sentence in in_sentences(found))


def test_a_winner_whose_weights_the_search_could_not_keep_gets_those_of_its_best_training(through: Path, tmp_path: Path) -> None:
    folder = copied(through, tmp_path)
    winner, best = read(folder).winner, yaml.safe_load((folder / "best.yaml").read_text())
    assert winner is not None
    del best["confirmed"]  # as the search left it, had this been its best
    (folder / "best.yaml").write_text(yaml.safe_dump({**best, "trial": winner.configuration.trial, "weights": None}))
    (folder / "best.safetensors").unlink()
    assert not confirm(folder).ran
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["weights"] == "best.safetensors" and best["confirmed"]["training"] in range(9)
    trained = load_trained(folder, device="cpu")
    assert (trained.snapshot.seed, len(trained.assigner.assign(training_data(trained).x_ND.numpy()))) == (best["seed"], 200)


def test_a_resumed_search_keeps_the_confirmed_winner(through: Path, tmp_path: Path) -> None:
    folder = copied(through, tmp_path)
    before = (folder / "best.yaml").read_text()
    assert not resume(folder).ran
    assert (folder / "best.yaml").read_text() == before


@pytest.mark.slow
def test_a_second_call_goes_on_and_trains_nothing_twice(through: Path, tmp_path: Path) -> None:
    folder, heard = copied(through, tmp_path), Heard()
    assert not confirm(folder).ran, "as many as before"
    before = values(folder)
    outcome = confirm(folder, ConfirmOptions(seeds=4, listeners=(heard,)))
    assert (outcome.status, len(heard.started)) == ("done", 3)
    after = values(folder)
    assert {name: {seed: now[seed] for seed in before[name]} for name, now in after.items()} == before
    assert all(len(now) == 4 for now in after.values())


def test_the_command_shows_a_confirmation_that_is_done(through: Path, tmp_path: Path) -> None:
    folder = copied(through, tmp_path)
    done = CliRunner().invoke(app, ["confirm", str(folder)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    winner = read(folder).winner
    assert winner is not None and winner.summary is not None
    assert "Confirmed on 3 fresh seeds: acc of the last epoch" in done.output and f"{winner.summary.mean:.3f} ± " in done.output
    assert f"{winner.name}  " in done.output and "default" in done.output
    assert values(folder) == values(through), "nothing was trained again"


def test_a_run_without_a_complete_trial_cannot_be_confirmed(searched: Path, tmp_path: Path) -> None:
    folder = copied(searched, tmp_path)
    lines = [line for line in (folder / "results.jsonl").read_text().splitlines() if '"state"' not in line]
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="s has no complete trial: there is nothing to confirm"):
        confirm(folder)
    assert not (folder / "confirm").exists() and not (folder / LOCK).exists()


def test_other_data_are_refused(searched: Path, tmp_path: Path) -> None:
    folder = copied(searched, tmp_path)
    about = json.loads((folder / "spec.json").read_text())
    about["data"]["values"] = "0" * 64
    (folder / "spec.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="was made with other data"):
        confirm(folder)


def test_a_damaged_plan_is_named(through: Path, tmp_path: Path) -> None:
    folder = copied(through, tmp_path)
    (folder / "confirm" / "plan.json").write_text('{"request": {}}')
    with pytest.raises(UserError, match=r"plan\.json cannot be read: it is no plan of trainings"):
        confirm(folder)


def test_a_confirmation_is_no_search_to_go_on_with(through: Path) -> None:
    with pytest.raises(UserError, match=r"holds the confirmation of s\. To go on with that: tuner confirm s"):
        resume(through / "confirm")


# --- as a key of the space, and interrupted ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_space_may_ask_for_it_and_an_interrupted_one_goes_on_by_tuner_resume(tmp_path: Path, through: Path) -> None:
    spec = read_space(str(space(tmp_path, more="confirm: {top: 2, seeds: 3}\n")))
    stopped = search(spec, SearchOptions(out=tmp_path / "runs", name="s", confirm_listeners=(Heard((4, 3)),)))
    assert stopped.status == "stopped" and stopped.confirmed is not None and stopped.confirmed.found.left > 0
    assert read_run(stopped.folder).status == "done", "the search itself is over"
    outcome = resume(stopped.folder, ResumeOptions())
    assert outcome.status == "done" and outcome.confirmed is not None
    assert values(outcome.folder) == values(through)
    assert not resume(outcome.folder).ran


PLACES = ((0, 1), (3, 4), (7, 5))  # in a first pre-training, in a clustering epoch, near the end


@pytest.mark.slow
def test_one_that_was_killed_at_three_places_is_the_one_that_ran_through(searched: Path, through: Path, tmp_path: Path) -> None:
    folder = copied(searched, tmp_path)
    for place in PLACES:
        killed_confirmation(folder, place)
        assert read(folder).left > 0
    outcome = confirm(folder)
    assert (outcome.status, outcome.found.left) == ("done", 0)
    assert values(folder) == values(through)
    assert epochs_once(folder) == epochs_once(through)
    ours, theirs = (yaml.safe_load((one / "best.yaml").read_text()) for one in (folder, through))
    assert ours["confirmed"] == theirs["confirmed"] and ours["seed"] == theirs["seed"]


def epochs_once(folder: Path) -> dict[tuple[int, int], dict[str, float]]:
    """The metrics of every clustering epoch. An epoch is journalled once; which training of a seed pre-trains for both is chance."""
    lines = [line for line in read_lines(folder / "confirm" / "results.jsonl") if "state" not in line]
    assert len({(line["trial"], line["epoch"]) for line in lines}) == len(lines)
    return {
        (line["trial"], line["cluster_epoch"]): {k: v for k, v in line["metrics"].items() if k != "samples_per_s"}
        for line in lines
        if line["cluster_epoch"] is not None
    }

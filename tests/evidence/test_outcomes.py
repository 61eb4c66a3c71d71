"""What a confirmation says where something is absent or fails: no labels, images, a default that cannot be trained, few trials."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kit.without_ray import confirmed_without_ray, without_ray_at_all
from rich.console import Console

from tuner.cli.confirm_view import confirm_view
from tuner.evidence.baselines import CODE, PCA, RAW, read_baselines
from tuner.evidence.report import Confirmation, confirmation_of
from tuner.evidence.sentences import in_sentences
from tuner.runs.events import TrialEnd
from tuner.runs.results import read_run
from tuner.space.reader import read_space

SPACE = """
model: kmeans
dataset: DATA
metric: METRIC
trials: 2
epochs: 3
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: "off"}
parameters:
  n_clusters: {values: [3, 4]}
"""


def run(folder: Path, **said: Any) -> Path:
    """A search that is done. `said`: keys of the space."""
    content = {**yaml.safe_load(SPACE), **said}
    (folder / "space.yaml").write_text(yaml.safe_dump(content))
    return without_ray_at_all(read_space(str(folder / "space.yaml")), folder / "runs")


def shown(found: Confirmation) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for part in confirm_view(found):
        console.print(part)
    return console.export_text()


def blobs(path: Path, *, shape: tuple[int, ...] = (4,), labels: bool = True) -> str:
    rng = np.random.default_rng(0)
    y_N = np.repeat([0, 1, 2], 20)
    x_ND = (rng.normal(size=(60, *shape)) * 0.1 + y_N.reshape(-1, *[1] * len(shape))).astype(np.float32)
    np.savez(path, x=x_ND, **({"y": y_N} if labels else {}))
    return f"npz:{path}"


def ended_otherwise(folder: Path, ends: list[TrialEnd], **how: str) -> Confirmation:
    """The run's confirmation, had some of its trainings ended without a score."""
    path = folder / "confirm" / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["trial"] in {end.trial for end in ends} and "state" in line:
            line |= {"score": None, **how}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = confirmation_of(read_run(folder))
    assert found is not None
    return found


def test_without_labels_there_is_a_winner_and_no_figure_of_k_means(tmp_path: Path) -> None:
    data = blobs(tmp_path / "x.npz", labels=False)
    folder = run(tmp_path, dataset=data, metric={"name": "silhouette", "goal": "maximize"})
    found = confirmed_without_ray(folder, top=2, seeds=2).found
    assert found.winner is not None and found.winner.summary is not None and found.beside is None
    text = shown(found)
    assert "silhouette" in text and "k-means" not in text
    json.dumps(found.summary(), allow_nan=False)


def test_where_labels_only_report_k_means_stands_beside_the_accuracy_that_was_reported(tmp_path: Path) -> None:
    data = blobs(tmp_path / "x.npz")
    metric = {"name": "silhouette", "goal": "maximize"}
    folder = run(tmp_path, dataset=data, metric=metric, select={"labels": "never"})
    found = confirmed_without_ray(folder, top=2, seeds=2).found
    assert found.beside == "acc" and found.winner is not None
    reported = found.winner.reported("acc")
    assert reported == {seed: end.metrics["acc"] for seed, end in found.winner.ends.items()}
    text = shown(found)
    assert "acc ± sd, reported" in text
    assert re.search(r"against k-means, raw data, by the acc that was reported: [+-]\d\.\d{3}", text)
    row = next(line for line in text.splitlines() if line.strip().startswith(RAW))
    assert found.baselines is not None
    assert f"{np.mean(list(found.baselines.values(RAW, 'acc').values())):.3f} ±" in row


def test_a_metric_of_which_less_is_better_is_spoken_of_as_it_moves(tmp_path: Path) -> None:
    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz"), metric={"name": "davies_bouldin", "goal": "minimize"})
    found = confirmed_without_ray(folder, top=2, seeds=2).found
    best, chosen = found.tuned, found.chosen
    assert best is not None and chosen is not None and chosen.configuration.figure is not None
    assert found.default is not None and best.mean < found.default.mean and found.winners_curse is not None
    text = " ".join(shown(found).split())
    assert f"Tuning beat the model's default: {best.name} against it {best.mean - found.default.mean:+.3f} (95 % interval -" in text
    assert "kept its davies_bouldin 0." in text and ": no winner's curse." in text

    def said(figure: float) -> str:
        """Had the search's figure been this one."""
        other = replace(chosen, configuration=replace(chosen.configuration, figure=figure))
        return next(in_sentences(replace(found, configurations=(other, *found.configurations[1:]))))

    name, after = chosen.name, f"{chosen.mean:.3f}"
    lower, higher = chosen.mean - 0.02, chosen.mean + 0.02
    assert said(lower) == f"The search's best, {name}, rose from davies_bouldin {lower:.3f} to {after}: a winner's curse of 0.020."
    assert said(higher) == f"The search's best, {name}, fell from davies_bouldin {higher:.3f} to {after}: no winner's curse."


def test_images_are_clustered_by_their_values(tmp_path: Path) -> None:
    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz", shape=(3, 2, 2)), metric={"name": "acc", "goal": "maximize"})
    found = confirmed_without_ray(folder, top=1, seeds=2).found
    assert found.baselines is not None and set(found.baselines.metrics) == {RAW, PCA}, "no model that has no pre-training has its code"
    assert CODE not in found.baselines.metrics


def test_a_top_beyond_the_complete_trials_takes_what_there_is_and_says_so(tmp_path: Path) -> None:
    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz"), metric={"name": "acc", "goal": "maximize"})
    found = confirmed_without_ray(folder, top=50, seeds=2).found
    assert [one.configuration.is_default for one in found.configurations] == [False, False, True]
    assert "The search has 2 complete configurations, fewer than the 50 asked for." in shown(found)


def test_a_default_that_cannot_be_trained_is_named_and_the_winner_stands(tmp_path: Path) -> None:
    """Its batch is larger than the data."""
    searched = {"batch_size": {"values": [16, 20]}, "hidden": {"value": 8}, "pretrain_epochs": {"value": 2}, "n_clusters": {"value": 3}}
    folder = run(tmp_path, model="dec", dataset=blobs(tmp_path / "x.npz"), metric={"name": "acc", "goal": "maximize"}, parameters=searched)
    outcome = confirmed_without_ray(folder, top=2, seeds=2)
    found = outcome.found
    assert outcome.status == "done" and found.winner is not None and not found.winner.configuration.is_default
    assert (found.default, found.against_default, found.beats_default, found.overtuning) == (None, None, None, None)
    text = shown(found)
    assert len(re.findall(r"Does not count: default on seed \d+ failed: .*batch", text)) == 2
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["confirmed"]["n"] == 2 and best["trial"] == found.winner.configuration.trial


def test_a_failed_seed_costs_its_configuration_the_rank(tmp_path: Path) -> None:
    """Its mean over the others may be the better one, for that very reason."""
    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz"), metric={"name": "acc", "goal": "maximize"})
    found = confirmed_without_ray(folder, top=2, seeds=3).found
    first = found.ranked[0]
    again = ended_otherwise(folder, [next(iter(first.ends.values()))], state="failed", reason="its process was killed")
    assert again.ranked[-1].name == first.name and len(again.ranked[-1].values) == 2
    assert again.against_default is not None and set(again.against_default.differences) <= set(found.plan.seeds)
    assert "failed: its process was killed" in shown(again)


def test_seeds_that_collapsed_count_as_the_worst_and_are_told(tmp_path: Path) -> None:
    """A mean of 0.3 of which a third is nothing reads otherwise than one of three alike."""
    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz"), metric={"name": "acc", "goal": "maximize"})
    found = confirmed_without_ray(folder, top=2, seeds=3).found
    first = found.ranked[0]
    assert "collapsed" not in shown(found)
    seeds = list(first.ends)[:2]
    again = ended_otherwise(folder, [first.ends[seed] for seed in seeds], state="collapsed", reason="all samples lie in one cluster")
    now = next(one for one in again.configurations if one.name == first.name)
    assert [now.values[seed] for seed in seeds] == [0.0, 0.0] and now.summary is not None and now.summary.n == 3
    text = shown(again)
    assert re.search(r"Of 3 trainings of .* 2 collapsed\. They count as acc 0\.", text), text
    assert all(re.search(rf"{seed} .*collapsed", text) for seed in seeds), text


def test_damaged_baselines_are_named(tmp_path: Path) -> None:
    from tuner.errors import UserError

    folder = run(tmp_path, dataset=blobs(tmp_path / "x.npz"), metric={"name": "acc", "goal": "maximize"})
    confirmed_without_ray(folder, top=1, seeds=2)
    path = folder / "confirm" / "baselines.json"
    path.write_text(path.read_text().replace('"acc"', '"acc": "x", "was"', 1))
    with pytest.raises(UserError, match=r"baselines\.json cannot be read: it holds no baselines"):
        read_baselines(folder)

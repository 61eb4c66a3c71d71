"""`holdout`: no trial sees that part, nothing is chosen by it, and every table says which number is which."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from kit.without_ray import confirmed_without_ray, without_ray_at_all
from rich.console import Console
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score, silhouette_score

from tuner.cli.confirm_view import confirm_view
from tuner.cli.results_view import outcome_view
from tuner.data.datasets import Data
from tuner.data.holdout import parts
from tuner.errors import UserError
from tuner.inference.load import load_assigner
from tuner.runs.journal import read_lines
from tuner.runs.results import read_run
from tuner.space.reader import read_space

SPACE = """
model: idec
dataset: DATA
metric: {name: acc}
trials: 2
epochs: 2
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: "off"}
parameters:
  n_clusters: {value: 3}
  hidden: {value: 8}
  latent_dim: {value: 3}
  pretrain_epochs: {value: 2}
  batch_size: {value: 20}
  lr: {values: [1e-3, 1e-2]}
"""


def blobs(path: Path, changed: slice | list[int] = slice(0)) -> str:
    """`changed`: rows that have other values."""
    rng = np.random.default_rng(0)
    y_N = np.arange(120) % 3
    x_ND = (rng.normal(size=(120, 4)) * 0.3 + np.eye(3, 4)[y_N]).astype(np.float32)
    x_ND[changed] = x_ND[changed][::-1] + 3
    np.savez(path, x=x_ND, y=y_N)
    return f"npz:{path}"


def run(folder: Path, data: str, **said: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "space.yaml").write_text(yaml.safe_dump({**yaml.safe_load(SPACE.replace("DATA", data)), **said}))
    return without_ray_at_all(read_space(str(folder / "space.yaml")), folder / "runs")


def text_of(view: Any) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for part in view:
        console.print(part)
    return console.export_text()


def whole(test: slice | None = None, n: int = 50) -> Data:
    return Data(name="x", x_ND=torch.arange(2.0 * n).reshape(n, 2), y_N=torch.arange(n) % 5, shape=(2,), test=test)


def test_the_two_parts_are_all_samples_once_and_the_same_in_every_search() -> None:
    found, again = parts(whole(), 0.2), parts(whole(), 0.2)
    assert found.held is not None and again.held is not None
    assert found.held.n_samples == 10 and torch.equal(found.held.x_ND, again.held.x_ND)
    assert sorted([*found.kept.x_ND[:, 0].tolist(), *found.held.x_ND[:, 0].tolist()]) == whole().x_ND[:, 0].tolist()
    assert found.kept.y_N is not None and torch.equal(found.kept.y_N, (found.kept.x_ND[:, 0] / 2).long() % 5), (
        "labels go with their samples"
    )
    assert parts(whole(), None).held is None and found.kept.spec.n_classes == 5


def test_the_published_test_split_is_held_out_whole() -> None:
    found = parts(whole(test=slice(40, 50)), "test")
    assert found.held is not None and found.held.x_ND[:, 0].tolist() == [2.0 * n for n in range(40, 50)]
    assert found.kept.n_samples == 40 and found.kept.test is None


def test_no_trial_sees_what_is_held_out_and_its_figures_are_those_of_the_winners_weights_there(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", blobs(tmp_path / "x.npz"), holdout=0.25)
    rows = torch.arange(120.0)[:, None].expand(120, 4)
    held = parts(Data(name="rows", x_ND=rows, y_N=None, shape=(4,)), 0.25).held
    assert held is not None
    rows_H = held.x_ND[:, 0].long().numpy()
    best = read_run(folder).best()
    assert best is not None
    with np.load(tmp_path / "x.npz") as file:
        x_HD, y_H = file["x"][rows_H], file["y"][rows_H]
    found = load_assigner(folder / "best.yaml").assign(x_HD, code=True)
    n_KC = np.zeros((3, 3), dtype=int)
    np.add.at(n_KC, (found.cluster_N, y_H), 1)
    assert best.metrics["acc_holdout"] == pytest.approx(n_KC[linear_sum_assignment(-n_KC)].sum() / 30)
    assert best.metrics["nmi_holdout"] == pytest.approx(normalized_mutual_info_score(y_H, found.cluster_N))
    assert best.metrics["silhouette_holdout"] == pytest.approx(silhouette_score(found.code_NZ, found.cluster_N), abs=1e-5)
    other = run(tmp_path / "b", blobs(tmp_path / "other.npz", rows_H.tolist()), holdout=0.25)

    def seen(of: Path) -> list[dict[str, float]]:
        lines = [line["metrics"] for line in read_lines(of / "results.jsonl") if "state" not in line]
        return [{name: value for name, value in one.items() if "_holdout" not in name and name != "samples_per_s"} for one in lines]

    assert seen(folder) == seen(other), "the held-out samples have other values there"
    last = [line["metrics"] for line in read_lines(folder / "results.jsonl") if "state" not in line]
    assert "acc_holdout" not in last[0] and "acc_holdout" in last[-1], "after the last epoch alone"
    shown = text_of(outcome_view(read_run(folder)))
    assert "acc, held out" in shown and "acc chose, on the samples that were not held out; no trial has seen those that were." in shown
    confirmed = confirmed_without_ray(folder, top=1, seeds=2).found
    assert "On the held-out samples, which no training saw and nothing was chosen by: acc 0." in text_of(confirm_view(confirmed)).replace(
        "\n", " "
    )
    assert confirmed.baselines is not None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"holdout": 1.5}, r"'holdout' must be none, test \(the published test split\) or a share from 0.01 to 0.9, but got 1.5\."),
        ({"holdout": True}, "but got true"),
        ({"holdout": "tset"}, "but got 'tset'"),
        ({"holdout": "test"}, "the data have no published test split to hold out. Hold a share of the samples out, such as 0.2."),
        ({"holdout": 0.01}, "of 120 samples that holds fewer than two out"),
        ({"holdout": 0.9}, "'batch_size' is 20, but a batch cannot be more than the data's 12 samples that are not held out."),
        ({"holdout": 0.2, "metric": {"name": "acc_holdout"}}, "acc_holdout"),
    ],
)
def test_a_holdout_that_cannot_be_is_refused(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        run(tmp_path / "a", blobs(tmp_path / "x.npz"), **said)

"""`select: {labels: never}`: what looks at labels decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import UserError
from tuner.space.reader import read_space
from tuner.space.spec import Spec

SPACE = """\
model: {model}
dataset: {{name: digits, limit: 200}}
metric: {{name: {metric}}}
select: {select}
parameters: {{n_clusters: {{value: 10}}, {searched}}}
"""
KMEANS = "n_init: {values: [1, 2]}"


def read(folder: Path, metric: str, select: str = "{labels: never}", model: str = "kmeans", searched: str = KMEANS) -> Spec:
    (folder / "space.yaml").write_text(SPACE.format(metric=metric, select=select, model=model, searched=searched))
    return read_space(str(folder / "space.yaml"))


@pytest.mark.parametrize("metric", ["acc", "acc_vote", "nmi", "ari", "ami", "knn_error_5"])
def test_a_metric_that_looks_at_labels_is_refused_and_those_that_do_not_are_named(metric: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, metric)
    assert str(refused.value).splitlines()[1:] == [
        f"  space.yaml:3: '{metric}' looks at the labels, and select: {{labels: never}} forbids that it decides. Use one of n_used, "
        "largest_share, balance, confidence, silhouette, davies_bouldin, calinski_harabasz, description_length."
    ]


@pytest.mark.parametrize(
    "metric", ["silhouette", "davies_bouldin", "calinski_harabasz", "description_length", "confidence", "balance", "n_used"]
)
def test_metrics_without_labels_decide(metric: str, tmp_path: Path) -> None:
    spec = read(tmp_path, metric)
    assert spec.metric.name == metric and spec.key("select").labels == "never"
    assert spec.resolved()["select"] == {"labels": "never"}


def test_where_labels_may_not_decide_and_nobody_says_what_does_balance_decides(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    text = SPACE.format(metric="acc", select="{labels: never}", model="kmeans", searched=KMEANS).replace("metric: {name: acc}\n", "")
    path.write_text(text)
    spec = read_space(str(path))
    assert (spec.metric.name, spec.metric.goal, spec.filled["metric.name"]) == ("balance", "maximize", "balance")
    assert spec.resolved()["metric"] == {"name": "balance", "goal": "maximize"}
    for instead, message in (
        (("labels: never", "labels: allowed"), "'metric' is missing: .* with select: {labels: never} it is balance"),
        (("value: 10", "min: 2, max: 9"), r":3: 'n_clusters' cannot be searched by 'balance': .* or decide by confidence, silhouette, "),
    ):
        path.write_text(text.replace(*instead))
        with pytest.raises(UserError, match=message):
            read_space(str(path))


def test_losses_are_named_where_the_model_has_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="description_length, loss/recon, "):
        read(tmp_path, "acc", model="aae_unsup", searched="hidden: {values: [8, 16]}")
    assert read(tmp_path, "loss/recon", model="aae_unsup", searched="hidden: {values: [8, 16]}").metric.goal == "minimize"


def test_a_model_that_is_given_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"space.yaml:1: 'm2' cannot be searched with select: \{labels: never\}: a model that is given"):
        read(tmp_path, "confidence", model="m2", searched="hidden: {values: [8, 16]}")


def test_labels_decide_unless_the_space_forbids_it(tmp_path: Path) -> None:
    assert read(tmp_path, "acc", "{labels: allowed}").metric.name == "acc"
    (tmp_path / "space.yaml").write_text((tmp_path / "space.yaml").read_text().replace("select: {labels: allowed}\n", ""))
    spec = read_space(str(tmp_path / "space.yaml"))
    assert spec.key("select").labels == "allowed" and spec.filled["select.labels"] == "allowed"


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("never", "'select' must be a mapping such as {labels: never}, but got 'never'."),
        ("{labels: nver}", "'labels' must be one of allowed | never, but got 'nver'. Did you mean 'never'?"),
        ("{label: never}", "'select' has no key 'label'. Did you mean 'labels'? Known are labels."),
    ],
)
def test_what_is_said_wrongly_is_named(select: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, "silhouette", select)
    assert str(refused.value).splitlines()[1:] == [f"  space.yaml:4: {message}"]

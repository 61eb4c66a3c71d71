"""Silhouette and nearest-neighbour errors: against independent statements, and when and of what the loop measures them."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from tuner.data.datasets import Data
from tuner.draws import Draws
from tuner.model import load_model
from tuner.testing import blobs, packed, record
from tuner.training import neighbours
from tuner.training.loop import train
from tuner.training.neighbours import KNN_ERRORS, NEIGHBOURHOODS, Codes, held_out, knn_errors, neighbourhoods, silhouette

DATA, MODEL = blobs(), load_model("ae")


def codes(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of four classes that overlap."""
    g = torch.Generator().manual_seed(1)
    y_N = torch.randint(4, (n,), generator=g)
    return torch.randn(n, 3, generator=g) + 1.5 * torch.eye(4)[y_N, :3], y_N


def run(model=MODEL, data: Data = DATA, metric: str | None = None, **more):
    return [e.metrics for e in train(model, model.hyper(dict(model.tiny) | more), data, seed=1, metric=metric)]


def variant(**methods):
    return type("Variant", (type(MODEL),), methods | {"__module__": type(MODEL).__module__})()


# --- what they are -----------------------------------------------------------------------------------------------------


def test_the_silhouette_compares_the_mean_distances_to_the_own_and_to_the_nearest_other_cluster() -> None:
    z_NZ, c_N = codes(60)
    d_NN = (z_NZ[:, None] - z_NZ).double().square().sum(-1).sqrt()
    each = []
    for i in range(60):
        own = (c_N == c_N[i]) & (torch.arange(60) != i)
        a = float(d_NN[i, own].mean())
        b = min(float(d_NN[i, c_N == k].mean()) for k in range(4) if k != c_N[i])
        each.append((b - a) / max(a, b))
    assert silhouette(z_NZ, c_N) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("n_numbers", [2, 100, 784])
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1e-3, 1e3), (1e6, -1e6)])
def test_the_silhouette_is_scikit_learns_near_0_and_far_from_it(n_numbers: int, scale: float, shift: float) -> None:
    g = torch.Generator().manual_seed(n_numbers)
    c_N = torch.randint(4, (200,), generator=g)
    z_NZ = torch.randn(200, n_numbers, generator=g).double()
    z_NZ = shift + scale * (z_NZ + 2 * torch.eye(4, n_numbers)[c_N])
    d_NN = squareform(pdist(z_NZ))
    assert silhouette(z_NZ, c_N) == pytest.approx(silhouette_score(d_NN, c_N, metric="precomputed"))


@pytest.mark.parametrize("value", [0.0, 1 / 3, -1e6])
def test_codes_that_are_all_the_same_lie_no_nearer_to_their_own_cluster_than_to_another(value: float) -> None:
    assert silhouette(torch.full((90, 30), value), torch.arange(90) % 3) == 0.0


def test_codes_that_are_the_same_within_each_cluster_lie_as_well_as_they_can() -> None:
    c_N = torch.arange(90) % 3
    assert silhouette(torch.randn(3, 30, generator=torch.Generator().manual_seed(1))[c_N], c_N) == 1.0


@pytest.mark.parametrize("c_N", [torch.full((20,), 3), torch.arange(20)])
def test_a_silhouette_of_one_cluster_or_of_a_cluster_for_each_sample_is_the_worst(c_N: torch.Tensor) -> None:
    assert silhouette(codes(20)[0], c_N) == -1.0


def test_nearest_neighbour_errors_are_those_of_scikit_learns_classifier() -> None:
    z_NZ, y_N = codes()
    found = knn_errors(Codes(z_NZ=z_NZ[:200], y_N=y_N[:200]), Codes(z_NZ=z_NZ[200:], y_N=y_N[200:]))
    assert list(found) == ["knn_error_3", "knn_error_5", "knn_error_10"]
    for name, k in KNN_ERRORS.items():
        assert found[name] == pytest.approx(1 - KNeighborsClassifier(k).fit(z_NZ[:200], y_N[:200]).score(z_NZ[200:], y_N[200:]))
    assert 0.1 < found["knn_error_5"] < 0.6


def test_where_there_are_fewer_references_all_of_them_vote() -> None:
    z_NZ, _ = codes(6)
    found = knn_errors(Codes(z_NZ=z_NZ[:4], y_N=torch.tensor([2, 2, 2, 0])), Codes(z_NZ=z_NZ[4:], y_N=torch.tensor([2, 0])))
    assert found["knn_error_10"] == found["knn_error_5"] == 0.5


def test_codes_that_are_not_finite_are_as_bad_as_can_be() -> None:
    z_NZ, y_N = codes()
    z_NZ[7, 1] = torch.inf
    assert silhouette(z_NZ, y_N) == -1.0
    references, queries = Codes(z_NZ=z_NZ[:200], y_N=y_N[:200]), Codes(z_NZ=z_NZ[200:], y_N=y_N[200:])
    assert knn_errors(references, queries) == dict.fromkeys(KNN_ERRORS, 1.0)


# --- which samples -----------------------------------------------------------------------------------------------------


def test_the_silhouette_is_of_one_draw_for_all_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "SAMPLES", 50)
    z_NZ, c_N = codes()
    data = Data(name="codes", x_ND=z_NZ, y_N=None, shape=(3,))
    asked = []

    def embed(rows_R: torch.Tensor) -> torch.Tensor:
        asked.append(rows_R)
        return z_NZ[rows_R]

    one, again = (neighbourhoods(embed, data, c_N, ("silhouette",)) for _ in range(2))
    assert one == again
    assert torch.equal(*asked) and len(set(asked[0].tolist())) == 50
    assert one["silhouette"] == pytest.approx(silhouette_score(z_NZ[asked[0]].double(), c_N[asked[0]]))


def test_the_published_test_split_is_held_out_and_else_a_fifth() -> None:
    data = Data(name="codes", x_ND=codes()[0], y_N=None, shape=(3,))
    known, asked = held_out(data)
    assert sorted([*known.tolist(), *asked.tolist()]) == list(range(300))
    assert len(asked) == 60
    assert torch.equal(asked, held_out(dataclasses.replace(data))[1])  # whatever the trial
    known, asked = held_out(dataclasses.replace(data, test=slice(250, 300)))
    assert sorted(known.tolist()) == list(range(250))
    assert sorted(asked.tolist()) == list(range(250, 300))
    for empty in (slice(300, 300), slice(0, 300)):  # what a small subset may leave
        assert [len(rows) for rows in held_out(dataclasses.replace(data, test=empty))] == [240, 60]
    assert [len(rows) for rows in held_out(dataclasses.replace(data, x_ND=data.x_ND[:2]))] == [1, 1]


def test_large_data_are_cut_to_what_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "REFERENCES", 100)
    monkeypatch.setattr(neighbours, "HELD_OUT", 20)
    known, asked = held_out(Data(name="codes", x_ND=codes()[0], y_N=None, shape=(3,), test=slice(200, 300)))
    assert (len(known), len(asked)) == (100, 20)
    assert int(known.max()) < 200 <= int(asked.min())


# --- when ----------------------------------------------------------------------------------------------------------------


def test_they_are_measured_in_the_last_epoch_of_the_trials_own_codes_and_clusters() -> None:
    *before, last = train(MODEL, MODEL.hyper(dict(MODEL.tiny)), DATA, seed=1)
    assert not any(set(NEIGHBOURHOODS) & set(epoch.metrics) for epoch in before)
    state = last.snapshot().tensors
    network = MODEL.networks(MODEL.hyper(dict(MODEL.tiny)), DATA.spec)["encoder"].double()
    network.load_state_dict({k.removeprefix("encoder."): t for k, t in state.items() if k.startswith("encoder.")})
    with torch.no_grad():
        z_NZ = network(DATA.x_ND)
    c_N = torch.cdist(z_NZ, state["centers_KZ"]).argmin(1)
    assert last.metrics["silhouette"] == pytest.approx(silhouette_score(z_NZ, c_N))
    order_N = Draws("held out", like=torch.empty(())).permutation(150)
    known, asked = order_N[order_N < 120], order_N[order_N >= 120]
    assert last.metrics["knn_error_5"] == 1 - KNeighborsClassifier(5).fit(z_NZ[known], DATA.y_N[known]).score(z_NZ[asked], DATA.y_N[asked])


@pytest.mark.parametrize("metric", ["silhouette", "davies_bouldin", "calinski_harabasz", "description_length", "knn_error_3"])
def test_what_a_search_goes_by_is_measured_in_every_clustering_epoch(metric: str) -> None:
    lines = run(load_model("dec"), metric=metric, pretrain_epochs=2, epochs=3)
    assert [set(NEIGHBOURHOODS) & set(m) for m in lines] == [set(), set(), {metric}, {metric}, set(NEIGHBOURHOODS)]


def test_without_labels_there_is_what_looks_at_none() -> None:
    found = set(NEIGHBOURHOODS) & set(run(data=dataclasses.replace(DATA, y_N=None))[-1])
    assert found == {"silhouette", "davies_bouldin", "calinski_harabasz", "description_length"}


def test_measuring_changes_nothing_of_the_training() -> None:
    plain, measured = (run(load_model("dec"), metric=metric, pretrain_epochs=1, epochs=3) for metric in (None, "silhouette"))
    for one, other in zip(plain, measured, strict=True):
        assert all(one[name] == other[name] for name in one if name != "samples_per_s")


def test_a_lane_measures_what_its_solo_run_does() -> None:
    model = load_model("dec")
    hs = [model.hyper(dict(model.tiny) | {"lr": lr}) for lr in (0.01, 0.02)]
    for i, lane in enumerate(packed(model, hs, DATA, seeds=[1, 2], metric="silhouette")):
        alone = [record(epoch).metrics for epoch in train(model, hs[i], DATA, seed=i + 1, metric="silhouette")]
        assert [set(run.metrics) for run in lane] == [set(m) for m in alone]
        for name in NEIGHBOURHOODS:
            assert lane[-1].metrics[name] == pytest.approx(alone[-1][name], abs=1e-8)
        assert [run.metrics.get("silhouette") for run in lane[10:]] == pytest.approx([m["silhouette"] for m in alone[10:]], abs=1e-8)


def test_a_collapsed_trial_has_the_worst_silhouette_that_can_be() -> None:
    def one_cluster(self, net, x_BD, h):
        return torch.eye(h.n_clusters, dtype=x_BD.dtype)[[0] * len(x_BD)]

    lines = run(variant(assign=one_cluster), metric="silhouette")
    assert {m["silhouette"] for m in lines if "acc" in m} == {-1.0}


def test_a_training_waits_for_no_import_of_scikit_learn() -> None:
    program = """
import sys
import torch
from tuner.model import load_model
from tuner.testing import blobs
from tuner.training.loop import train

model = load_model("idec")
*_, last = train(model, model.hyper(dict(model.tiny)), blobs(150, dtype=torch.float32), seed=1)
assert {"ami", "silhouette", "knn_error_5"} <= set(last.metrics)
assert "sklearn" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

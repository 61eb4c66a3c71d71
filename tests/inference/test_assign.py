"""A trained model gives training's own clusters, row for row, and refuses what it was not trained on."""

import dataclasses

import numpy as np
import pytest
import torch

from tuner.data.datasets import DatasetSpec, load, read_raw
from tuner.data.scaling import AS_IT_IS, Intake
from tuner.errors import UserError
from tuner.inference.assign import Assigner, Assignment
from tuner.losses import one_hot
from tuner.model import Model, load_model, model_names
from tuner.testing import short
from tuner.training import checkpoint, loop

EVERY_MODEL = pytest.mark.parametrize("model", [load_model(name) for name in model_names()], ids=lambda m: m.name)


def trained(model: Model, scale: str = "minmax", limit: int = 700, **more):
    """The last epoch's snapshot, the raw samples, and the probabilities by which that epoch was scored."""
    dataset = DatasetSpec(name="digits", limit=limit, scale=scale)
    data, seen = load(dataset), []
    labelled = {"n_clusters": 10} if model.labels == "partial" else {}  # cluster k is class k
    evaluate = loop.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate", lambda p_NK, y_N: (seen.append(p_NK), evaluate(p_NK, y_N))[1])
        *_, last = loop.train(model, short(model, **labelled, **more), data, seed=0)
    rows_N = np.sort(np.random.RandomState(0).permutation(1797)[:limit])
    return last.snapshot(), read_raw(dataset).values(rows_N), seen[-1]


@EVERY_MODEL
def test_on_its_own_samples_it_gives_the_clusters_of_its_last_epoch(model, tmp_path):
    """To the last bit: 700 samples are two slices of evaluation, and two pieces of this test."""
    snapshot, x_ND, p_NK = trained(model)
    checkpoint.save(snapshot, tmp_path / "best.safetensors")
    assigner = Assigner(checkpoint.load(tmp_path / "best.safetensors"))
    assigner.piece = assigner.rows_at_once
    found = assigner.assign(x_ND, code=True)
    assert found.cluster_N.tolist() == p_NK.argmax(-1).tolist()
    assert found.confidence_N.tolist() == p_NK.max(-1).values.tolist()
    assert (found.margin_N >= 0).all()
    assert found.code_NZ is not None and len(found.code_NZ) == 700
    images = assigner.assign(x_ND.reshape(700, 8, 8), code=True)
    assert all(same(getattr(images, f.name), getattr(found, f.name)) for f in dataclasses.fields(Assignment))


def same(a, b):
    return (a is None and b is None) or a.tobytes() == b.tobytes()


@pytest.mark.parametrize("scale", ["none", "standard"])
def test_samples_are_scaled_as_in_training(scale):
    snapshot, x_ND, p_NK = trained(load_model("kmeans"), scale)
    assert Assigner(snapshot).assign(x_ND).cluster_N.tolist() == p_NK.argmax(-1).tolist()
    assert Assigner(snapshot).assign(x_ND[[5]]).cluster_N.tolist() == [int(p_NK[5].argmax())]


@pytest.mark.parametrize("name", ["kmeans", "dcn", "ae", "acai", "vae"])
def test_a_method_with_centres_says_how_far_they_are(name):
    model = load_model(name)
    snapshot, x_ND, _ = trained(model, **({"head": "kmeans"} if "head" in model.parameters() else {}))
    found = Assigner(snapshot).assign(x_ND, code=True)
    centers_KZ = next(t for key, t in snapshot.tensors.items() if key in ("starts_IKD", "centers_KZ")).double()
    centers_KZ = centers_KZ[0] if centers_KZ.ndim == 3 else centers_KZ
    code_NZ = torch.from_numpy(found.code_NZ).double()
    if snapshot.config.get("whiten"):
        code_NZ = (code_NZ - snapshot.tensors["mean_Z"]) @ snapshot.tensors["whiten_ZZ"].double()
    nearest_N2 = torch.cdist(code_NZ, centers_KZ).topk(2, largest=False).values.numpy()
    assert found.distance_N == pytest.approx(nearest_N2[:, 0], rel=1e-2, abs=1e-3)
    assert found.next_distance_N == pytest.approx(nearest_N2[:, 1], rel=1e-2, abs=1e-3)


def test_a_mixture_has_probabilities_and_no_distances():
    found = Assigner(trained(load_model("gmm"))[0]).assign(read_raw(DatasetSpec(name="digits")).values(slice(5)))
    assert found.distance_N is None and found.next_distance_N is None and found.code_NZ is None


def test_no_samples_have_no_clusters():
    assert len(Assigner(trained(load_model("kmeans"))[0]).assign(np.empty((0, 64)), code=True)) == 0


# --- the schedule's values hold in `assign`, too ---


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_schedule_of_the_last_epoch_is_in_force(epochs):
    snapshot, x_ND, p_NK = trained(load_model("gmvae"), epochs=epochs)
    assert Assigner(snapshot).assign(x_ND).confidence_N.tolist() == p_NK.max(-1).values.tolist()


# --- a method that knows the clusters of its own samples alone ---


class Transductive(type(load_model("kmeans"))):
    transductive = True

    def tensors(self, h, data):
        return super().tensors(h, data) | {"cluster_N": torch.zeros(data.n_samples, dtype=torch.int64)}

    def move(self, net, data, h, g):
        moved = super().move(net, data, h, g)
        return moved | {"cluster_N": (data.x_ND.sum(-1) * 10).long() % h.n_clusters}

    def assign_rows(self, net, x_BD, rows_B, h):
        return one_hot(net.cluster_N[rows_B], h.n_clusters, x_BD.dtype)


def test_a_transductive_model_knows_its_own_samples_and_refuses_others():
    model, data = Transductive(), load(DatasetSpec(name="digits", limit=100))
    *_, last = loop.train(model, model.hyper({"n_clusters": 3, "epochs": 2}), data, seed=0)
    assigner = Assigner(last.snapshot(), model=model)
    assigner.piece = 30
    found = np.concatenate([part.cluster_N for part in assigner.known(data)])
    assert found.tolist() == ((data.x_ND.sum(-1) * 10).long() % 3).tolist()
    with pytest.raises(UserError, match="is transductive: it knows the clusters of the samples that it was trained on, and cannot assign"):
        assigner.assign(data.x_ND.numpy())


# --- what is refused ---


@pytest.fixture(scope="module")
def kmeans():
    return Assigner(trained(load_model("kmeans"), "none")[0])


X = read_raw(DatasetSpec(name="digits")).values(slice(50))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :63], "kmeans was trained on samples with 64 features or the shape (8, 8), but these have 63 features."),
        (X.reshape(50, 4, 16), "kmeans was trained on samples with 64 features or the shape (8, 8), but these have the shape (4, 16)."),
        (X[0], "kmeans was trained on samples with 64 features or the shape (8, 8), but these have the shape ()."),
        (np.where(np.arange(64) == 3, np.nan, X), "Values must be finite in float32, but row 0, feature 3 holds nan."),
        (X.astype(str), "Samples must be numbers, but their type is <U32."),
        (16 * X, "kmeans's training data lie within [0, 1], but row 1 holds 16."),
        (X - 3, "kmeans's training data lie within [0, 1], but row 0 holds -3."),
        (X / 16, "kmeans's training data deviate by 0.375411 from their mean, but these samples by 0.023404 only."),
    ],
)
def test_other_samples_than_those_of_training_are_refused_with_the_figure(x, message, kmeans):
    with pytest.raises(UserError) as error:
        kmeans.assign(x)
    assert str(error.value).startswith(message)


def test_the_row_of_a_later_piece_is_counted_from_the_first():
    assigner = Assigner(trained(load_model("kmeans"), "none")[0])
    assigner.piece = 20
    with pytest.raises(UserError, match="row 33, feature 7 holds inf"):
        assigner.assign(np.where((np.arange(50)[:, None] == 33) & (np.arange(64) == 7), np.inf, X))
    with pytest.raises(UserError, match="but row 42 holds 9"):
        assigner.assign(np.where((np.arange(50)[:, None] == 42) & (np.arange(64) == 7), 9, X))


def test_the_range_is_not_checked_where_the_user_says_so(kmeans):
    assert len(kmeans.assign(16 * X, check_range=False)) == 50
    assert len(kmeans.assign(1.5 * X)) == 50


def test_pixels_lie_in_0_to_1():
    model = load_model("aae_unsup")
    assert model.rebuilds_pixels
    with pytest.raises(UserError, match=r"takes pixels in \[0, 1\], but these samples lie within \[0, 1.5\]"):
        Assigner(trained(model, "none")[0]).assign(1.5 * X)


def test_weights_that_say_nothing_of_their_data_need_somebody_who_does():
    snapshot = dataclasses.replace(trained(load_model("kmeans"), "none")[0], intake=None)
    with pytest.raises(UserError, match="do not say how their data were scaled"):
        Assigner(snapshot)
    assert len(Assigner(snapshot, intake=Intake(spec=load(DatasetSpec(name="digits")).spec, scaling=AS_IT_IS)).assign(X)) == 50


def test_weights_of_another_version_of_the_model_are_refused():
    snapshot = trained(load_model("kmeans"))[0]
    wide = {"starts_IKD": snapshot.tensors["starts_IKD"][..., :-1]}
    with pytest.raises(UserError, match=r"'starts_IKD' should be .* but is"):
        Assigner(dataclasses.replace(snapshot, tensors=wide))
    with pytest.raises(UserError, match="but is absent"):
        Assigner(dataclasses.replace(snapshot, tensors={}))

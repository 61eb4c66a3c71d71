"""The models as scikit-learn's estimators: scikit-learn's own checks, and what a person with data does with them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from tuner import DeepClustering, UserError
from tuner.data.datasets import DatasetSpec, load
from tuner.data.scaling import SCALES
from tuner.model import load_model, model_names
from tuner.testing import blobs
from tuner.training.loop import train

# Networks so small that a check takes a tenth of a second. Data of any range: not pixels.
_CODER = {"hidden": 16, "latent_dim": 4, "n_init": 3}
TINY: dict[str, dict[str, Any]] = {
    "kmeans": {"epochs": 4},
    "ae": {"epochs": 4, **_CODER},
    "idec": {"epochs": 4, "pretrain_epochs": 10, "lr_pretrain": 1e-2, **_CODER},
    "vade": {"epochs": 4, "pretrain_epochs": 10, "lr_pretrain": 1e-2, "recon_loss": "mse", **_CODER},
    "gumbel_vae": {
        "epochs": 30,
        "batch_size": 10,
        "weights.categorical": 1.0,
        "hidden": 32,
        "latent_dim": 2,
        "feature_dim": 8,
        "lr": 1e-2,
        "recon_loss": "mse",
    },
}
BY_DEFAULT = ("kmeans", "idec")  # one without networks, one with phases
# Checks of scikit-learn's that cannot hold, and why.
_ONE_CLUSTER = "sets n_clusters=1, and a model has at least two; see test_checks_with_one_cluster_hold_with_two"
_CLASSIFIER = "asks for a classifier's tags because there is a predict_proba; see test_every_kind_of_table_gives_the_same_clusters"
SKIPPED = {
    "check_dont_overwrite_parameters": _ONE_CLUSTER,
    "check_methods_subset_invariance": _ONE_CLUSTER,
    "check_fit2d_1feature": _ONE_CLUSTER,
    "check_fit2d_predict1d": _ONE_CLUSTER,
    "check_estimator_sparse_array": _CLASSIFIER,
    "check_estimator_sparse_matrix": _CLASSIFIER,
}


class AtLeastTwo(DeepClustering):
    """Takes a check's one cluster for two."""

    def _checked(self, model, data):
        self.n_clusters, given = max(2, self.n_clusters), self.n_clusters
        try:
            return super()._checked(model, data)
        finally:
            self.n_clusters = given


def estimator(model: str, kind: type[DeepClustering] = DeepClustering, **more: Any) -> DeepClustering:
    return kind(model, n_clusters=3, **{**TINY[model], **more})


@pytest.mark.parametrize("model", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in TINY])
def test_scikit_learns_checks_hold(model: str) -> None:
    found = estimator_checks.check_estimator(estimator(model), on_skip=None, on_fail=None, expected_failed_checks=SKIPPED)
    assert {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"} == {}
    assert {one["check_name"] for one in found if one["status"] == "xfail"} == set(SKIPPED)
    assert sum(one["status"] == "passed" for one in found) > 40


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("check", [name for name, why in SKIPPED.items() if why is _ONE_CLUSTER])
def test_checks_with_one_cluster_hold_with_two(model: str, check: str) -> None:
    getattr(estimator_checks, check)("DeepClustering", estimator(model, AtLeastTwo))


# --- what a person does with it ----------------------------------------------------------------------------------------


def easy(n_samples: int = 150) -> tuple[Any, Any]:
    data = blobs(n_samples, dtype=torch.float32)
    assert data.y_N is not None
    return data.x_ND.numpy(), data.y_N.numpy()


@pytest.fixture(scope="module")
def trained() -> DeepClustering:
    return estimator("idec").fit(easy()[0])


@pytest.mark.parametrize("scale", ["none", "minmax", "minmax_all", "standard", "robust"])
@pytest.mark.parametrize("model", ["kmeans", "idec"])
def test_it_trains_as_tuner_train_does_and_labels_are_trainings_own(model: str, scale: str, tmp_path: Any) -> None:
    X, y = easy()
    np.savez(tmp_path / "easy.npz", x=X, y=y)
    data = load(DatasetSpec(name=f"npz:{tmp_path / 'easy.npz'}", scale=scale))
    found = load_model(model)
    settings = {"n_clusters": 3, **TINY[model], **({"batch_size": 150} if model == "idec" else {})}
    *_, last = train(found, found.hyper(settings), data, seed=7)
    mine = estimator(model, scale=scale, random_state=7).fit(X)
    for name, t in last.snapshot().weights().items():
        assert np.array_equal(mine.state_[name], t.numpy()), name
    assert np.array_equal(mine.predict(X), mine.labels_)
    assert mine.score(X, y) == last.metrics["acc"]
    assert mine.history_[-1]["metrics"]["n_used"] == last.metrics["n_used"]


def test_every_kind_of_table_gives_the_same_clusters() -> None:
    X, _ = easy()
    names = [f"f{i}" for i in range(X.shape[1])]
    frame = pd.DataFrame(X, columns=names)
    kinds = [
        X,
        X.tolist(),
        frame,
        pa.Table.from_pandas(frame),
        torch.from_numpy(X).requires_grad_(),
        sparse.csr_array(X),
        sparse.coo_matrix(X),
    ]
    found = [estimator("kmeans").fit(kind) for kind in kinds]
    for kind, one in zip(kinds, found, strict=True):
        assert np.array_equal(one.labels_, found[0].labels_)
        assert np.array_equal(one.predict(kind), found[0].labels_)
        assert one.n_features_in_ == X.shape[1]
    assert [hasattr(one, "feature_names_in_") for one in found] == [False, False, True, True, False, False, False]
    assert list(found[3].feature_names_in_) == names


def test_it_finds_the_digits_in_a_pipeline() -> None:
    X, y = load_digits(return_X_y=True)
    found = make_pipeline(StandardScaler(), DeepClustering("kmeans", n_clusters=10, epochs=10)).fit(X)
    assert adjusted_rand_score(y, found.predict(X)) > 0.4
    assert found.score(X, y) > 0.6
    assert found.transform(X).shape == X.shape


def test_a_clone_has_the_same_parameters_and_no_weights(trained: DeepClustering) -> None:
    copy = clone(trained)
    assert copy.get_params() == trained.get_params()
    assert copy.hyper is not trained.hyper
    with pytest.raises(NotFittedError):
        copy.predict(easy()[0])


def test_hyper_parameters_have_their_own_names() -> None:
    one = DeepClustering("idec", hidden=16, hyper={"latent_dim": 4})
    assert one.hyper == {"hidden": 16, "latent_dim": 4}
    assert one.get_params()["hidden"] == 16
    assert "hidden" not in one.get_params(deep=False)
    assert one.set_params(latent_dim=5, n_clusters=3).hyper == {"hidden": 16, "latent_dim": 5}
    assert one.n_clusters == 3
    assert one.set_params(**{"weights.recon": 0.5}).hyper["weights.recon"] == 0.5


def test_a_grid_search_goes_over_the_models_own_names() -> None:
    X, y = easy()
    grid = {"latent_dim": np.array([2, 4]), "n_clusters": [2, 3], "weights.recon": [1.0]}
    found = GridSearchCV(estimator("idec"), grid, cv=2, error_score="raise").fit(X)
    assert found.best_params_["latent_dim"] in (2, 4)
    assert -1 <= found.best_score_ <= 1  # the silhouette: no labels were given
    found = GridSearchCV(estimator("idec"), grid, cv=2, error_score="raise").fit(X, y)
    assert found.best_params_["n_clusters"] == 3


def test_a_pickle_holds_weights_and_no_code(trained: DeepClustering) -> None:
    X, _ = easy()
    written = pickle.dumps(trained)
    assert b"tuner.models" not in written and b"tuner.training" not in written and b"torch" not in written
    assert np.array_equal(pickle.loads(written).predict_proba(X), trained.predict_proba(X))


def test_setting_another_model_leaves_the_trained_one_as_it_is(trained: DeepClustering) -> None:
    X, _ = easy()
    one = pickle.loads(pickle.dumps(trained)).set_params(model="kmeans", n_clusters=5)
    assert np.array_equal(one.predict(X), trained.labels_)


def test_transformed_rows_have_named_columns(trained: DeepClustering) -> None:
    frame = clone(trained).set_output(transform="pandas").fit_transform(easy()[0])
    assert list(frame.columns) == [f"deepclustering{i}" for i in range(4)]


def test_images_have_a_shape() -> None:
    X, _ = easy(60)
    one = DeepClustering("ae", n_clusters=3, epochs=1, shape=(4, 4), network="conv", channels=4, **_CODER).fit(X)
    assert one.predict(X).shape == (60,)
    with pytest.raises(UserError, match=r"'shape' is \(5, 5\), 25 values, but X has n_features = 16"):
        clone(one).set_params(shape=(5, 5)).fit(X)


def test_a_model_that_learns_from_some_labels_takes_them_from_y() -> None:
    X, y = easy()
    words = np.array(["ant", "bee", "cat"])[y]
    settings = {name: value for name, value in load_model("aae_semi").tiny.items() if name not in ("n_clusters", "epochs")}
    one = DeepClustering("aae_semi", n_clusters=3, epochs=10, **settings).fit(X, words)
    assert list(one.classes_) == ["ant", "bee", "cat"]
    assert (one.classes_[one.predict(X)] == words).mean() > 0.8
    with pytest.raises(UserError, match="learns from some labels, but X has none"):
        clone(one).fit(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "idek"}, "There is no model 'idek'. Did you mean 'idec'?"),
        ({"latent_dims": 4}, "idec has no 'latent_dims'. Did you mean 'latent_dim'?"),
        ({"latent_dim": 1000}, r"'latent_dim' must stay within \[1, 256\], but got 1000."),
        (
            {"scale": "minimax"},
            f"'scale' must be one of {' | '.join(SCALES)}, but is 'minimax'. Did you mean 'minmax'?",
        ),
        ({"n_clusters": 200}, "'n_clusters' is 200, but X has 150 samples"),
        ({"hyper": {"epochs": 3}}, "'epochs' is an argument of its own"),
        ({"device": "gpu"}, "'device' must be auto, cpu or a device that torch has here, such as cuda, but is 'gpu'."),
        ({"hyper": 3}, "'hyper' must be a dict of names to values, but is 3."),
        ({"model": "vade", "recon_loss": "bce", "scale": "standard"}, "rebuilds pixels in"),
        ({"lr": 1.0, "lr_pretrain": 1.0, "epochs": 50, "scale": "none", "hidden": 200}, None),
    ],
)
def test_a_mistake_is_named(settings: dict[str, Any], message: str | None) -> None:
    X, _ = easy()
    if message is None:
        with pytest.raises(UserError, match=r"idec diverged: .* is not finite after epoch"):
            estimator("idec", **settings).fit(X * 1e19)
        return
    with pytest.raises(UserError, match=message.replace("|", r"\|").replace("?", r"\?")):
        DeepClustering(**{"model": "idec", **settings}).fit(X)


def test_a_collapse_is_a_warning() -> None:
    X = np.zeros((40, 4), dtype=np.float32)
    with pytest.warns(ConvergenceWarning, match="kmeans collapsed: all samples lie in one cluster"):
        assert set(estimator("kmeans").fit_predict(X)) == {0}


OF_IMAGES = {
    "prednet": r"films of shape \(T, h, w\) or \(T, 3, h, w\), or images",
    "swwae": r"images of shape \(h, w\) or \(colours, h, w\)",
}


def test_a_model_of_images_refuses_vectors() -> None:
    for model, what in OF_IMAGES.items():
        with pytest.raises(UserError, match=f"{model} needs {what}"):
            DeepClustering(model, n_clusters=3).fit(*easy())


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(set(model_names()) - set(TINY) - set(OF_IMAGES)))
def test_a_reduced_list_of_checks_holds_for_the_other_models(model: str) -> None:
    X, y = easy()
    settings = dict(load_model(model).tiny)
    one = DeepClustering(
        model,
        **{name: settings[name] for name in ("n_clusters", "epochs")},
        hyper={name: value for name, value in settings.items() if name not in ("n_clusters", "epochs")},
    )
    one.fit(X, y)
    assert np.array_equal(clone(one).fit(X, y).labels_, one.labels_)
    assert one.predict_proba(X).shape == (150, 3)
    assert np.allclose(one.predict_proba(X).sum(axis=1), 1, atol=1e-5)
    assert one.transform(X[:5]).shape == (5, one.code_width_)
    assert np.array_equal(pickle.loads(pickle.dumps(one)).predict(X), one.predict(X))
    assert np.array_equal(one.predict(X[::-1])[::-1], one.predict(X))


def test_importing_tuner_loads_neither_torch_nor_ray() -> None:
    program = "import sys, tuner; print(sorted({'torch', 'ray', 'sklearn', 'numpy', 'yaml', 'rich', 'typer', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

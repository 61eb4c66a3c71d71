"""A search as a scikit-learn estimator."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kit.one_ray import OneRay
from sklearn.base import clone

import tuner
from tuner.api.tuned import TunedDeepClustering
from tuner.testing import blobs

X = blobs(dtype=torch.float32).x_ND.numpy()


def test_its_parameters_are_those_of_its_signature() -> None:
    one = TunedDeepClustering("kmeans", 3, set={"n_init": 2})
    assert clone(one).get_params() == one.get_params()
    assert one.set_params(trials=7).trials == 7
    with pytest.raises(ValueError, match="Invalid parameter 'trails'"):
        one.set_params(trails=7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metric": "silhuette"}, "no metric 'silhuette'. Did you mean 'silhouette'"),
        ({"space": "kmean"}, "kmean"),
        ({"metric": "acc"}, "labels"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(tuner.UserError, match=message):
        TunedDeepClustering(**{"space": "kmeans", **wrong}).fit(X)


@pytest.mark.slow
def test_a_search_is_an_estimator(ray_here: OneRay, tmp_path: Path) -> None:
    ray_here.up()
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    found = TunedDeepClustering("kmeans", 3, trials=2, epochs=2, scale="standard", out=tmp_path).fit(frame)
    assert np.array_equal(found.predict(frame), found.labels_) and found.labels_.max() == 2
    assert found.transform(frame).shape[0] == len(X) and found.score(frame) == pytest.approx(found.best_score_, abs=0.05)
    assert len(found.trials_) == 2 and found.best_params_["n_clusters"] == 3
    assert found.run_ is not None and np.array_equal(found.run_.assign(frame).cluster_N, found.labels_)
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.predict_proba(frame), found.predict_proba(frame))

"""A model of the user's own is assigned, exported and an estimator like those of tuner: by its kept source, a file, or the class."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kit.one_ray import OneRay
from kit.trained import winner
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks

import tuner as api
from tuner import layout
from tuner.data.datasets import DatasetSpec, read_raw
from tuner.inference.load import load_trained
from tuner.model import load_model
from tuner.own_models import read_own

START = (layout.folder("models") / "_template.py").read_text()
TINY = {"n_clusters": 3, "epochs": 4, "batch_size": 50, "pretrain_epochs": 10, "hidden": 16, "latent_dim": 4, "n_init": 3, "lr": 0.01}
SPACE: dict[str, Any] = {
    "model": "my_model",
    "metric": {"name": "acc", "goal": "maximize"},
    "trials": 2,
    "epochs": 2,
    "early_terminate": "none",
    "parameters": {
        "hidden": {"value": 16},
        "batch_size": {"value": 50},
        "pretrain_epochs": {"value": 1},
        "weights.compact": {"min": 0.001, "max": 0.1},
    },
}
X = read_raw(DatasetSpec(name="digits")).values(slice(200))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(START)
    return tmp_path / "my_model.py"


@pytest.fixture
def kind(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its class, imported as a user's own program imports it."""
    monkeypatch.syspath_prepend(str(mine.parent))
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    import my_model

    yield my_model.MyModel
    sys.modules.pop("my_model", None)


# --- commands ----------------------------------------------------------------------------------------------------------


def test_a_run_assigns_and_exports_by_the_source_that_it_kept(mine: Path, tuner: Any) -> None:
    best = winner(Path("run"), "my_model", models=[mine])
    mine.unlink()
    code, out, err = tuner("assign", str(best), "-o", "own.csv")
    assert (code, err) == (0, "") and "700 samples in 3 clusters" in out
    code, out, err = tuner("export", str(best), "--to", "out")
    assert (code, err) == (0, "") and "samples (8, 8) to 3 clusters" in out
    program = torch.export.load("out/model.pt2").module()
    with torch.no_grad():
        found = program(torch.from_numpy(X.reshape(-1, 8, 8).astype(np.float32)))[0].argmax(1)
    assert np.array_equal(found, load_trained(best).assigner.assign(X).cluster_N)
    assert str(mine.parent).encode() not in Path("out/model.pt2").read_bytes()


def test_a_best_yaml_away_from_its_run_needs_the_file_and_says_if_it_has_changed(mine: Path, tuner: Any, capsys: Any) -> None:
    best = winner(Path("run"), "my_model", models=[mine])
    Path("away").mkdir()
    for name in ("best.yaml", "best.safetensors"):
        shutil.copy(best.parent / name, "away")
    code, _, err = tuner("assign", "away/best.yaml", "-o", "away.csv")
    assert code == 2 and "There is no model 'my_model'. my_model.py lies here: bring it with --models my_model.py." in err
    for command in (("assign", "away/best.yaml", "-o", "away.csv"), ("export", "away/best.yaml", "--to", "out")):
        assert tuner(*command, "--models", "my_model.py")[::2] == (0, "")
    assert tuner("assign", str(best), "-o", "kept.csv")[0] == 0
    assert Path("away.csv").read_bytes() == Path("kept.csv").read_bytes()
    loaded = api.load("away/best.yaml", models="my_model.py")
    assert np.array_equal(loaded.assign(X).cluster_N, load_trained(best).assigner.assign(X).cluster_N)
    mine.write_text(START + "# changed\n")
    code, _, err = tuner("assign", "away/best.yaml", "-o", "again.csv", "--models", "my_model.py")
    assert code == 0 and "is not the code that best.yaml was found with: it has changed" in err


def test_a_copy_in_the_run_that_was_changed_is_refused(mine: Path, tuner: Any) -> None:
    best = winner(Path("run"), "my_model", models=[mine])
    (best.parent / "models/my_model.py").write_text(START + "# changed\n")
    for command in (("assign", str(best), "-o", "out.csv"), ("export", str(best), "--to", "out")):
        code, _, err = tuner(*command)
        assert code == 2 and "is not the code that the search ran: it was changed since" in err and err.count("\n") == 1


# --- from Python -------------------------------------------------------------------------------------------------------


def test_a_class_itself_trains_and_is_described(kind: Any) -> None:
    named = api.train("my_model", data=X, models="my_model.py", seed=1, set=TINY)
    for trained in (api.train(kind, data=X, seed=1, set=TINY), api.train("my_model", data=X, models=[kind], seed=1, set=TINY)):
        assert np.array_equal(trained.labels, named.labels)
    assert api.describe(kind).name == "my_model" and "compact" in api.describe("my_model", models=kind).terms
    told = {**SPACE, "dataset": "digits"}
    assert api.check({**told, "model": kind}).trials == 2 and api.check(told, models=kind).model == "my_model"


def test_an_estimator_takes_a_class_a_file_or_a_folder(kind: Any) -> None:
    hyper = {name: value for name, value in TINY.items() if name not in ("n_clusters", "epochs")}
    given: list[dict[str, Any]] = [{"model": kind}, {"models": kind}, {"models": "my_model.py"}, {"models": [Path()]}]
    found = [api.DeepClustering(**{"model": "my_model", **one}, n_clusters=3, epochs=4, **hyper).fit(X) for one in given]
    assert all(np.array_equal(one.labels_, found[0].labels_) for one in found)
    assert clone(found[0]).get_params() == found[0].get_params() and found[0].model is kind
    search = GridSearchCV(clone(found[0]), {"latent_dim": [2, 4], "weights.compact": [0.01]}, cv=2, error_score="raise").fit(X)
    assert search.best_params_["latent_dim"] in (2, 4)


@pytest.mark.slow
def test_scikit_learns_checks_hold_but_for_those_of_one_cluster(kind: Any) -> None:
    hyper = {name: value for name, value in TINY.items() if name != "batch_size"}
    failed = estimator_checks.check_estimator(api.DeepClustering(kind, **hyper), on_skip=None, on_fail=None)
    wrong = {one["check_name"]: str(one["exception"]) for one in failed if one["status"] == "failed"}
    assert all("'n_clusters' must stay within" in why or name.startswith("check_estimator_sparse") for name, why in wrong.items()), wrong


UNPICKLED = """
import pickle, sys
import numpy as np
found = pickle.load(open("one.pickle", "rb"))
np.save("clusters.npy", found.predict(np.load("x.npy")))
print(found.fit_predict(np.load("x.npy")).tolist() == found.labels_.tolist(), "my_model" in sys.modules)
"""


@pytest.mark.slow
def test_a_pickle_needs_neither_the_file_nor_the_class(kind: Any, mine: Path) -> None:
    one = api.DeepClustering(kind, **TINY).fit(X)
    Path("elsewhere").mkdir()
    Path("elsewhere/one.pickle").write_bytes(pickle.dumps(one))
    np.save("elsewhere/x.npy", X)
    mine.unlink()
    environment = {**os.environ, "PYTHONPATH": str(layout.ROOT)}
    done = subprocess.run([sys.executable, "-c", UNPICKLED], cwd="elsewhere", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False"]
    assert np.array_equal(np.load("elsewhere/clusters.npy"), one.labels_)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": 3}, "A model is said by its name, or is a subclass of Model itself, but this is 3."),
        ({"model": int}, "The class int stands in no file of its own"),
        ({"models": 3}, "'models' must be files, folders, or subclasses of Model, but is 3."),
        ({"models": ["my_model.py", None, 3.5]}, "but is 3.5."),
        ({"models": "gone.py"}, "--models gone.py cannot be read: No such file or directory."),
        ({"models": layout.folder("models") / "idec.py"}, "'idec' is a model that comes with tuner, and "),
        ({"model": "my_modle", "models": "my_model.py"}, "There is no model 'my_modle'. Did you mean 'my_model'?"),
    ],
)
def test_what_is_no_model_is_refused(given: dict[str, Any], message: str, mine: Path) -> None:
    with pytest.raises(api.UserError, match=re.escape(message)):
        api.DeepClustering(**given).fit(X)


# --- searches ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_class_is_searched_confirmed_assigned_and_exported(ray_here: OneRay, kind: Any, mine: Path, tuner: Any) -> None:
    """The whole way, with the file gone after the search: the run has what it needs."""
    ray_here.up()
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X[:300])
    quiet: dict[str, Any] = {"wandb": "disabled", "display": False}
    run = api.search({**SPACE, "model": kind}, data=frame, labels=y[:300], scale="minmax", **quiet)
    more = {"metric": "silhouette", "set": {"hidden": 16}, "out": "tuned", "scale": "minmax"}
    found = api.TunedDeepClustering({**SPACE, "model": kind, "trials": 1}, **more).fit(frame)
    mine.unlink()
    assert run.status == "done" and (run.folder / "models/my_model.py").read_text() == START
    assert run.confirm(top=1, seeds=2, display=False).left == 0
    assert np.array_equal(run.assign(frame).cluster_N, run.assign().cluster_N)
    assert tuner("assign", run.name, "-o", "clusters.parquet")[0] == 0
    assert list(pd.read_parquet("clusters.parquet")["cluster"]) == list(run.assign().cluster_N)
    assert tuner("export", run.name, "--to", "out")[0] == 0 and Path("out/model.pt2").is_file()
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.predict(frame), found.labels_) and np.array_equal(found.run_.assign(frame).cluster_N, found.labels_)
    assert load_model("my_model", read_own([again.source_])).name == "my_model"

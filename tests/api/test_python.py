"""`import tuner`: what the command line does, from Python."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import pytest
import torch
from kit.one_ray import OneRay
from kit.trained import winner
from nbclient import NotebookClient
from ray import cloudpickle
from scipy import sparse
from sklearn.datasets import load_digits
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import tuner
from tuner.api.arguments import options
from tuner.api.samples import samples
from tuner.data.datasets import DatasetSpec, load
from tuner.model import model_names
from tuner.runs.events import TrialEnd
from tuner.testing import blobs

ROOT = Path(__file__).resolve().parents[2]
SPACE: dict[str, Any] = {
    "model": "kmeans",
    "dataset": "digits",
    "metric": {"name": "acc", "goal": "maximize"},
    "trials": 3,
    "epochs": 2,
    "early_terminate": "none",
    "parameters": {"n_clusters": {"values": [3, 10]}, "n_init": {"min": 1, "max": np.int64(5)}},
}
QUIET: dict[str, Any] = {"wandb": "disabled", "display": False}


def easy() -> tuple[Any, Any]:
    data = blobs(dtype=torch.float32)
    assert data.y_N is not None
    return data.x_ND.numpy(), data.y_N.numpy()


# --- without Ray -------------------------------------------------------------------------------------------------------


def test_four_packages_are_functions_too() -> None:
    import tuner.search.scores

    assert tuner.search.scores is sys.modules["tuner.search.scores"]
    assert callable(tuner.search) and callable(tuner.models) and callable(tuner.data) and callable(tuner.runs)
    assert tuner.runs("nowhere") == []
    assert cloudpickle.loads(cloudpickle.dumps(tuner)) is tuner
    assert cloudpickle.loads(cloudpickle.dumps(tuner.search)) is tuner.search
    assert {"search", "train", "Run", "DeepClustering"} <= set(dir(tuner))
    assert inspect.signature(tuner.search).parameters["data"].kind is inspect.Parameter.KEYWORD_ONLY
    assert "Searches hyper-parameters" in str(tuner.search.__doc__)
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        tuner.serach  # noqa: B018


def test_the_types_are_of_the_names_that_there_are() -> None:
    stub = ast.parse((Path(tuner.__file__).parent / "__init__.pyi").read_text())
    typed = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == {**tuner._LATER, **tuner._CALLED}


def test_importing_tuner_is_cheap() -> None:
    program = "import sys, tuner, tuner.errors; dir(tuner); tuner.models(); tuner.spaces(); print(sorted(set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"torch", "ray", "numpy", "scipy", "sklearn", "optuna", "wandb", "pandas", "pyarrow", "yaml", "rich", "typer", "asyncio"}
    assert heavy & set(ast.literal_eval(done.stdout)) == set()


def test_models_and_spaces_are_described() -> None:
    assert list(tuner.models()) == model_names()
    assert tuner.models()["kmeans"].startswith("k-means (Lloyd 1982, https://")
    assert "aae_unsup" in tuner.spaces()
    found = tuner.describe("aae_unsup", set={"updates": "separate"})
    assert found.parameters["weights.cyclic"].term == "cyclic"
    assert "weights.cyclic" not in str(found) and "cyclic = " in str(found)
    assert tuner.check(SPACE, trials=7).trials == 7
    with pytest.raises(tuner.UserError, match="Did you mean 'updates'"):
        tuner.describe("aae_unsup", set=["update=separate"])


def test_errors_are_those_of_the_command_line() -> None:
    wrong = {**SPACE, "trails": 3, "parameters": {"n_cluster": {"values": [3]}}}
    with pytest.raises(tuner.UserError) as raised:
        tuner.check(wrong)
    assert "The space cannot be used:" in str(raised.value)
    assert "Did you mean 'trials'" in str(raised.value) and "Did you mean 'n_clusters'" in str(raised.value)
    with pytest.raises(tuner.UserError, match=r"There is no option 'trails'\. Did you mean 'trials'"):
        tuner.check(SPACE, trails=3)
    with pytest.raises(tuner.UserError, match="There is no model 'idek'"):
        tuner.train("idek")


def test_a_shell_that_wants_no_pages_has_none_from_python_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, leaves_out in (("1", True), ("yes", True), ("0", False), ("", False)):
        monkeypatch.setenv("TUNER_NO_REPORT", text)
        assert (options().report is False) == leaves_out, text
    monkeypatch.setenv("TUNER_NO_REPORT", "1")
    assert options(no_report=False).report is None, "what the call says goes first"


def test_training_gives_the_command_lines_numbers(tmp_path: Path) -> None:
    X, y = easy()
    np.savez(tmp_path / "easy.npz", x=X, y=y)
    in_memory = tuner.train("kmeans", data=X, labels=y, epochs=3, seed=1, scale="minmax", set={"n_clusters": 3})
    from_file = tuner.train("kmeans", data=tmp_path / "easy.npz", epochs=3, seed=1, scale="minmax", set=["n_clusters=3"])
    drop = {"samples_per_s"}
    assert {k: v for k, v in in_memory.metrics.items() if k not in drop} == {k: v for k, v in from_file.metrics.items() if k not in drop}
    assert in_memory.labels is not None and in_memory.metrics["acc"] == 1.0
    assert [line["epoch"] for line in in_memory.epochs] == [1, 2, 3]
    assert (in_memory.ended, in_memory.reason, in_memory.config["n_clusters"], in_memory.seed) == ("complete", None, 3, 1)
    in_memory.save(tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").is_file()


def test_labels_may_be_a_column() -> None:
    X, y = easy()
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(16)]).assign(kind=np.array(["ant", "bee", "cat"])[y])
    found = samples(frame, "kind")
    assert found.x_N.shape == X.shape and found.y_N is not None and set(found.y_N) == {"ant", "bee", "cat"}


def test_data_in_memory_are_written_once_and_mean_the_same(tmp_path: Path) -> None:
    X, y = easy()
    names = [samples(kind, y).written(tmp_path) for kind in (X, pd.DataFrame(X), torch.from_numpy(X), sparse.csr_matrix(X))]
    assert len(set(names)) == 1 and len(list(tmp_path.rglob("*.npz"))) == 1
    loaded = load(DatasetSpec(name=names[0]))
    assert np.array_equal(loaded.x_ND.numpy(), X) and loaded.y_N is not None and np.array_equal(loaded.y_N.numpy(), y)
    assert samples(X, None).written(tmp_path) != names[0]


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), None, "column 'b' must hold numbers"),
        (pd.DataFrame({"a": [1.0, 2.0]}), "b", "no column of that name"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1, 2]}), None, r"the first data\[1, 0\]"),
        ([[1.0, 2.0], [3.0, float("nan")]], None, r"the first data\[1, 1\]"),
        ([1.0, 2.0], None, "must have the shape"),
        ([["a"], ["b"]], None, "must hold numbers, but their type is"),
        ([[1.0], [2.0]], [1, 2, 3], "one label for each of the 2 samples"),
        ([[1.0], [2.0]], [0.5, 1.0], "whole numbers or words"),
    ],
)
def test_data_that_cannot_be_used_are_refused(data: Any, labels: Any, message: str) -> None:
    with pytest.raises(tuner.UserError, match=message):
        samples(data, labels)


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tuner.UserError, match="'data' and 'dataset' both say which data"):
        tuner.search(SPACE, data=[[1.0], [2.0]], dataset="digits", out=tmp_path, **QUIET)
    with pytest.raises(tuner.UserError, match="'labels' go with data in memory"):
        tuner.search(SPACE, data="digits", labels=[1, 2], out=tmp_path, **QUIET)
    with pytest.raises(tuner.UserError, match="'wandb' must be one of"):
        tuner.search(SPACE, wandb="of", out=tmp_path)
    with pytest.raises(tuner.UserError, match="There is no run"):
        tuner.load("nothing", out=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(tuner.UserError, match="'acc' needs labels, and data has none"):
        tuner.search(SPACE, data=easy()[0], out=tmp_path, **QUIET)
    with pytest.raises(tuner.UserError, match="'batch_size' is 256, but data has 150 samples"):
        tuner.train("idec", data=easy()[0])
    (tmp_path / "best.yaml").write_text("model: kmeans\n")
    with pytest.raises(tuner.UserError, match=r"must be samples, but is 'digits'. .* assign_to\('clusters.csv', input='digits'\)"):
        tuner.load(tmp_path / "best.yaml").assign("digits")


def test_every_kind_of_table_is_assigned_alike(tmp_path: Path) -> None:
    found, X = tuner.load(winner(tmp_path / "run")), load_digits().data / 16
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(64)])
    kinds = [frame, pa.Table.from_pandas(frame), torch.from_numpy(X), sparse.csr_array(X), X.tolist(), X.reshape(-1, 8, 8)]
    expected = found.assign(X).cluster_N
    assert all(np.array_equal(found.assign(kind).cluster_N, expected) for kind in kinds)


# --- with Ray ----------------------------------------------------------------------------------------------------------


class Heard:
    """A listener of the caller's own."""

    def __init__(self) -> None:
        self.ends: list[TrialEnd] = []
        self.first = threading.Event()

    def search_started(self, run: Any) -> None: ...
    def trial_started(self, trial: int, config: dict[str, Any]) -> None: ...
    def epoch_ended(self, trial: int, line: Any) -> None:
        self.first.set()

    def trial_ended(self, end: TrialEnd) -> None:
        self.ends.append(end)

    def search_ended(self, status: str) -> None: ...


@pytest.mark.slow
def test_a_search_inside_a_process_that_runs_ray(ray_here: OneRay, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import ray

    ray_here.up()
    X, y = easy()
    heard = Heard()
    run = tuner.search(SPACE, data=X, labels=y, epochs=2, out=tmp_path, listeners=[heard], wandb="disabled")
    assert ray.is_initialized()
    assert run.status == "done" and run.name == "kmeans" and len(heard.ends) == 3
    assert "the best so far" in capsys.readouterr().out

    assert run.best is not None and run.best.score == max(end.score or 0 for end in heard.ends)
    trials = run.trials
    assert list(trials["trial"]) == [0, 1, 2] and set(trials["n_clusters"]) <= {3, 10}
    assert trials["score"].max() == run.best.score
    assert len(run.epochs) == 6 and "metrics.acc" in run.epochs
    assert isinstance(run.study, optuna.Study) and len(run.study.trials) == 3
    assert run.summary()["trials"]["complete"] == 3
    assert run.log(0)
    assert run.clean(dry_run=True) == run.clean()

    assigned = run.assign(X)
    assert len(assigned.cluster_N) == len(X)
    assert np.array_equal(run.assign().cluster_N, assigned.cluster_N)
    written = run.assign_to(tmp_path / "clusters.csv", code=True)
    assert (run.export(tmp_path / "exported").folder / "model.pt2").is_file()
    assert list(pd.read_csv(tmp_path / "clusters.csv")["cluster"]) == list(assigned.cluster_N) and written.rows == len(X)
    best = tuner.load(run.folder / "best.yaml")
    assert np.array_equal(best.assign(pd.DataFrame(X)).cluster_N, assigned.cluster_N)

    assert "kept, and tried first by resume(trials='+1')" in run.enqueue(set={"n_clusters": 3, "n_init": 2})
    longer = tuner.load("kmeans", out=tmp_path).resume(trials="+1", **QUIET)
    assert len(longer.trials) == 4 and longer.trials["n_init"].iloc[3] == 2
    assert [found.name for found in tuner.runs(tmp_path)] == ["kmeans"]
    confirmed = run.confirm(top=1, seeds=2, display=False)
    assert confirmed.left == 0 and run.summary()["confirmed"] == confirmed.summary()
    with pytest.raises(tuner.UserError, match=r"kmeans does not run: it is done\."):
        run.stop()

    again = tuner.search(SPACE, data=X, labels=y, trials=1, out=tmp_path, **QUIET)  # twice in one process
    assert again.name == "kmeans-2" and len(list((tmp_path / ".data").iterdir())) == 1
    retrained = tuner.train(run.folder / "best.yaml")
    assert retrained.metrics["acc"] == pytest.approx(longer.best.metrics["acc"])


def test_a_search_on_a_thread_is_stopped_from_another(ray_here: OneRay, tmp_path: Path) -> None:
    """And meanwhile no other one begins in this process."""
    ray_here.up()
    heard, found = Heard(), []
    space = {**SPACE, "epochs": 100_000, "parameters": {"n_clusters": {"values": [10, 11]}}}
    thread = threading.Thread(target=lambda: found.append(tuner.search(space, out=tmp_path, name="long", listeners=[heard], **QUIET)))
    thread.start()
    assert heard.first.wait(120)
    run = tuner.load("long", out=tmp_path)
    assert run.status == "running" and run.progress().holder is not None
    with pytest.raises(tuner.UserError, match="A search runs in this process already"):
        tuner.search(SPACE, out=tmp_path, **QUIET)
    run.stop()
    thread.join(120)
    assert found and found[0].status == "stopped"


@pytest.mark.slow
def test_the_examples_of_the_docs_search(ray_here: OneRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of `py`: they start Ray, so that tests/test_docs.py leaves them out."""
    ray_here.up()
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "python.md"
    for example in Sybil([PythonCodeBlockParser(), CodeBlockParser("py", run_code)]).parse(page).examples():
        example.evaluate()
    assert len(tuner.load("idec").trials) == 6


def run_code(example: Example) -> None:
    exec(compile(example.parsed, str(example.path), "exec"), example.namespace)


@pytest.mark.process
@pytest.mark.slow
def test_the_notebook_runs_top_to_bottom(tmp_path: Path) -> None:
    book = nbformat.read(ROOT / "docs" / "first-steps.ipynb", as_version=4)
    done = NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = "\n".join(str(output.get("data", {}).get("text/html", "")) for cell in done.cells for output in cell.get("outputs", ()))
    assert "best: trial" in shown and "confidence" in shown
    assert (tmp_path / "runs" / "idec" / "best.yaml").is_file()


@pytest.mark.process
def test_a_script_searches_twice_without_ceremony(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    X, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", x=X, y=y)
    script.write_text(
        f"""
import numpy as np, tuner
held = np.load({str(tmp_path / "digits.npz")!r})
space = {{**{SPACE!r}, "trials": 1}}
for _ in range(2):
    run = tuner.search(space, data=held["x"], labels=held["y"], wandb="disabled", display=False)
    print(run.name, run.status)
""".replace("np.int64(5)", "5")
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["kmeans done", "kmeans-2 done"]

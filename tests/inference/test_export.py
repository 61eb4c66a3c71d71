"""An exported model gives the same clusters where tuner is not installed; its card says what it is; what cannot be exported says so."""

import dataclasses
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.trained import winner
from safetensors.numpy import load_file

from tuner.data.datasets import DatasetSpec, read_raw
from tuner.data.scaling import AS_IT_IS, SCALES, Scaling
from tuner.errors import UserError
from tuner.inference.assign import Assigner
from tuner.inference.export import export
from tuner.inference.load import Trained, load_trained
from tuner.inference.program import _Scaled, check
from tuner.model import load_model, model_names
from tuner.space.configuration import read_recipe
from tuner.training import checkpoint

BY_DEFAULT = ("idec",)
NAMES = [pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in model_names()]
ABSENT = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]  # in CI they are there
# What ONNX has no operator for, by the model that needs it first: of a mixture of full covariance, a system of equations is solved.
NO_OPERATOR = {"dac": "linalg_solve_triangular", "n2d": "sort"}
SIZES = (1, 2, 7, 33, 1024)  # samples in a call
X = read_raw(DatasetSpec(name="digits")).values(slice(None)).reshape(-1, 8, 8)

# Runs with -I -S: neither the checkout nor the .pth files of an environment are on its path. Answers each line of its input, for it takes
# seconds to import torch.
ELSEWHERE = """
import json, os, sys, traceback
sys.path += PATHS
try:
    import tuner
except ImportError:
    pass
else:
    raise SystemExit("tuner can be imported here")
for line in sys.stdin:
    folder, card = json.loads(line)
    os.chdir(folder)
    try:
        exec(card, {})
        answer = ""
    except BaseException:
        answer = traceback.format_exc()
    print("\\n" + json.dumps(answer), flush=True)
"""
BEHIND_THE_CARD = """
import sys
by_size = {str(size): torch.cat([model(part)[0] for part in x[:SOME].split(size)]).argmax(1).numpy() for size in SIZES}
assert not any(name.partition(".")[0] == "tuner" for name in sys.modules)
np.savez("found.npz", clusters=clusters, probabilities=probabilities, codes=codes, **by_size)
"""
SOME = 300  # samples that are given in every size


def python_of(card: Path) -> str:
    (lines,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    return lines


class Elsewhere:
    """A process that cannot import tuner."""

    def __init__(self) -> None:
        paths = sorted({str(Path(find_spec(name).origin).parents[1]) for name in ("torch", "numpy")})
        program = ELSEWHERE.replace("PATHS", repr(paths))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path) -> dict[str, np.ndarray]:
        """What the card's own lines give for all of X."""
        np.save(folder / "samples.npy", X)
        behind = BEHIND_THE_CARD.replace("SOME", str(SOME)).replace("SIZES", repr(SIZES))
        self.process.stdin.write(json.dumps([str(folder), python_of(folder / "README.md") + behind]) + "\n")
        self.process.stdin.flush()
        lines = itertools.takewhile(bool, iter(self.process.stdout.readline, ""))
        answer = next(line for line in lines if line.startswith('"'))
        assert json.loads(answer) == ""
        return dict(np.load(folder / "found.npz"))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()
    yield found
    found.process.kill()
    found.process.communicate()


@pytest.mark.parametrize("name", NAMES)
def test_a_program_gives_the_models_clusters_where_tuner_is_not(name: str, tmp_path: Path, elsewhere: Elsewhere) -> None:
    best = winner(tmp_path / "run", name, scale="standard" if name == "kmeans" else "minmax")
    onnx = not ABSENT and name not in NO_OPERATOR
    export(best, tmp_path / "out", onnx=onnx)
    found, expected = elsewhere.run(tmp_path / "out"), load_trained(best, device="cpu").assigner.assign(X, code=True)
    assert found["clusters"].tolist() == expected.cluster_N.tolist()
    assert found["probabilities"].max(1) == pytest.approx(expected.confidence_N, rel=1e-5)
    assert found["codes"] == pytest.approx(expected.code_NZ, rel=1e-4, abs=1e-5)
    for size in SIZES:
        assert found[str(size)].tolist() == expected.cluster_N[:SOME].tolist(), f"{size} at a time"
    if onnx:
        in_onnx_as_in(found, tmp_path / "out")


def in_onnx_as_in(found: dict[str, np.ndarray], folder: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    for size in SIZES:
        p_BK, code_BZ = session.run(["probabilities", "code"], {"x": X[:size].astype(np.float32)})
        assert p_BK.argmax(1).tolist() == found["clusters"][:size].tolist()
        assert p_BK == pytest.approx(found["probabilities"][:size], abs=1e-4)
        assert code_BZ == pytest.approx(found["codes"][:size], rel=1e-3, abs=1e-4)


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return winner(tmp_path_factory.mktemp("kmeans"), scale="minmax")


# --- what is in the folder ---


def test_the_command_writes_a_program_weights_and_a_card(best, tmp_path, tuner):
    code, out, err = tuner("export", str(best), "--to", str(tmp_path / "a" / "out"))
    assert (code, err) == (0, "") and "samples (8, 8) to 3 clusters" in out
    assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == ["README.md", "model.pt2", "model.safetensors"]
    assert len({path.stat().st_mode for path in (tmp_path / "a" / "out").iterdir()}) == 1, "whoever may read one may read all"
    weights = load_file(tmp_path / "a" / "out" / "model.safetensors")
    again = Assigner(checkpoint.load(tmp_path / "a" / "out" / "model.safetensors"))
    assert set(weights) == set(load_trained(best).snapshot.weights())
    assert again.assign(X).cluster_N.tolist() == load_trained(best, device="cpu").assigner.assign(X).cluster_N.tolist()


def test_a_program_does_not_say_where_its_code_lay(best, tmp_path):
    export(best, tmp_path / "out")
    here = str(Path(__file__).parents[2]).encode()
    assert here not in b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())


def test_what_only_training_needs_is_not_in_the_program(tmp_path):
    best = winner(tmp_path / "run", "acai_idec")
    export(best, tmp_path / "out")
    assert {name.split(".")[0] for name in load_file(tmp_path / "out" / "model.safetensors")} >= {"encoder", "decoder", "critic"}
    program = torch.export.load(tmp_path / "out" / "model.pt2")
    assert {name.split(".")[1] for name in program.state_dict} == {"encoder", "centers_KZ"}


def test_the_card_says_what_it_is_and_trains_it_again(best, tmp_path):
    export(load_trained(best), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    trained = load_trained(best)
    for words in (
        "license: unknown",
        "# kmeans on digits",
        "https://",
        "| shape of a sample | (8, 8) |",
        f"`{trained.identity.values}`",
        "values within [0, 1]",
        "By the search `kmeans",
        "the highest `n_used` of the last epoch, which looks at no labels.",
        "| `acc` | ",
        "| licence of the data | *fill in* |",
        "None: this configuration was not trained again on fresh seeds",
        f"| torch | – | {metadata.version('torch')} |",
    ):
        assert words in text, words
    used = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE))
    assert (used["acc"], used["nmi"], used["n_used"], used["silhouette"]) == ("used", "used", "not used", "not used")
    assert "samples_per_s" not in used
    (configuration,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "again.yaml").write_text(configuration)
    again = read_recipe(str(tmp_path / "again.yaml"))
    assert again.model.hyper(again.values) == trained.assigner.h
    assert (again.dataset, again.seed) == (trained.recipe.dataset, trained.recipe.seed)
    assert len(python_of(tmp_path / "out" / "README.md").splitlines()) <= 10


def test_the_lines_of_python_in_the_docs_are_the_cards(best, tmp_path):
    export(best, tmp_path / "out")
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    assert f"```py\n{python_of(tmp_path / 'out' / 'README.md')}```" in page


def test_a_files_folder_is_not_in_the_card(best, tmp_path):
    trained = load_trained(best)
    elsewhere = dataclasses.replace(trained.recipe.dataset, name="npz:/home/somebody/secret/own.npz")
    export(dataclasses.replace(trained, recipe=dataclasses.replace(trained.recipe, dataset=elsewhere)), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "npz:own.npz" in text and "secret" not in text


@pytest.mark.parametrize(
    "told", ["", "metric: acc\nscore: 7\nmetrics: [1]\nconfirmed: yes\n", "metrics: {acc: high}\nconfirmed: {mean: 1.0}\n"]
)
def test_a_configuration_that_a_person_wrote_has_a_card_too(told, best, tmp_path):
    text = best.read_text()
    start = text[: text.index("search:")]
    own = tmp_path / "best.yaml"
    own.write_text(start + told + text[text.index("parameters:") :])
    (tmp_path / "best.safetensors").write_bytes((best.parent / "best.safetensors").read_bytes())
    export(own, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "By no search that is known of" in card and "None were noted beside the weights." in card


# --- scaling inside the program ---


@pytest.mark.parametrize("kind", SCALES)
@pytest.mark.parametrize("constant", [False, True])
def test_scaling_in_a_program_is_that_of_training_to_the_last_bit(kind, constant):
    x_ND = (np.random.default_rng(0).standard_normal((500, 6)) * [1e-3, 1, 3, 1e4, 1, 1] + 0.1).astype(np.float32)
    x_ND[:, 4] = 0.3  # one feature never varies
    x_ND = np.abs(x_ND) if kind in ("log1p", "lognorm") else x_ND
    scaling = Scaling.fit(kind, np.full_like(x_ND, 0.7) if constant else x_ND, table=True)
    new_ND = np.concatenate([x_ND, 2 * x_ND])
    assert _Scaled(scaling)(torch.from_numpy(new_ND)).numpy().tobytes() == np.ascontiguousarray(scaling.apply(new_ND)).tobytes()


# --- what is refused ---


class Transductive(type(load_model("kmeans"))):
    transductive = True


class Peeking(type(load_model("kmeans"))):
    def assign(self, net, x_BD, h):
        if float(x_BD.sum()) > 0:
            return super().assign(net, x_BD, h)
        return super().assign(net, -x_BD, h)


class Counting(type(load_model("kmeans"))):
    def assign(self, net, x_BD, h):
        return super().assign(net, x_BD if len(x_BD) == 3 else x_BD[:1].expand(len(x_BD), -1), h)


def of(best: Path, model) -> Trained:
    trained = load_trained(best)
    return dataclasses.replace(trained, assigner=Assigner(trained.snapshot, model=model))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Transductive(), "cannot be exported: it is transductive. It knows the clusters of the samples that it was trained on, and of no"),
        (Peeking(), "cannot be exported: torch.export says of its `assign` or `embed`: "),
        (Counting(), "cannot be exported: its `assign` or `embed` does not take any number of samples: it may branch on it, or say len(x)"),
    ],
    ids=["transductive", "peeking", "counting"],
)
def test_a_model_that_is_no_program_says_so_and_leaves_nothing(model, message, best, tmp_path):
    with pytest.raises(UserError) as error:
        export(of(best, model), tmp_path / "out")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_gives_something_else_is_found(best):
    assigner = load_trained(best, device="cpu").assigner

    def wrong(x):
        return torch.eye(3)[torch.zeros(len(x), dtype=torch.int64)], x.reshape(-1, 64)

    with pytest.raises(UserError, match=r"wrong.pt2 gives other clusters or codes than the model itself, for \d samples at a time"):
        check(wrong, assigner, "wrong.pt2")


def test_a_model_of_which_nothing_is_known_is_checked_all_the_same(best, tmp_path):
    trained = load_trained(best)
    blank = dataclasses.replace(trained.assigner.intake, scaling=AS_IT_IS)
    snapshot = dataclasses.replace(trained.snapshot, intake=blank)
    export(dataclasses.replace(trained, snapshot=snapshot, assigner=Assigner(snapshot)), tmp_path / "out")
    assert "| values | not noted |" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_what_is_there_is_not_overwritten(best, tmp_path, tuner):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, message in (("full", "is not empty. Name a new folder, or an empty one"), ("file", "is a file. Name a new folder.")):
        code, out, err = tuner("export", str(best), "--to", str(tmp_path / name))
        assert (code, out) == (2, "") and message in err
    assert tuner("export", str(best), "--to", str(tmp_path / "empty"))[0] == 0
    code, _, err = tuner("export", str(best), "--to", str(tmp_path / "file" / "out"))
    assert code == 2 and err == f"error: {tmp_path}/file/out cannot be written: {tmp_path}/file is a file.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_a_run_that_is_not_there_is_one_message(tmp_path, tuner, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = tuner("export", "none", "--to", "out")
    assert code == 2 and err == "error: There is no run 'runs/none'. `tuner ls` lists them.\n"
    code, _, err = tuner("export", "none.yaml", "--to", "out")
    assert code == 2 and err.count("\n") == 1


# --- ONNX ---


def test_onnx_without_its_packages_names_them(best, tmp_path, tuner, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
    code, _, err = tuner("export", str(best), "--to", str(tmp_path / "out"), "--onnx")
    assert code == 2 and "onnxscript" in err and "pip install 'tuner[onnx]'" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(bool(ABSENT), reason=f"pip install 'tuner[onnx]': {', '.join(ABSENT)} absent")
@pytest.mark.slow
@pytest.mark.parametrize("name", NO_OPERATOR)
def test_what_onnx_has_no_operator_for_is_named_and_nothing_is_left(name, tmp_path):
    best = winner(tmp_path / "run", name)
    said = f"{name} cannot be written as ONNX: ONNX has no operator for aten.{NO_OPERATOR[name]}. Export it"
    with pytest.raises(UserError, match=said):
        export(best, tmp_path / "out", onnx=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

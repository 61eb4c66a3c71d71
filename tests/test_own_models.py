"""Models of the user's own: how they are found, named, imported and kept."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tuner import layout
from tuner.data.datasets import DatasetSpec, load
from tuner.errors import UserError
from tuner.model import load_model, load_source, model_names
from tuner.own_models import OwnModels, keep, kept_source, read_own
from tuner.space.reader import Options, read_space
from tuner.training.pretraining import PretrainingCache

START = (layout.folder("models") / "_template.py").read_text()
PRETRAINS = START.replace("clusters=False),", 'clusters=False, depends=("latent_dim", "hidden", "batch_size", "lr")),')
SPACE = """\
model: my_model
dataset: {name: digits, limit: 300}
metric: {name: acc, goal: maximize}
trials: 2
epochs: 2
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
parameters:
  hidden: {value: 16}
  weights.compact: {min: 0.001, max: 0.1}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file and a space for it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "my_model.py").write_text(START)
    return tmp_path / "my_model.py"


def refusal(*given: object) -> str:
    with pytest.raises(UserError) as error:
        [load_source(source) for source in read_own(given).sources.values()]  # type: ignore[arg-type]
    return str(error.value)


def code_of(own: OwnModels, name: str = "my_model") -> str:
    source = own.get(name)
    assert source is not None
    return source.code


# --- finding them ------------------------------------------------------------------------------------------------------


def test_a_file_s_model_is_known_by_the_file_s_name_where_it_is_brought_and_nowhere_else(mine: Path) -> None:
    own = read_own([mine])
    model = load_model("my_model", own)
    assert (model.name, type(model).__name__) == ("my_model", "MyModel")
    assert "my_model" in model_names(own) and "my_model" not in model_names()
    with pytest.raises(UserError, match=r"There is no model 'my_model'. my_model.py lies here: bring it with --models my_model.py."):
        load_model("my_model")


def test_a_folder_brings_every_model_in_it_with_the_parts_that_they_import(mine: Path) -> None:
    folder = mine.parent / "mine"
    folder.mkdir()
    (folder / "_parts.py").write_text("WIDTH = 17\n")
    (folder / "one.py").write_text("from ._parts import WIDTH\n" + START)
    (folder / "two.py").write_text(START)
    own = read_own([folder])
    assert set(own.sources) == {"one", "two"}
    one = own.get("one")
    assert one is not None and set(one.files) == {"one.py", "_parts.py"}
    assert load_model("one", own).name == "one"


def test_a_class_stands_for_its_file(mine: Path) -> None:
    kind = type(load_model("my_model", read_own([mine])))
    own = read_own([kind])
    assert type(load_model("my_model", own)) is not None and code_of(own) == code_of(read_own([mine]))


def test_a_class_that_no_file_has_is_refused_with_the_way_out() -> None:
    kind = type("Mine", (type(load_model("kmeans")),), {"__module__": "__main__"})
    assert "%%writefile my_model.py" in refusal(kind)


def test_two_models_of_one_name_are_refused_and_one_that_is_brought_twice_is_not(mine: Path) -> None:
    (mine.parent / "dec.py").write_text(START)
    assert refusal("dec.py") == "'dec' is a model that comes with tuner, and dec.py is named so, too. Rename the file."
    other = mine.parent / "other"
    other.mkdir()
    (other / "my_model.py").write_text(START.replace("hp(256", "hp(128"))
    assert refusal(mine, other) == f"Two models are named 'my_model': {mine} and {other}/my_model.py. Rename one of the files."
    assert set(read_own([mine, mine.parent / "my_model.py"]).sources) == {"my_model"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py", "--models gone.py cannot be read: No such file or directory."),
        ("my-model.py", "my-model.py cannot be a model's file: a model's file is named NAME.py, with letters, digits and _ in NAME, "),
        ("empty", "--models empty: there is no file NAME.py in this folder, and so no model. Start one: tuner new-model my_model.py"),
        ("latin.py", "latin.py cannot be read: it is no text in UTF-8."),
    ],
)
def test_what_is_no_model_s_file_is_refused(mine: Path, name: str, message: str) -> None:
    (mine.parent / "empty").mkdir()
    (mine.parent / "latin.py").write_bytes("# \xe9\n".encode("latin-1"))
    assert refusal(name).startswith(message)


# --- errors in their lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "class MyModel(Model):",
            "class MyModel(Model:",
            "read as Python: my_model.py:17: invalid syntax\n    class",
        ),
        (
            "import torch\n",
            "import torch\nimport nobody_has_this\n",
            "cannot be imported: my_model.py:10: ModuleNotFoundError: ",
        ),
        (
            "import torch\n",
            "import torch\nfrom space_of_mine import x\n",
            "it _space_of_mine.py and write `from ._space_of_mine import",
        ),
        ("    terms = {", "    terms = 1 / 0, {", "my_model.py:32, in MyModel: ZeroDivisionError: division by zero."),
        ("class MyModel(Model):", "class MyModel:", "must define one class that is a Model (from tuner.model import Model), but has none."),
        ("    def assign(", "    def assigns(", "my_model.py: the class MyModel cannot be made: it lacks assign."),
        ("        epochs: int", "        rounds: int", "its class MyModel has a Hyper without 'epochs'."),
        ("    class Hyper(Clusters):", "    class Hypers(Clusters):", "its class MyModel has no class 'Hyper' inside it"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(mine: Path, before: str, after: str, message: str) -> None:
    (mine.parent / "space_of_mine.py").write_text("x = 1\n")
    assert START.count(before) == 1
    mine.write_text(START.replace(before, after))
    assert message in refusal("my_model.py")


def test_an_error_in_training_is_the_file_s_with_its_line_and_no_fault_of_tuner_s(mine: Path, tuner) -> None:  # type: ignore[no-untyped-def]
    mine.write_text(START.replace("net.decoder(z_BZ), batch.x_BD)", "net.decoder(z_BZ), batch.x_BD[:, :3])"))
    line = next(i for i, line in enumerate(mine.read_text().splitlines(), 1) if "[:, :3]" in line)
    code, _, err = tuner("train", "my_model", "--models", "my_model.py", "--dataset", "digits")
    assert code == 2
    assert err.startswith(f"error: my_model.py:{line}, in draw_together: RuntimeError: The size of tensor")
    assert 'return {"recon": mse(' in err and "fault of tuner" not in err


@pytest.mark.parametrize("asks", ["float(nearest_B.mean())", "nearest_B.mean() * nearest_B.max().item()"])
def test_an_update_that_asks_a_tensor_for_its_value_is_refused_before_a_search_with_its_line(mine: Path, tuner, asks: str) -> None:  # type: ignore[no-untyped-def]
    """A dry run finds it: on a GPU no step may."""
    mine.write_text(START.replace('"compact": nearest_B.mean()', f'"compact": {asks}'))
    line = next(i for i, text in enumerate(mine.read_text().splitlines(), 1) if asks in text)
    code, _, err = tuner("describe", "my_model", "--models", "my_model.py")
    assert code == 2
    assert f"my_model.py:{line}, in draw_together: RuntimeError: here a tensor is asked for its value" in err and "tuner verify" in err


# --- importing from memory ---------------------------------------------------------------------------------------------


def test_two_versions_of_one_file_are_two_models_and_each_stays_what_it_was(mine: Path) -> None:
    before = load_model("my_model", read_own([mine]))
    mine.write_text(START.replace("hp(256, 8", "hp(64, 8"))
    after = load_model("my_model", read_own([mine]))
    assert [model.hyper().hidden for model in (before, after)] == [256, 64]
    assert pickle.loads(pickle.dumps(type(after))) is type(after)


def test_nothing_is_added_to_the_import_path(mine: Path) -> None:
    before = sys.path[:]
    load_model("my_model", read_own([mine]))
    assert sys.path == before and "my_model" not in sys.modules


def test_a_process_that_never_saw_the_file_has_the_model_from_the_spec(mine: Path) -> None:
    spec = read_space("space.yaml", options=Options(models=[mine]))
    spec.loaded()
    Path("spec.pickle").write_bytes(pickle.dumps(spec))
    mine.unlink()
    program = "import pickle; s = pickle.load(open('spec.pickle', 'rb')); print(s.loaded().name, s.hyper(s.config(s.completed({}))).hidden)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(layout.ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("my_model 16\n", "")


# --- what decides results ----------------------------------------------------------------------------------------------


def key_of(mine: Path, text: str, folder: Path) -> str:
    mine.write_text(text)
    model, data = load_model("my_model", read_own([mine])), load(DatasetSpec(name="digits", limit=100))
    entry = PretrainingCache(folder=folder).entry(model, model.hyper({"batch_size": 50}), data, seed=1, pretrain_seed=0)
    assert entry is not None
    return entry.files["pretrain"].name


def test_a_kept_pre_training_is_of_the_file_s_text_and_of_its_parts(mine: Path) -> None:
    parts = mine.parent / "_parts.py"
    parts.write_text("SLOPE = 1\n")
    text = "from ._parts import SLOPE\n" + PRETRAINS
    first = key_of(mine, text, mine.parent)
    assert key_of(mine, text, mine.parent) == first
    assert key_of(mine, text.replace("mse(net.decoder(net.enc", "2 * mse(net.decoder(net.enc"), mine.parent) != first
    parts.write_text("SLOPE = 2\n")
    assert key_of(mine, text, mine.parent) != first


def test_what_is_kept_is_read_again_and_a_change_is_said(mine: Path) -> None:
    source = read_own([mine]).get("my_model")
    assert source is not None
    keep(source, mine.parent)
    again = kept_source(mine.parent, "my_model", source.code)
    assert again is not None and again.files == source.files
    assert kept_source(mine.parent, "other", source.code) is None
    (mine.parent / "models" / "my_model.py").write_text(START + "\n")
    with pytest.raises(UserError, match="is not the code that the search ran: it was changed since"):
        kept_source(mine.parent, "my_model", source.code)


# --- a YAML alone ------------------------------------------------------------------------------------------------------


def test_a_space_alone_runs_no_code_and_says_how_the_file_is_brought(mine: Path, tuner) -> None:  # type: ignore[no-untyped-def]
    mine.write_text("raise SystemExit('ran')\n" + START)
    code, _, err = tuner("check", "space.yaml")
    assert code == 2 and "There is no model 'my_model'. my_model.py lies here: bring it with --models my_model.py." in err


def test_check_describe_models_and_train_take_the_file_also_from_the_environment(
    mine: Path,
    tuner,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    for words, text in ((("check", "space.yaml"), "my_model"), (("describe", "my_model"), "My method"), (("models",), "my_model")):
        code, out, err = tuner(*words, "--models", str(mine))
        assert (code, err) == (0, "") and text in out, words
    monkeypatch.setenv("TUNER_MODELS", str(mine))
    code, out, err = tuner("train", "my_model", "--set", "hidden=16", "--set", "pretrain_epochs=1", "--epochs", "1")
    assert (code, err) == (0, "") and out.count("epoch ") == 2


# --- packages ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(mine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is installed: a folder on the path, with the metadata that an installer writes."""
    site = mine.parent / "site"
    (site / "clusterers-1.2.dist-info").mkdir(parents=True)
    (site / "clusterers-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: clusterers\nVersion: 1.2\n")
    (site / "clusterers-1.2.dist-info" / "entry_points.txt").write_text("[tuner.models]\ntheirs = clusterers.inner:MyModel\n")
    (site / "clusterers").mkdir()
    (site / "clusterers" / "__init__.py").touch()
    (site / "clusterers" / "inner.py").write_text(START)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return site


def test_an_installed_package_brings_its_models_by_entry_points(package: Path, tuner) -> None:  # type: ignore[no-untyped-def]
    assert load_model("theirs").name == "theirs"
    Path("space.yaml").write_text(SPACE.replace("my_model", "theirs"))
    found = read_space("space.yaml")
    assert found.source is not None and found.source.shown == "the package clusterers 1.2"
    assert pickle.loads(pickle.dumps(found)).loaded().name == "theirs"
    assert "the package clusterers 1.2" in tuner("models")[1]


def test_a_package_s_model_of_a_name_that_is_taken_is_refused(package: Path) -> None:
    (package / "clusterers-1.2.dist-info" / "entry_points.txt").write_text("[tuner.models]\ndec = clusterers.inner:MyModel\n")
    importlib.invalidate_caches()
    assert refusal() == "'dec' is a model that comes with tuner, and the package clusterers 1.2 is named so, too. Rename the file."

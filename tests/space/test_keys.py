"""The table of keys: an entry is all that a key needs."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from docs import tables
from tuner.cli.space_view import space_view
from tuner.data.datasets import describe
from tuner.errors import UserError
from tuner.runs import paths
from tuner.search.saved import spec_of
from tuner.space.keys import KEYS, Key
from tuner.space.reader import read_space
from tuner.space.reading import whole
from tuner.space.spec import Spec

SPACE = "model: kmeans\ndataset: digits\nmetric: {name: acc}\nparameters: {n_clusters: {values: [7, 10]}}\n"
PATIENCE = Key(name="patience", kind="a whole number", default="3", doc="How long a trial may stand still.", read=whole(1, None, 3))


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "patience", PATIENCE)


def space(tmp_path: Path, more: str = "") -> Spec:
    (tmp_path / "space.yaml").write_text(SPACE + more)
    return read_space(str(tmp_path / "space.yaml"))


def run_of(spec: Spec, folder: Path, **about: object) -> Path:
    """A run's folder with what a search writes down before its first trial."""
    folder.mkdir()
    (folder / paths.SPACE).write_text(spec.text)
    began = {"space": spec.name, "dataset_at": spec.dataset.name, "options": {}, "versions": {"tuner": "0.1"}, "id": "0" * 16}
    (folder / "spec.json").write_text(json.dumps(spec.resolved() | began | about))
    (folder / "status.json").write_text(json.dumps({"status": "stopped", "started": 0.0}))
    (folder / "results.jsonl").touch()
    return folder


def shown(spec: Spec) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for part in space_view(spec, describe(spec.dataset)):
            console.print(part)
    return capture.get()


@pytest.mark.usefixtures("patience")
def test_an_entry_of_the_table_is_all_that_a_key_needs(tmp_path: Path) -> None:
    spec = space(tmp_path, "patience: 5\n")
    assert (spec.key("patience"), spec.resolved()["patience"]) == (5, 5)
    assert next(line for line in shown(spec).splitlines() if "patience" in line).split() == ["patience", "5"]
    default = space(tmp_path)
    assert (default.key("patience"), default.filled["patience"]) == (3, 3)
    line = next(line for line in shown(default).splitlines() if "patience" in line)
    assert line.split() == ["patience", "3", "(default)"]
    assert "| `patience` | 3 | How long a trial may stand still. |" in tables.keys().splitlines()
    with pytest.raises(UserError, match=r"space\.yaml:5: 'patience' must be a whole number of 1 or more, but got 0\."):
        space(tmp_path, "patience: 0\n")


@pytest.mark.usefixtures("patience")
def test_a_run_goes_on_with_a_key_of_the_table_as_it_was(tmp_path: Path) -> None:
    spec = space(tmp_path, "patience: 5\n")
    assert spec_of(run_of(spec, tmp_path / "same"), None, None).key("patience") == 5
    with pytest.raises(UserError, match=r"means something else to this version of tuner, in patience\. Go on with"):
        spec_of(run_of(spec, tmp_path / "other", patience=6), None, None)


def test_a_run_from_before_a_key_goes_on_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_of(space(tmp_path), tmp_path / "before")
    monkeypatch.setitem(KEYS, "patience", PATIENCE)
    assert spec_of(before, None, None).key("patience") == 3


def filled(spec: Spec, **parameters: object) -> dict[str, object]:
    """The defaults with others for these parameters; None: without them."""
    found = dict(spec.filled) | {f"parameters.{name}": value for name, value in parameters.items()}
    return {name: value for name, value in found.items() if value is not None}


def test_a_run_from_before_a_parameter_goes_on_with_its_default_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = space(tmp_path)
    spec_of(run_of(spec, tmp_path / "same"), None, None)
    assert caplog.messages == []
    before = run_of(spec, tmp_path / "before", filled=filled(spec, n_init=None))
    assert spec_of(before, None, None).filled["parameters.n_init"] == spec.filled["parameters.n_init"]
    assert caplog.messages == [f"When before began, kmeans had no n_init {spec.filled['parameters.n_init']}: it goes on with that default."]


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_init": 3}, r"in parameters\.n_init \(by default 3 then, 10 now\)\. Go on with"),
        ({"n_tries": 3}, r"in parameters\.n_tries \(there is none any more\)\. Go on with"),
    ],
)
def test_a_run_whose_defaults_are_others_by_now_is_refused(tmp_path: Path, parameters: dict[str, object], match: str) -> None:
    spec = space(tmp_path)
    with pytest.raises(UserError, match=match):
        spec_of(run_of(spec, tmp_path / "run", filled=filled(spec, **parameters)), None, None)


def test_a_key_of_which_results_are_independent_may_change(tmp_path: Path) -> None:
    folder = run_of(space(tmp_path), tmp_path / "run", retries=7, checkpoint_gb=3.0)
    assert spec_of(folder, "+5", None).trials == 24 + 5


def test_every_key_says_what_it_is() -> None:
    assert list(KEYS) == [key.name for key in KEYS.values()]
    for key in KEYS.values():
        assert key.kind and key.default and key.doc.endswith(".") and key.example, key.name
        assert (key.default == "required") == bool(key.missing)

"""A run knows its data: it goes on with these alone, wherever they lie and in whatever format, and so does its best configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from kit.commands import Tuner

from tuner.cli.options import DONE, THEIRS
from tuner.data.cache import load_once
from tuner.data.datasets import load
from tuner.errors import UserError
from tuner.runs.configurations import Configuration
from tuner.runs.events import TrialEnd
from tuner.runs.journal import Journal
from tuner.runs.new_run import open_run
from tuner.runs.winner import best_yaml
from tuner.service import resume as service
from tuner.service.driver import opened_files
from tuner.service.resume import ResumeOptions, resume
from tuner.space.reader import read_space
from tuner.tune.searcher import StudySearch

SPACE = """\
model: kmeans
dataset: {name: "npz:my.npz", scale: minmax}
metric: {name: acc, goal: maximize}
trials: 3
epochs: 2
early_terminate: none
parameters:
  n_clusters: {min: 2, max: 9}
"""
IN_PACKS = SPACE.replace("model: kmeans", "model: dec\nresources: {pack: 3}") + "  hidden: {value: 8}\n  batch_size: {value: 20}\n"
X, Y = np.random.RandomState(0).rand(60, 4).astype(np.float32), np.repeat([0, 1, 2], 20)


class ReachedError(Exception):
    """The check of the data lies behind."""


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(address: str | None) -> None:
        raise ReachedError

    monkeypatch.setattr(service, "join", join)


def a_run(place: Path, space: str = SPACE) -> Path:
    """One that began with `X` and `Y` in `place`/my.npz, and has run no trial."""
    place.mkdir()
    np.savez(place / "my.npz", x=X, y=Y)
    (place / "space.yaml").write_text(space.replace("npz:my.npz", f"npz:{place / 'my.npz'}"))
    spec = read_space(str(place / "space.yaml"))
    info = {"options": {}, "dataset_at": spec.dataset.name, "data_root": None, "wandb": "disabled", "address": None, "versions": {}}
    info |= {"data": load(spec.dataset).identity.written(), "pack": 3 if space == IN_PACKS else 1}
    run = open_run(spec, "run", place / "runs", info, None)
    StudySearch(spec, run.folder, run.name)
    with opened_files(run) as files:
        journal = Journal(files)
        journal.search_started(run)
        journal.search_ended("stopped")
    end = TrialEnd(trial=0, state="complete", config=spec.config({"n_clusters": 3}) | {"seed": 1}, score=0.5, metrics={"acc": 0.5})
    (run.folder / "best.yaml").write_text(best_yaml(run, Configuration(number=end.trial, end=end), weights=False))
    return run.folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "lock.json"}


CHANGES = pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X + np.arange(4, dtype=np.float32), Y, "other values, or the same in another order"),
        (X[::-1], Y, "other values, or the same in another order"),
        (X, Y[::-1], "other labels"),
        (X, (Y + 1) % 3, "other labels"),
        (X[:50], Y[:50], "50 rows instead of 60"),
        (X[:, :3], Y, "3 columns instead of 4"),
        (X, None, "no labels where there were some"),
    ],
)


PACKS = pytest.mark.parametrize("space", [SPACE, IN_PACKS], ids=["alone", "packs"])


@PACKS
@CHANGES
def test_other_data_are_refused_by_name_and_nothing_is_changed(
    tmp_path: Path, space: str, x: np.ndarray, y: np.ndarray | None, said: str
) -> None:
    folder = a_run(tmp_path / "here", space)
    np.savez(tmp_path / "here" / "my.npz", x=x, **({} if y is None else {"y": y}))
    before = content(folder)
    with pytest.raises(UserError) as error:
        resume(folder)
    if y is None:
        assert "acc" in str(error.value), "a space that goes by labels is refused for their absence"
    else:
        assert str(error.value).startswith(f"run was made with other data: npz:{tmp_path}/here/my.npz now has {said}. Nothing was changed.")
    assert content(folder) == before


@PACKS
def test_the_same_data_go_on_also_after_the_file_was_written_again(tmp_path: Path, space: str) -> None:
    folder = a_run(tmp_path / "here", space)
    np.savez_compressed(tmp_path / "here" / "my.npz", x=X.astype(np.float64), y=Y.astype(np.int8))
    with pytest.raises(ReachedError):
        resume(folder)


@pytest.mark.parametrize("run_too", [True, False])
def test_data_that_moved_are_found_beside_the_run_or_named(tmp_path: Path, run_too: bool) -> None:
    folder = a_run(tmp_path / "here")
    if run_too:
        (tmp_path / "here").rename(tmp_path / "there")
        with pytest.raises(ReachedError):
            resume(tmp_path / "there" / "runs" / "run")
        return
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(tmp_path / "here" / "my.npz", tmp_path / "elsewhere" / "other.npz")
    with pytest.raises(UserError, match=r"There is no file .*my\.npz"):
        resume(folder)
    with pytest.raises(ReachedError):
        resume(folder, ResumeOptions(dataset=f"npz:{moved}"))


def test_the_same_values_in_another_format_are_the_same_data(tmp_path: Path) -> None:
    folder, path = a_run(tmp_path / "here"), tmp_path / "my.csv"
    rows = [",".join([*(repr(float(v)) for v in x), str(y)]) for x, y in zip(X, Y, strict=True)]
    path.write_text("\n".join(["a,b,c,d,label", *rows]) + "\n")
    with pytest.raises(ReachedError):
        resume(folder, ResumeOptions(dataset=f"csv:{path}"))
    path.write_text("\n".join(["a,b,c,d,label", *rows[:-1]]) + "\n")
    with pytest.raises(UserError, match="59 rows instead of 60"):
        resume(folder, ResumeOptions(dataset=f"csv:{path}"))


def test_a_run_that_does_not_know_its_data_says_so_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = a_run(tmp_path / "here")
    about = json.loads((folder / "spec.json").read_text())
    del about["data"]
    (folder / "spec.json").write_text(json.dumps(about))
    with pytest.raises(ReachedError):
        resume(folder)
    (message,) = caplog.messages
    assert message.startswith("run was begun by a version that did not note its data. From now on it knows those of npz:")


def test_a_search_trains_on_no_other_file_than_it_began_with(tmp_path: Path) -> None:
    """A file that is replaced while trials run, or is another one on another machine."""
    from tuner.machines.cluster import Share
    from tuner.service.driver import new_trainer

    a_run(tmp_path / "here")
    spec = read_space(str(tmp_path / "here" / "space.yaml"))
    trainer = new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None, load(spec.dataset).identity)
    assert len(trainer.data().x_ND) == 60
    np.savez(tmp_path / "here" / "my.npz", x=X[:, ::-1], y=Y)
    from tuner.search.trainer import _parts

    _parts.cache_clear()  # as in another process
    with pytest.raises(UserError, match="is not what the search began with: it has other values"):
        trainer.data()


def test_a_host_of_packs_trains_on_no_other_file_either(tmp_path: Path) -> None:
    from tuner.machines.cluster import Share
    from tuner.search.trainer import _parts
    from tuner.service.driver import new_trainer
    from tuner.tune.pack_host import PackHost

    a_run(tmp_path / "here", IN_PACKS)
    spec = read_space(str(tmp_path / "here" / "space.yaml"))
    trainer = new_trainer(spec, Share(cpu=1, gpu=0, slots=1), None, load(spec.dataset).identity)
    np.savez(tmp_path / "here" / "my.npz", x=X, y=Y[::-1])
    _parts.cache_clear()  # as in another process
    with pytest.raises(UserError, match="is not what the search began with: it has other labels"):
        PackHost(trainer, 3)


@CHANGES
def test_a_best_configuration_is_trained_on_its_own_data(
    tmp_path: Path, tuner: Tuner, x: np.ndarray, y: np.ndarray | None, said: str
) -> None:
    best = a_run(tmp_path / "here") / "best.yaml"
    assert yaml.safe_load(best.read_text())["data"]["rows"] == 60
    code, out, err = tuner("train", str(best))
    assert code == DONE and "60 samples" in out, err
    np.savez(tmp_path / "here" / "my.npz", x=x, **({} if y is None else {"y": y}))
    code, out, err = tuner("train", str(best))
    assert code == THEIRS and f"The configuration was found with other data: npz:{tmp_path}/here/my.npz now has {said}." in err
    assert tuner("train", str(best), "--dataset", f"npz:{tmp_path}/here/my.npz")[0] == DONE, "which the user named"


def test_a_best_configuration_finds_its_data_where_the_run_was_moved_with_them(tmp_path: Path, tuner: Tuner) -> None:
    a_run(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    code, out, err = tuner("train", str(tmp_path / "there" / "runs" / "run" / "best.yaml"))
    assert code == DONE and "60 samples" in out, err


@pytest.mark.parametrize("data", ["5", "{rows: many, columns: 4, values: a, labels: b}", "[1, 2]"])
def test_a_fingerprint_that_is_none_is_named_with_its_line(tmp_path: Path, tuner: Tuner, data: str) -> None:
    best = a_run(tmp_path / "here") / "best.yaml"
    content = yaml.safe_load(best.read_text()) | {"data": yaml.safe_load(data)}
    best.write_text(yaml.safe_dump(content, sort_keys=False))
    code, _, err = tuner("train", str(best))
    assert code == THEIRS and "'data' must be what a search wrote" in err and "best.yaml:" in err


def test_the_fingerprint_costs_one_pass_over_the_data_and_none_the_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run(tmp_path / "here")
    spec = read_space(str(tmp_path / "here" / "space.yaml"))
    expected = load_once(spec.dataset, tmp_path).identity
    monkeypatch.setattr("tuner.data.datasets.digest", lambda tensors: pytest.fail("hashed again"))
    assert load_once(spec.dataset, tmp_path).identity == expected

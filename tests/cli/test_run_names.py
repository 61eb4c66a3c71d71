"""Which run a name means: `--out` decides, a path is a path, and where two are meant nothing is done to either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit.commands import Tuner
from kit.interrupted import a_killed_run

from tuner.cli.options import DONE, THEIRS, run_folder
from tuner.errors import UserError
from tuner.stores import lock
from tuner.stores.store import Store, local_place
from tuner.stores.uploads import Uploads


def run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_typed_out_decides(tmp_path: Path) -> None:
    run(tmp_path / "here" / "q")
    for there in (tmp_path / "there", Path("../there"), Path("runs")):
        assert run_folder("q", str(there)) == there / "q"


def test_a_path_is_a_path(tmp_path: Path) -> None:
    run(tmp_path / "here" / "runs" / "q")
    run(tmp_path / "here" / "q")
    for path in ("./q", "runs/q", str(tmp_path / "here" / "q"), "../here/q"):
        assert run_folder(path, "elsewhere") == Path(path)


def test_a_name_is_found_in_runs_or_here(tmp_path: Path) -> None:
    run(tmp_path / "here" / "q")
    run(tmp_path / "here" / "runs" / "p")
    assert [run_folder(name, None) for name in ("q", "p", "none")] == [Path("q"), Path("runs/p"), Path("runs/none")]


def test_two_runs_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    one, other = run(tmp_path / "here" / "q"), run(tmp_path / "here" / "runs" / "q")
    with pytest.raises(UserError) as error:
        run_folder("q", None)
    assert str(error.value) == f"There are two runs 'q': {one} and {other}. Write ./q, or --out runs."
    assert run_folder("q", "runs") == Path("runs/q") and run_folder("./q", None) == Path("q")


def test_a_run_that_is_linked_to_from_here_is_one_run(tmp_path: Path) -> None:
    other = run(tmp_path / "here" / "runs" / "q")
    (tmp_path / "here" / "q").symlink_to(other)
    assert run_folder("q", None) == Path("q")


def test_every_command_that_takes_a_run_does_what_out_says(tmp_path: Path, tuner: Tuner) -> None:
    """In `runs/` of `made` lies a run that can be read; of the same name here one that cannot: it would be complained of."""
    (tmp_path / "made").mkdir()
    a_killed_run(tmp_path / "made")
    run(tmp_path / "here" / "run")
    for words in (["show"], ["status"], ["clean"], ["stop"], ["enqueue", "--set", "lr=0.05"], ["resume"]):
        code, out, err = tuner(words[0], "run", "--out", "../nowhere", *words[1:])
        assert code == THEIRS and "There is no run '../nowhere/run'" in err + out, words
    for words in (["show"], ["status"], ["clean", "--dry-run"], ["enqueue", "--set", "lr=0.05"]):
        code, out, err = tuner(words[0], "run", "--out", "../made/runs", *words[1:])
        assert code == DONE, (words, err)
    assert list((tmp_path / "made" / "runs" / "run" / "orders").iterdir())
    assert (tmp_path / "here" / "run" / "spec.json").read_text() == "{}"


def test_a_store_as_out_decides_too_and_a_path_is_still_a_path(tmp_path: Path, tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "made").mkdir()
    with Uploads(a_killed_run(tmp_path / "made"), Store(f"file://{tmp_path}/store/run")):
        pass
    run(tmp_path / "here" / "run")
    run(tmp_path / "here" / "other")
    there = f"file://{tmp_path}/store"
    code, out, err = tuner("show", "run", "--out", there, "--json")
    assert code == DONE and json.loads(out)["name"] == "run", err
    for words in (["status"], ["clean", "--dry-run"], ["show"]):
        assert tuner(words[0], "run", "--out", there, *words[1:])[0] == DONE, words
        code, out, err = tuner(words[0], "other", "--out", there, *words[1:])
        assert code == THEIRS and f"There is no run '{there}/other'" in err + out, words
        code, out, err = tuner(words[0], "./run", "--out", there, *words[1:])
        assert code == THEIRS and there not in err + out, "the one here, which cannot be read"
    assert run_folder("./run", there) == Path("run")
    assert run_folder(f"{there}/run", "elsewhere") == run_folder("run", there) == local_place(there) / "run"


def test_where_no_search_runs_is_said_with_the_place(tuner: Tuner) -> None:
    for words, place in (([], "runs"), (["--out", "elsewhere"], "elsewhere")):
        assert tuner("status", *words)[:2] == (DONE, f"No search runs in {place}/. `tuner ls` lists those that have run there.\n")

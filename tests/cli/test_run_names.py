"""Which run a name means: `--out` decides, a path is a path, and where two are meant nothing is done to either."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.commands import Tuner
from kit.interrupted import a_killed_run

from tuner.cli.options import DONE, THEIRS, run_folder
from tuner.errors import UserError


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


def test_where_no_search_runs_is_said_with_the_place(tuner: Tuner) -> None:
    for words, place in (([], "runs"), (["--out", "elsewhere"], "elsewhere")):
        assert tuner("status", *words)[:2] == (DONE, f"No search runs in {place}/. `tuner ls` lists those that have run there.\n")

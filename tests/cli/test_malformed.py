"""Whatever is malformed is refused: exit code 2, one clear message, no traceback, and everything is left as it was.

The inputs are generated, always the same ones: see malformed.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kit.interrupted import a_killed_run
from kit.malformed import (
    Case,
    Damage,
    abouts,
    checkpoints,
    configurations,
    data_files,
    files_for,
    journals,
    names,
    options,
    published_files,
    spaces,
    statuses,
    studies,
)

from tuner.cli.app import main
from tuner.cli.options import DONE, THEIRS
from tuner.machines import cluster
from tuner.runs.results import read_run
from tuner.service import driver, resume

MOST_CHARACTERS = 6_000  # of a message: some lines, whatever is in the file


def inputs(strategy: st.SearchStrategy[Any], n: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`n` examples, the same ones every time."""
    fixed = settings(
        max_examples=n, derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    return lambda test: fixed(given(strategy)(test))


@pytest.fixture(scope="module", autouse=True)
def nobody() -> Iterator[None]:
    """Nobody's account, data and terminal; and no Ray: what is malformed is refused before it has started."""

    def too_late(*_: object) -> None:
        raise AssertionError("Ray was waited for")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr(cluster, "start_ray_early", lambda address=None: None)
        patch.setattr(cluster, "join", too_late)
        patch.setattr(driver, "join", too_late)
        patch.setattr(resume, "join", too_late)
        for name in ("TUNER_DATA", "RAY_API_SERVER_ADDRESS", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        yield


@contextlib.contextmanager
def in_a_folder() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="malformed-") as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def content(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below, as bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def tuner(*words: str) -> tuple[int, str, str]:
    """A command in this process: its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


def refused(*words: str) -> str:
    """Runs a command in the current folder, which must be refused; the message."""
    before = content(Path())
    code, out, err = tuner(*words)
    assert (code, out) == (THEIRS, ""), out + err
    assert err.startswith("error: ") and err.count("error: ") == 1, err
    assert "Traceback" not in err and "fault of tuner's" not in err, err
    assert all(c.isprintable() or c == "\n" for c in err) and len(err) < MOST_CHARACTERS, err
    assert content(Path()) == before
    return err


def is_refused(case: Case) -> None:
    with in_a_folder():
        for name, raw in case.files.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if raw is None else path.write_bytes(raw)
        assert case.said in refused(*case.words)


# --- files of the user's -----------------------------------------------------------------------------------------------


@inputs(spaces(), 40)
def test_a_space_with_a_wrong_value_or_key_is_refused(case: Case) -> None:
    is_refused(case)


@inputs(files_for(("check",), ("train",), ("search", "--space"), ("submit", "--space"), ("cluster", "up"), ("resume",), ("show",)), 50)
def test_a_file_that_is_no_yaml_or_not_what_was_asked_for_is_refused(case: Case) -> None:
    is_refused(case)


@inputs(configurations(), 25)
def test_a_configuration_with_a_wrong_value_is_refused(case: Case) -> None:
    is_refused(case)


@inputs(data_files(), 40)
def test_a_data_file_that_holds_no_data_is_refused(case: Case) -> None:
    is_refused(case)


@inputs(published_files(), 6)
def test_damaged_images_are_refused(case: Case) -> None:
    is_refused(case)


@inputs(names(), 25)
def test_a_name_that_cannot_be_a_runs_or_is_none_is_refused(case: Case) -> None:
    is_refused(case)


@inputs(options(), 40)
def test_an_option_with_a_wrong_value_is_refused(case: Case) -> None:
    is_refused(case)


# --- a run's files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_killed_run(tmp_path_factory.mktemp("interrupted")).parent


def test_the_run_that_the_following_is_done_to_would_go_on(interrupted: Path) -> None:
    with in_a_folder():
        shutil.copytree(interrupted, "runs")
        assert tuner("show", "run")[0] == DONE
        assert "AssertionError: Ray was waited for" in tuner("resume", "run")[2]


def is_noticed(runs: Path, damage: Damage, *commands: tuple[str, ...]) -> None:
    """Every one of the commands refuses the run once the damage is done."""
    with in_a_folder():
        shutil.copytree(runs, "runs")
        path = Path("runs/run") / damage.file
        sound = path.read_bytes()
        path.write_bytes(damage.done(sound))
        assert path.read_bytes() != sound
        for words in commands:
            assert damage.said in refused(*words)


@inputs(journals(), 25)
def test_a_journal_that_is_damaged_before_its_last_line_is_refused_with_the_line(interrupted: Path, damage: Damage) -> None:
    is_noticed(interrupted, damage, ("show", "run"), ("show", "run", "--json"), ("ls",), ("resume", "run"), ("clean", "run"))


@inputs(abouts() | statuses(), 30)
def test_what_says_how_a_run_stands_is_refused_where_it_is_damaged(interrupted: Path, damage: Damage) -> None:
    is_noticed(interrupted, damage, ("show", "run"), ("ls",), ("resume", "run"), ("status", "run"), ("enqueue", "run", "--like", "0"))


@inputs(studies() | checkpoints(), 40)
def test_a_study_or_a_checkpoint_that_is_damaged_is_not_gone_on_from(interrupted: Path, damage: Damage) -> None:
    is_noticed(interrupted, damage, ("resume", "run"))


@inputs(files_for(("unused",)), 15)
def test_a_space_that_is_damaged_is_not_gone_on_with(interrupted: Path, case: Case) -> None:
    raw = case.files["bad.yaml"]
    if raw is not None:
        is_noticed(interrupted, Damage("space.yaml", "another", lambda _: raw, "space.yaml"), ("resume", "run"))


def test_a_torn_last_line_is_no_damage(interrupted: Path) -> None:
    with in_a_folder():
        shutil.copytree(interrupted, "runs")
        before = read_run(Path("runs/run")).epochs
        with Path("runs/run/results.jsonl").open("ab") as file:
            file.write(b'{"trial": 1, "epo')
        assert tuner("show", "run")[0] == DONE
        assert read_run(Path("runs/run")).epochs == before

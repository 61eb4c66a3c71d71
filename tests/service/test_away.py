"""Searches whose --out is full or vanishes while they run, on the real Ray, compared with one that nothing disturbed."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.resumed import one_at_a_time, plain, same

from tuner.runs.lock import LOCK
from tuner.runs.results import read_run
from tuner.service.driver import Outcome, SearchOptions, search
from tuner.service.resume import resume
from tuner.space.reader import read_space


class At:
    """Does things at epochs of trials, once each."""

    def __init__(self, **things: Callable[[], object]) -> None:
        self._things = {tuple(map(int, name.lstrip("_").split("_"))): thing for name, thing in things.items()}

    def epoch_ended(self, trial: int, line: dict[str, Any]) -> None:
        self._things.pop((trial, line["epoch"]), lambda: None)()

    def __getattr__(self, name: str) -> Any:
        return lambda *event: None


@pytest.fixture
def spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuner" / "spill"


def run(tmp_path: Path, out: Path, at: At) -> Outcome:
    return search(read_space(str(one_at_a_time(tmp_path))), SearchOptions(out=out, name="s", listeners=(at,)))


@pytest.mark.slow
def test_a_search_whose_folder_was_away_for_a_while_is_the_one_in_which_it_was_not(
    tmp_path: Path,
    through: Outcome,
    spills: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "runs" / "s"
    moved = tmp_path / "moved"
    outcome = run(tmp_path, tmp_path / "runs", At(_1_1=lambda: folder.rename(moved), _6_1=lambda: moved.rename(folder)))
    same(outcome.folder, through.folder)
    assert outcome.folder == folder and list(spills.iterdir()) == []
    said = [message.removeprefix(f"{folder} ").partition(" written")[0] for message in caplog.messages]
    assert said == ["cannot be", "can be"]


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_search_kept_elsewhere_to_its_end_is_brought_over_by_resume(
    tmp_path: Path,
    through: Outcome,
    spills: Path,
    stopped: bool,
) -> None:
    folder = tmp_path / "runs" / "s"
    moved = tmp_path / "moved" / "s"
    moved.parent.mkdir()
    ctrl_c = At(_1_1=lambda: folder.rename(moved), _5_1=lambda: stopped and os.kill(os.getpid(), signal.SIGINT))
    outcome = run(tmp_path, tmp_path / "runs", ctrl_c)
    assert outcome.folder.parent == spills and outcome.status == read_run(outcome.folder).status == ("stopped" if stopped else "done")
    assert not folder.exists()
    (moved / LOCK).unlink()  # whose process would have ended
    assert resume(moved).ran == stopped
    assert plain(moved) == plain(through.folder)
    assert list(spills.iterdir()) == []


@pytest.mark.slow
def test_a_search_whose_disk_was_full_for_a_while_loses_nothing_but_checkpoints(
    tmp_path: Path,
    through: Outcome,
    spills: Path,
    small_disk: Path,
    always_checkpointed: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    def full() -> None:
        with pytest.raises(OSError, match="No space left"):
            fill()

    outcome = run(tmp_path, small_disk / "runs", At(_1_1=full, _6_1=ballast.unlink))
    assert outcome.folder == small_disk / "runs" / "s"
    assert plain(outcome.folder) == plain(through.folder)
    said = [message.partition(" (")[0].partition(": ")[0] for message in caplog.messages]
    assert sorted(set(said)) == sorted([
        "A checkpoint could not be written", f"{outcome.folder} can be written again", f"{outcome.folder} cannot be written",
    ])  # fmt: skip
    assert said.count("A checkpoint could not be written") == 1

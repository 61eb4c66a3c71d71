"""A run's files while its folder is full, or away, and how they come home: on real file systems, a small one among them."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kit.disks import begun, opened

from tuner.errors import UserError
from tuner.runs.files import RunFiles, bring_back
from tuner.runs.journal import read_lines
from tuner.runs.paths import JOURNAL, STUDY
from tuner.search.study import StudyFile


def line(number: int, filling: int = 0) -> bytes:
    return json.dumps({"trial": number, "epoch": 1, "metrics": {}, "filling": "x" * filling}).encode() + b"\n"


def numbers(folder: Path) -> list[int]:
    return [found["trial"] for found in read_lines(folder / JOURNAL)]


def test_a_disk_that_is_full_is_said_once_and_what_follows_is_brought_over_in_order(
    small_disk: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = begun(small_disk / "runs" / "s")
    files = opened(folder)
    with caplog.at_level(logging.WARNING, logger="tuner"):
        for number in range(30):
            files.append(JOURNAL, line(number, 4000), sync=number % 2 == 0)
            files.append(STUDY, b"{}\n")
        files.write("status.json", "away")
    assert caplog.messages == [
        f"{folder} cannot be written (No space left on device): the search goes on, and its results are kept in {cache}/id until they can "
        "be brought over."
    ]
    assert files.away and numbers(cache / "id") == [*range(30)], "a run's folder like any other"
    there = numbers(folder)
    assert 5 < len(there) < 20 and (folder / JOURNAL).read_bytes().endswith(b"\n")
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    files._patience = 0.0
    files.append(JOURNAL, line(30))
    assert not files.away and not (cache / "id").exists()
    files.close()
    assert numbers(folder) == [*range(31)] and (folder / STUDY).read_bytes() == b"{}\n" * 30
    assert (folder / "status.json").read_text() == "away"
    assert caplog.messages[1:] == [f"{folder} can be written again: the results of meanwhile were brought over."]


@pytest.mark.parametrize("how", ["renamed", "removed", "unmounted"])
def test_a_folder_that_vanishes_is_found_out_at_the_next_line_and_is_filled_up_when_it_is_back(
    how: str, tmp_path: Path, small_disk: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = begun((small_disk if how == "unmounted" else tmp_path) / "runs" / "s")
    elsewhere = tmp_path / "elsewhere"
    if how == "unmounted":
        elsewhere.mkdir()
        subprocess.run(["mount", "--bind", small_disk, elsewhere], check=True)
    files = opened(folder)
    files.append(JOURNAL, line(0))
    if how == "renamed":
        folder.rename(elsewhere)
    elif how == "removed":
        shutil.rmtree(folder)
    else:
        subprocess.run(["umount", "-l", small_disk], check=True)
    for number in (1, 2):
        files.append(JOURNAL, line(number))
        files.write("status.json", str(number))
    assert numbers(cache / "id") == [0, 1, 2] and not folder.exists()
    if how == "renamed":
        elsewhere.rename(folder)
    elif how == "removed":
        begun(folder)
    else:
        subprocess.run(["mount", "--move", elsewhere, small_disk], check=True)
    files._patience = 0.0
    files.append(JOURNAL, line(3))
    assert numbers(folder) == [0, 1, 2, 3] and (folder / "status.json").read_text() == "2"
    assert [message.partition(": ")[0].partition(" (")[0] for message in caplog.messages] == [
        f"{folder} cannot be written", f"{folder} can be written again",
    ]  # fmt: skip
    files.close()


def test_what_a_dead_driver_kept_elsewhere_is_brought_into_the_run_wherever_that_is_now(tmp_path: Path, folder: Path, cache: Path) -> None:
    files = opened(folder)
    files.append(JOURNAL, line(0))
    folder.rename(tmp_path / "moved")
    files.append(JOURNAL, line(1))
    (cache / "id" / "checkpoints").mkdir()
    (cache / "id" / "checkpoints" / "001.safetensors").write_text("weights")
    kept = shutil.copytree(cache / "id", tmp_path / "kept")
    bring_back(tmp_path / "moved", "another")
    assert numbers(tmp_path / "moved") == [0]
    bring_back(tmp_path / "moved", "id")
    assert numbers(tmp_path / "moved") == [0, 1] and not (cache / "id").exists()
    assert (tmp_path / "moved" / "checkpoints" / "001.safetensors").read_text() == "weights"
    kept.rename(cache / "id")  # it was interrupted before it could remove the spill
    bring_back(tmp_path / "moved", "id")
    assert numbers(tmp_path / "moved") == [0, 1]


def test_a_run_that_went_on_without_what_was_kept_elsewhere_is_left_alone(tmp_path: Path, folder: Path, cache: Path) -> None:
    files = opened(folder)
    files.append(JOURNAL, line(0))
    folder.rename(tmp_path / "moved")
    files.append(JOURNAL, line(1))
    journal = tmp_path / "moved" / JOURNAL
    journal.write_bytes(journal.read_bytes() + line(7))
    with pytest.raises(UserError, match=r"results\.jsonl is not what .*/id/results\.jsonl goes on from: the run went on without it"):
        bring_back(tmp_path / "moved", "id")
    assert numbers(tmp_path / "moved") == [0, 7] and numbers(cache / "id") == [0, 1]


def test_where_nothing_can_be_written_the_search_ends_with_one_message(folder: Path, cache: Path) -> None:
    files = opened(folder)
    shutil.rmtree(folder)
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file")
    with pytest.raises(UserError) as error:
        files.append(JOURNAL, line(0))
    assert str(error.value) == (
        f"{folder} cannot be written (No such file or directory), and neither can {cache}/id (Not a directory): the search ends. "
        "What was journalled is kept. Make room, and `tuner resume` goes on with it."
    )
    assert files.error is error.value


def test_a_study_goes_on_while_its_file_is_away(tmp_path: Path, folder: Path, cache: Path) -> None:
    import optuna

    files = RunFiles(folder, "id")
    study = optuna.create_study(storage=optuna.storages.JournalStorage(StudyFile(files)), study_name="s")
    study.tell(study.ask(), 1.0)
    folder.rename(tmp_path / "moved")
    study.tell(study.ask(), 2.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]
    (tmp_path / "moved").rename(folder)
    files._patience = 0.0
    study.tell(study.ask(), 3.0)
    again = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(StudyFile(RunFiles(folder, "id"))))
    assert [trial.value for trial in again.trials] == [1.0, 2.0, 3.0] and not files.away


def test_a_study_is_on_the_disk_before_its_trial_trains(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    synced, fsync = [0], os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    study = optuna.create_study(storage=optuna.storages.JournalStorage(StudyFile(RunFiles(folder, "id"))), study_name="s")
    trial = study.ask()
    trial.set_user_attr("seed", 1)
    assert synced[-1] == (folder / STUDY).stat().st_size
    before = len(synced)
    trial.report(0.5, 1)
    assert len(synced) == before, "what an epoch measured is in the run's journal, too"

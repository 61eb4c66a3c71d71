"""A run's study that is absent, damaged or somebody else's: what Optuna's own tools and a resumed search are told."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from kit.interrupted import a_killed_run
from optuna.trial import FrozenTrial

from tuner.errors import UserError
from tuner.runs.paths import STUDY
from tuner.search.saved import spec_of
from tuner.search.study import OwnLogs, asked_in, check_proposed, given_trial, open_storage, study_of


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_killed_run(tmp_path_factory.mktemp("killed"))


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed, tmp_path / "run")


def test_optunas_own_tools_get_the_study_with_its_trials(folder: Path) -> None:
    assert [trial.state.name for trial in study_of(folder, "run").get_trials()] == ["COMPLETE", "RUNNING"]


def test_a_run_that_has_not_begun_has_no_study_and_nothing_was_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run has no study yet: none of its trials has begun\."):
        study_of(tmp_path, "run")
    assert asked_in(tmp_path, "run") == []
    (tmp_path / STUDY).touch()  # its driver died before it wrote a line
    assert asked_in(tmp_path, "run") == []


def test_a_study_of_another_name_is_not_taken_for_the_runs(tmp_path: Path) -> None:
    optuna.create_study(study_name="theirs", storage=open_storage(tmp_path / STUDY))
    with pytest.raises(UserError, match=r"study\.journal cannot be read: KeyError"):
        study_of(tmp_path, "run")
    with pytest.raises(UserError, match=r"it has no study 'run'\. Nothing was changed\. Bring the file back from a copy\."):
        asked_in(tmp_path, "run")


def test_what_a_search_reads_it_does_not_write(folder: Path) -> None:
    with pytest.raises(AssertionError, match="only read"):
        OwnLogs(folder / STUDY).append_logs([])


def test_a_trial_whose_driver_died_while_it_asked_is_asked_for_again(folder: Path) -> None:
    before = asked_in(folder, "run")
    lines = (folder / STUDY).read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"seed":' in line and '"trial_id":1' in line)
    (folder / STUDY).write_text("".join(lines[:first]))
    assert [trial.number for trial in before] == [0, 1]
    assert [trial.number for trial in asked_in(folder, "run")] == [0]


def changed(trial: FrozenTrial, **attributes: Any) -> FrozenTrial:
    found = copy.copy(trial)
    found.user_attrs = {**trial.user_attrs, **attributes}
    return found


def test_trials_that_the_space_cannot_have_proposed_are_damage_with_their_number(folder: Path) -> None:
    spec = spec_of(folder, "3", None)
    check_proposed(asked_in(folder, "run"), spec, folder / STUDY)
    first, second = asked_in(folder, "run")
    with pytest.raises(UserError, match=r"study\.journal is damaged at trial 1: it has no seed\. Nothing was changed\."):
        check_proposed([first, changed(second, seed="0")], spec, folder / STUDY)
    for wrong in ({"lr": "fast"}, {"batch_size": 0}):
        config = {"hidden": 8, "batch_size": 25, "pretrain_epochs": 2, "seed": 0}
        with pytest.raises(UserError, match=r"is damaged at trial 2: .*Bring the file back from a copy\."):
            check_proposed([first, second, given_trial(2, {**config, **wrong})], spec, folder / STUDY)

"""A run's study: others may write to it, by Optuna's API or its dashboard, and their trials are left alone; what is damage is named."""

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
from tuner.runs.events import Run
from tuner.runs.files import RunFiles
from tuner.runs.paths import STUDY
from tuner.runs.results import read_run
from tuner.search.saved import spec_of
from tuner.search.study import FOREIGN, OwnLogs, asked_in, check_proposed, given_trial, keep_foreign_trials, open_storage, study_of
from tuner.tune.searcher import StudySearch


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_killed_run(tmp_path_factory.mktemp("killed"))


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(killed, tmp_path / "run")


def theirs(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="run", storage=open_storage(folder / STUDY))


def told(study: optuna.Study) -> None:
    study.tell(study.ask({"lr": optuna.distributions.FloatDistribution(0.01, 0.1)}), 0.9)


def asked(study: optuna.Study) -> None:
    study.ask()


def enqueued(study: optuna.Study) -> None:
    study.enqueue_trial({"lr": 0.05})


def annotated(study: optuna.Study) -> None:
    study.set_user_attr("owner", "somebody")
    study.set_user_attr("note", "a remark")


@pytest.mark.parametrize("do", [told, asked, enqueued, annotated])
def test_the_trials_of_a_search_are_read_as_if_nobody_else_had_written(folder: Path, do: object) -> None:
    before = asked_in(folder, "run")
    for _ in range(2):
        do(theirs(folder))  # type: ignore[operator]
    after = asked_in(folder, "run")
    assert [(t.number, t.params, t.user_attrs) for t in after] == [(t.number, t.params, t.user_attrs) for t in before] and len(after) == 2


def test_a_search_that_runs_meanwhile_keeps_its_numbers(folder: Path) -> None:
    """Their trial stands in the file between two of the search's."""
    about = read_run(folder).spec_json
    (folder / "spec.json").write_text((folder / "spec.json").read_text().replace('"versions": {}', '"versions": {"tuner": "0"}'))
    run = Run(name="run", folder=folder, spec=spec_of(folder, "5", None), info=about)
    searcher = StudySearch(run.spec, folder, "run", RunFiles.of(run))
    numbers = []
    for trial in range(3):  # the first goes on
        found = searcher.suggest(f"tune {trial}")
        assert isinstance(found, dict)
        numbers.append(found["trial"])
        told(theirs(folder))
    assert numbers == [1, 2, 3]
    after = asked_in(folder, "run")
    assert [t.number for t in after] == [0, 1, 2, 3] and [t.user_attrs["trial"] for t in after] == [0, 1, 2, 3]
    assert all(set(t.params) == {"lr"} for t in after)


def test_they_are_counted_in_a_line_and_kept_in_a_file_that_optuna_reads(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_foreign_trials(folder, "run")
    assert not caplog.messages and not (folder / FOREIGN).exists()
    told(theirs(folder))
    told(theirs(folder))
    keep_foreign_trials(folder, "run")
    (message,) = caplog.messages
    assert message.startswith(
        "Trials that another program added to study.journal take no part in the search: 2, kept in study.foreign.journal."
    )
    kept = optuna.load_study(study_name="run", storage=open_storage(folder / FOREIGN))
    assert [trial.value for trial in kept.trials][-2:] == [0.9, 0.9]


def test_a_damaged_study_is_still_named(folder: Path) -> None:
    told(theirs(folder))
    lines = (folder / STUDY).read_text().splitlines()
    (folder / STUDY).write_text("\n".join([*lines[:3], "{damaged", *lines[3:]]) + "\n")
    with pytest.raises(UserError, match=r"study\.journal cannot be read"):
        asked_in(folder, "run")


# --- absent, damaged, somebody else's ---------------------------------------------------------------------------------------


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


def test_asking_for_a_trial_reads_the_other_trials_only_to_propose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(study_name="s", storage=open_storage(tmp_path / STUDY), sampler=optuna.samplers.RandomSampler(seed=1))
    read: list[object] = []
    every = optuna.storages.JournalStorage.get_all_trials
    monkeypatch.setattr(
        optuna.storages.JournalStorage, "get_all_trials", lambda self, *args, **named: read.append(args) or every(self, *args, **named)
    )
    asked = [study.ask() for _ in range(3)]
    assert read == []
    assert [trial.number for trial in asked] == [0, 1, 2] and [one.number for one in study.get_trials()] == [0, 1, 2]

"""Others may write to a run's study, by Optuna's API or its dashboard: their trials are left alone, and are no damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest
from kit.interrupted import a_killed_run

from tuner.errors import UserError
from tuner.runs.events import Run
from tuner.runs.files import RunFiles
from tuner.runs.paths import STUDY
from tuner.runs.results import read_run
from tuner.search.saved import spec_of
from tuner.search.study import FOREIGN, asked_in, keep_foreign_trials, open_storage
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

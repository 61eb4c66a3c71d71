"""Searches that begin with what earlier runs have found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.killed import killed_simulation
from kit.recorded import MANY, ends, recorded_table, simulated
from kit.searches import CONDITIONAL, SPACE, play, space
from optuna.trial import TrialState

from tuner.errors import UserError
from tuner.runs.results import read_run
from tuner.search.earlier import FROM, warm_started
from tuner.service.simulate import resume_simulated
from tuner.space.earlier import Earlier, EarlierRun, Told
from tuner.tune.searcher import StudySearch

FEW = SPACE.replace("trials: 9", "trials: 20")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return recorded_table(tmp_path)


@pytest.fixture
def before(tmp_path: Path, table: Path) -> Path:
    """An earlier run, of forty trials."""
    return simulated(space(tmp_path, MANY), table, tmp_path / "earlier", name="a").folder


def complete(folder: Path) -> int:
    return read_run(folder).counts()["complete"]


def test_the_sampler_knows_them_and_the_search_counts_its_own(tmp_path: Path, table: Path, before: Path) -> None:
    spec = space(tmp_path, FEW)
    cold = simulated(spec, table, tmp_path / "cold", lanes=1)
    warm = simulated(spec, table, tmp_path / "warm", lanes=1, earlier=[before])
    assert len(warm.results.trials) == len(cold.results.trials) == 20
    first = [next(end["config"]["n_clusters"] for end in ends(run.folder)) for run in (cold, warm)]
    assert first[0] != first[1], "a sampler that knows nothing begins at random"
    told = warm.results.spec_json["earlier"]
    assert told["runs"] == [{"run": str(before), "told": complete(before), "left_out": 0, "why": ""}]

    searcher = StudySearch(warm_started(spec, [before]), warm.folder, "s")
    assert len(searcher.study.trials) == 20 and not any(FROM in trial.user_attrs for trial in searcher.study.trials)
    seen = searcher._told.get_trials()
    marked = [trial for trial in seen if FROM in trial.user_attrs]
    assert len(seen) == 20 + complete(before) == 20 + len(marked)
    assert all(trial.number < 0 and trial.state == TrialState.COMPLETE for trial in marked)
    best = read_run(before).best()
    assert best is not None
    assert {"run": str(before), "trial": best.trial} in [trial.user_attrs[FROM] for trial in marked if trial.value == best.score]


def test_one_that_was_killed_goes_on_without_the_earlier_run(tmp_path: Path, table: Path, before: Path) -> None:
    spec = space(tmp_path, FEW)
    whole = simulated(spec, table, tmp_path / "whole", earlier=[before])
    middle = next(end.trial for end in whole.results.trials if end.trial > 8 and end.state == "complete")
    killed_simulation(tmp_path, table, (middle, 4), earlier=(before,))
    shutil.rmtree(before)
    folder = tmp_path / "runs" / "s"
    assert resume_simulated(folder, None).status == "done"
    assert ends(folder) == ends(whole.folder)
    more = resume_simulated(folder, "+3")
    assert len(more.results.trials) == 23 and more.results.spec_json["earlier"] == whole.results.spec_json["earlier"]


def test_what_lies_outside_the_space_is_left_out_and_counted(tmp_path: Path, table: Path, before: Path) -> None:
    narrow = space(tmp_path, FEW.replace("max: 200", "max: 40"))
    inside = [end for end in read_run(before).trials if end.state == "complete" and end.config["n_clusters"] <= 40]
    spec = warm_started(narrow, [before, before])
    (run,) = spec.earlier.runs
    assert (run.told, run.told + run.left_out) == (len(inside), complete(before)) and len(spec.earlier.trials) == run.told
    assert run.left_out == 0 or run.why.startswith("'n_clusters' is ")
    other = space(tmp_path, FEW + "  n_init: {value: 3}\n")
    with pytest.raises(
        UserError, match=r"--from .*a: none of its \d+ complete trials lies in this space: 'n_init' is \d+ there, and 3 here"
    ):
        warm_started(other, [before])


def test_what_is_no_run_of_this_space_is_refused(tmp_path: Path, before: Path) -> None:
    with pytest.raises(UserError, match=r"it searched kmeans by acc of the last epoch, and this space searches kmeans by nmi of"):
        warm_started(space(tmp_path, FEW.replace("acc", "nmi")), [before])
    with pytest.raises(UserError, match="There is no run"):
        warm_started(space(tmp_path, FEW), [tmp_path / "nowhere"])


def test_a_spec_that_was_changed_by_hand_is_refused(tmp_path: Path, table: Path, before: Path) -> None:
    run = simulated(space(tmp_path, FEW), table, tmp_path / "runs", earlier=[before])
    about = json.loads((run.folder / "spec.json").read_text())
    about["earlier"]["trials"][0]["values"] = ["high"]
    (run.folder / "spec.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="'earlier' must be a mapping of runs, and of trials with their values"):
        resume_simulated(run.folder, "+1")


@pytest.mark.parametrize("method", ["tpe", "gp", "random", "qmc"])
def test_every_method_takes_earlier_trials_of_a_space_with_conditions(method: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    first = StudySearch(space(tmp_path, CONDITIONAL), tmp_path / "first", "first")
    play(first, 14)
    told = [
        Told(run="first", trial=trial.number, chosen=trial.params, values=trial.values)
        for trial in first.study.trials
        if trial.state == TrialState.COMPLETE
    ]
    spec = space(tmp_path, CONDITIONAL.replace("epochs: 2", f"epochs: 2\nmethod: {method}"))
    warm = replace(spec, earlier=Earlier(runs=(EarlierRun(run="first", told=len(told), left_out=0),), trials=tuple(told)))
    (tmp_path / "second").mkdir()
    searcher = StudySearch(warm, tmp_path / "second", "second")
    asked = play(searcher, 6)
    assert len(asked) == 6 == len(searcher.study.trials)
    again = Earlier.of(json.loads(json.dumps(warm.earlier.plain())))
    assert again.plain() == warm.earlier.plain() and len(again.trials) == len(told)


def test_cmaes_begins_where_earlier_trials_were_good(tmp_path: Path) -> None:
    pytest.importorskip("cmaes")
    head, ranges = CONDITIONAL.split("parameters:")[0], "lr_ae: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}"
    text = f"{head}method: cmaes\nparameters:\n  {ranges}\n  dropout: {{min: 0.0, max: 0.5}}\n"
    told = [
        Told(run="first", trial=i, chosen={"lr_ae": 1e-3 * (1 + i / 100), "dropout": 0.1 + i / 1000}, values=(1 - i / 100,))
        for i in range(20)
    ]
    spec = space(tmp_path, text)
    warm = replace(spec, earlier=Earlier(runs=(EarlierRun(run="first", told=20, left_out=0),), trials=tuple(told)))
    searcher = StudySearch(warm, tmp_path, "s")
    asked = play(searcher, 8)
    assert all(2e-4 < config["lr_ae"] < 5e-3 and config["dropout"] < 0.35 for config in asked)


def test_the_command_says_how_many(tuner: Any, tmp_path: Path, table: Path, before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space(tmp_path, FEW)
    code, out, err = tuner("simulate", "space.yaml", "--table", str(table), "--from", str(before), "--name", "w")
    assert (code, err) == (0, "") and "20 trials" in out
    said = f"Warm start: the sampler was told of {complete(before)} complete trials of earlier/a."
    for command in ("show", "status"):
        code, out, _ = tuner(command, "w")
        assert code == 0 and said in " ".join(out.split())
    for command in ("show", "status"):
        code, out, _ = tuner(command, "w", "--json")
        assert json.loads(out)["from"] == [{"run": str(before), "told": complete(before), "left_out": 0, "why": ""}]
    code, _, err = tuner("report", "w")
    assert (code, err) == (0, "") and said in (tmp_path / "runs" / "w" / "report.html").read_text()
    code, _, err = tuner("simulate", "space.yaml", "--table", str(table), "--from", "nowhere")
    assert code == 2 and "There is no run" in err


def test_from_python(tmp_path: Path, table: Path, before: Path) -> None:
    import tuner

    space(tmp_path, FEW)
    run = tuner.simulate(tmp_path / "space.yaml", table=table, out=tmp_path / "runs", from_=tuner.load(before))
    assert run.status == "done" and run.results.spec_json["earlier"]["runs"][0]["told"] == complete(before)

"""What ends a search before all its trials are tried, through kill and resume: the whole code path of a search, under a virtual clock."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kit.killed import killed_simulation
from kit.recorded import MANY, ends, epochs, recorded_table, simulated
from kit.searches import SPACE, space

from tuner.errors import UserError
from tuner.runs.journal import read_lines
from tuner.runs.results import read_run
from tuner.service.simulate import resume_simulated


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return recorded_table(tmp_path)


@pytest.mark.parametrize(
    ("rule", "seeds", "because"),
    [
        ("stop: {target: 0.7}\n", "", r"trial \d+ reached acc 0\.\d+, and the target was 0\.7"),
        ("stop: {plateau: 7}\n", "", r"none of the last 7 trials was better than trial \d+"),
        ("stop: {plateau: 3, target: 0.99}\n", "seed: {repeat: 2}\n", r"none of the last 3 configurations was better than \w+ \d+"),
    ],
    ids=["target", "plateau", "seeds"],
)  # fmt: skip
def test_a_rule_ends_a_search_and_a_killed_one_at_the_same_trial(rule: str, seeds: str, because: str, tmp_path: Path, table: Path) -> None:
    spec = space(tmp_path, rule + seeds + MANY)
    whole = simulated(spec, table, tmp_path / "whole")
    assert whole.status == "done" and re.fullmatch(because, whole.results.because or "")
    begun = {end.configuration if end.configuration is not None else end.trial for end in whole.results.trials}
    assert len(begun) < 40 and all(end.state != "stopped" for end in whole.results.trials)
    last = [end["trial"] for end in ends(whole.folder) if end["state"] == "complete"][-1]
    killed_simulation(tmp_path, table, (last, 5))
    folder = tmp_path / "runs" / "s"
    resumed = resume_simulated(folder, None)
    assert (resumed.status, resumed.results.because) == ("done", whole.results.because)
    assert ends(folder) == ends(whole.folder) and epochs(folder) == epochs(whole.folder)
    assert json.loads((folder / "status.json").read_text())["because"] == resumed.results.because

    again = resume_simulated(folder, None)  # it is over
    assert ends(again.folder) == ends(whole.folder) and again.results.because == whole.results.because
    more = resume_simulated(folder, "+2")  # than were begun, not than 40
    assert more.status == "done" and more.results.because is None
    after = {end.configuration if end.configuration is not None else end.trial for end in more.results.trials}
    assert len(after) == len(begun) + 2
    assert json.loads((folder / "spec.json").read_text())["trials"] == len(begun) + 2


def test_a_plateau_is_counted_anew_when_the_search_goes_on(tmp_path: Path, table: Path) -> None:
    spec = space(tmp_path, "stop: {plateau: 5}\n" + MANY)
    first = simulated(spec, table, tmp_path / "runs", lanes=1)
    n = len(first.results.trials)
    more = resume_simulated(first.folder, "+40")
    assert more.results.because is not None and n + 5 <= len(more.results.trials) < n + 40


def test_hours_interrupt_a_search_which_goes_on_to_the_end_that_it_would_have_had(tmp_path: Path, table: Path) -> None:
    whole = simulated(space(tmp_path, MANY), table, tmp_path / "whole")
    hours = whole.results.seconds / 3600 * 0.4
    spec = space(tmp_path, MANY, hours=hours)
    assert spec.stop.hours == hours
    first = simulated(spec, table, tmp_path / "runs")
    folder = first.folder
    assert first.status == "stopped" and first.results.because == f"{hours:g} hours are over"
    open_ = [end.trial for end in first.results.trials if end.state == "stopped"]
    assert open_ and first.results.seconds == pytest.approx(hours * 3600, abs=0.01)
    deadline = json.loads((folder / "status.json").read_text())["started"] + hours * 3600
    assert max(line["time"] for line in read_lines(folder / "results.jsonl")) == pytest.approx(deadline, abs=0.01)
    second = resume_simulated(folder, None)  # as many hours again
    assert second.status == "stopped" and second.results.seconds == pytest.approx(2 * hours * 3600, abs=0.01)
    last = resume_simulated(folder, None, hours=10)
    assert last.status == "done" and last.results.because is None
    assert ends(folder) == ends(whole.folder) and epochs(folder) == epochs(whole.folder)
    assert json.loads((folder / "spec.json").read_text())["options"]["hours"] == 10


def test_a_search_that_was_killed_has_the_hours_that_were_left(tmp_path: Path, table: Path) -> None:
    whole = simulated(space(tmp_path, MANY), table, tmp_path / "whole")
    hours = whole.results.seconds / 3600 * 0.6
    spec = space(tmp_path, f"stop: {{hours: {hours}}}\n" + MANY)
    assert spec.stop.hours == hours
    first = simulated(spec, table, tmp_path / "first")
    middle = [end.trial for end in first.results.trials if end.state == "complete"][-1]
    killed_simulation(tmp_path, table, (middle, 4))
    resumed = resume_simulated(tmp_path / "runs" / "s", None)
    assert resumed.status == "stopped" and resumed.results.because == first.results.because
    assert epochs(resumed.folder) == epochs(first.folder)
    assert resumed.results.seconds == pytest.approx(first.results.seconds, abs=0.01)


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ("5", r"'stop' must be none or a mapping such as \{target: 0\.9, plateau: 30, hours: 2\}, but got 5"),
        ("{}", "'stop' must be none or a mapping"),
        ("{targt: 0.9}", r"'stop' has no key 'targt'\. Did you mean 'target'\?"),
        ("{target: high}", "'target' must be a number, the score that is enough, but got 'high'"),
        ("{plateau: 0}", "'plateau' must be a whole number of 1 or more, but got 0"),
        ("{plateau: 2.5}", "'plateau' must be a whole number of 1 or more, but got 2.5"),
        ("{hours: 0}", "'hours' must be a number above 0, the hours that the search may take, but got 0"),
        ("{hours: .nan}", "'hours' must be a number above 0"),
        ("{hours: true}", "'hours' must be a number above 0"),
    ],
)
def test_a_wrong_rule_is_named_with_its_line(stop: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"space\.yaml:1: {message}"):
        space(tmp_path, f"stop: {stop}" + SPACE)


def test_the_hours_of_the_command_line(tmp_path: Path) -> None:
    both = space(tmp_path, "stop: {target: 0.9, hours: 5}\n" + SPACE, hours=2)
    assert both.stop.plain() == {"target": 0.9, "hours": 2.0} and both.options["hours"] == 2
    assert space(tmp_path, "stop: none\n" + SPACE, hours=0.5).stop.hours == 0.5
    assert space(tmp_path).stop.plain() == "none"
    with pytest.raises(UserError, match=r"--hours -1: 'hours' must be a number above 0"):
        space(tmp_path, hours=-1)


def test_the_command_says_which_rule_ended_it(tuner: Any, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space(tmp_path, "stop: {plateau: 7}\n" + MANY)
    code, out, _ = tuner("check", "space.yaml")
    assert code == 0 and "after 7 trials without a better one" in " ".join(out.split())
    code, out, err = tuner("simulate", "space.yaml", "--table", str(table), "--name", "s")
    said = "Ended before all its trials were tried: none of the last 7 trials was better than trial"
    assert (code, err) == (0, "") and said in " ".join(out.split())
    for command in ("show", "status"):
        code, out, _ = tuner(command, "s")
        assert code == 0 and said in " ".join(out.split())
    code, _, err = tuner("report", "s")
    assert (code, err) == (0, "") and all(said in (tmp_path / "runs" / "s" / name).read_text() for name in ("report.html", "report.md"))
    assert "none of the last 7 trials" in read_run(tmp_path / "runs" / "s").summary()["because"]
    code, out, err = tuner("simulate", "space.yaml", "--table", str(table), "--name", "t", "--hours", "0.01")
    assert (code, err) == (0, "") and "0.01 hours are over" in out and "To go on: tuner resume t" in out
    code, out, err = tuner("resume", "t", "--hours", "0.01")
    assert (code, err) == (0, "") and "0.01 hours are over" in out
    code, _, err = tuner("resume", "t", "--hours", "0")
    assert code == 2 and "--hours 0.0: 'hours' must be a number above 0" in err

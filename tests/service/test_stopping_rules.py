"""A search on Ray whose time is up, and one that a rule ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kit.one_ray import OneRay
from kit.resumed import SPACE, Heard, one_at_a_time, plain

from tuner.search.stopping import StopRules
from tuner.service.driver import SearchOptions, search
from tuner.service.resume import ResumeOptions, resume
from tuner.space.reader import read_space

pytestmark = pytest.mark.slow
SMALL = SPACE.replace("trials: 8", "trials: 4").replace("epochs: 9", "epochs: 3")


def test_a_search_whose_time_is_up_goes_on_to_the_same_end(tmp_path: Path, ray_here: OneRay, monkeypatch: pytest.MonkeyPatch) -> None:
    ray_here.up()
    path = one_at_a_time(tmp_path, SMALL + "stop: {hours: 100}\n")
    whole = search(read_space(str(path)), SearchOptions(out=tmp_path / "whole", name="s"))
    assert whole.status == "done" and whole.results.because is None

    heard = Heard()
    with monkeypatch.context() as patched:
        patched.setattr(StopRules, "time_is_up", lambda rules: 2 in heard.started)
        first = search(read_space(str(path)), SearchOptions(out=tmp_path / "runs", name="s", listeners=(heard,)))
    assert (first.status, first.results.because, first.results.status) == ("stopped", "100 hours are over", "stopped")
    assert [end.trial for end in first.results.trials if end.state == "stopped"] == [2] and max(heard.started) == 2
    none = search(replace(read_space(str(path)), stop=replace(first.run.spec.stop, hours=1e-9)), SearchOptions(out=tmp_path, name="none"))
    assert none.status == "stopped" and not none.results.trials

    second = resume(first.folder, ResumeOptions(hours=50))
    assert second.status == "done" and second.results.because is None and second.results.spec_json["options"]["hours"] == 50
    assert plain(second.folder)[:3] == plain(whole.folder)[:3]


def test_a_target_ends_a_search_that_goes_on_with_more_trials(tmp_path: Path, ray_here: OneRay) -> None:
    ray_here.up()
    path = one_at_a_time(tmp_path, SMALL + "stop: {target: 0.01}\n")
    first = search(read_space(str(path)), SearchOptions(out=tmp_path / "runs", name="s"))
    assert first.status == "done" and len(first.results.trials) < 4
    assert "the target was 0.01" in (first.results.because or "") and (first.folder / "best.yaml").exists()
    idle = resume(first.folder)
    assert not idle.ran and idle.results.because == first.results.because
    more = resume(first.folder, ResumeOptions(trials="+1"))
    assert more.ran and len(more.results.trials) == len(first.results.trials) + 1

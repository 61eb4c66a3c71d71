"""A run that has a confirmation, or has one made: what lists, watches and cleans runs knows of it."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from kit.without_ray import confirmed_without_ray, without_ray_at_all
from rich.console import Console

from tuner.cli.results_view import runs_table
from tuner.cli.status import run_facts, running_table
from tuner.errors import UserError
from tuner.evidence.report import confirmation_of
from tuner.runs.clean import clean
from tuner.runs.lock import RunLock
from tuner.runs.results import read_run
from tuner.runs.standing import progress_of
from tuner.search.saved import spec_of
from tuner.service import confirm as confirming
from tuner.service.driver import Outcome
from tuner.space.reader import Options, read_space

SPACE = """
model: kmeans
dataset: {name: digits, limit: 60}
metric: {name: acc, goal: maximize}
trials: 2
epochs: 2
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: off}
confirm: {top: 1, seeds: 2}
parameters:
  n_clusters: {values: [3, 4]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "space.yaml").write_text(SPACE)
    run = without_ray_at_all(read_space(str(folder / "space.yaml")), folder / "runs")
    confirmed_without_ray(run, top=2, seeds=2)
    return run


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs" / made.name))


def text_of(part: object) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(part)
    return console.export_text()


def test_the_list_of_runs_has_the_confirmed_mean_beside_the_search_s_best(run: Path) -> None:
    found = confirmation_of(read_run(run))
    assert found is not None and found.winner is not None
    text = text_of(runs_table([read_run(run)]))
    assert "confirmed" in text and f"{np.mean(list(found.winner.values.values())):.4f}" in text
    shutil.rmtree(run / "confirm")
    assert "confirmed" not in text_of(runs_table([read_run(run)])), "nor a column that says nothing"


def test_cleaning_keeps_the_weights_of_a_confirmation_and_removes_what_a_killed_driver_left(run: Path) -> None:
    kept = sorted((run / "confirm" / "checkpoints").glob("*.safetensors"))
    assert kept, "one for each configuration"
    number = int(kept[0].name.partition(".")[0])
    left = [run / "confirm" / "checkpoints" / f"{number:03d}.resume.safetensors", run / "confirm" / "checkpoints" / ".000.part"]
    left.append(run / "confirm" / "study.journal.new")
    for path in left:
        path.write_bytes(b"x")
    (cleaned,) = clean([run], dry_run=False)
    assert {path for _, path, _ in cleaned.found} >= set(left)
    assert not any(path.exists() for path in left)
    assert sorted((run / "confirm" / "checkpoints").glob("*.safetensors")) == kept


def test_status_says_how_far_a_confirmation_is(run: Path) -> None:
    status = run / "confirm" / "status.json"
    about = json.loads(status.read_text())
    assert progress_of(run).confirming is None, "nobody drives it"
    with RunLock(run):
        assert progress_of(run).confirming is None, "its trainings are over"
        status.write_text(json.dumps(about | {"status": "running", "pid": os.getpid()}))
        one = progress_of(run)
        assert one.confirming is not None and one.summary()["confirming"] == {"over": 6, "planned": 6}
        assert "s, confirming 6/6" in text_of(running_table([one], bars=False))
        assert any("6/6 trainings on fresh seeds" in text_of(part) for part in run_facts(one))
    assert "confirming" not in progress_of(run).summary()


def test_no_confirm_leaves_out_what_the_space_asks_for_also_when_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    assert read_space(str(tmp_path / "space.yaml")).confirm is not None
    spec = read_space(str(tmp_path / "space.yaml"), options=Options(confirm=False))
    assert spec.confirm is None
    folder = without_ray_at_all(spec, tmp_path / "runs")
    assert spec_of(folder, None, None).confirm is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("confirm: 3", "'confirm' must be none or a mapping such as {top: 3, seeds: 5}, but got 3."),
        ("confirm: {tops: 3}", "'confirm' has no key 'tops'. Did you mean 'top'?"),
        ("confirm: {top: 0}", "'top' must be a whole number of 1 or more, but got 0."),
        ("confirm: {seeds: 1}", "'seeds' must be a whole number of 2 or more, but got 1."),
    ],
)
def test_what_is_wrong_with_the_key_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE.replace("confirm: {top: 1, seeds: 2}", text))
    with pytest.raises(UserError) as error:
        read_space(str(tmp_path / "space.yaml"))
    assert f"space.yaml:9: {said}" in str(error.value)


def outcome(run: Path) -> Outcome:
    return Outcome(run=confirming.prepare(run, confirming.ConfirmOptions()).run, status="done", folder=run, results=read_run(run))


def test_ctrl_c_before_the_first_training_interrupts_the_whole(run: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert outcome(run).confirmed_by(interrupted).status == "stopped"


def test_a_search_that_cannot_be_confirmed_is_kept_and_that_is_said(run: Path) -> None:
    about = json.loads((run / "spec.json").read_text())
    done = outcome(run)
    (run / "spec.json").write_text(json.dumps(about | {"data": about["data"] | {"values": "0" * 64}}))
    with pytest.raises(UserError, match=r"s is done, and kept: tuner show s\. But it cannot be confirmed: .*other data"):
        done.confirmed_by(lambda: confirming.confirm_held(run, confirming.ConfirmOptions(seeds=3)))


def test_ctrl_c_while_k_means_is_computed_keeps_the_winner(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "confirm" / "baselines.json").unlink()
    before = yaml.safe_load((run / "best.yaml").read_text())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(confirming.baselines, "compute", interrupted)
    ended = confirming.confirm(run)
    assert (ended.status, ended.found.left) == ("stopped", 0)
    assert yaml.safe_load((run / "best.yaml").read_text()) == before
    monkeypatch.undo()
    again = confirming.confirm(run)
    assert again.status == "done" and again.found.baselines is not None

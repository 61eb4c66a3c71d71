"""The journal and what is read back from a run's folder."""

import json
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import UserError
from tuner.runs.events import Listeners, Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal, read_lines
from tuner.runs.results import list_runs, read_run


def epoch(trial: int, number: int, acc: float | None = None, phase: str = "train") -> dict[str, Any]:
    metrics = {} if acc is None else {"acc": acc}
    clustering = None if acc is None else number
    return {"trial": trial, "epoch": number, "phase": phase, "cluster_epoch": clustering, "metrics": metrics, "time": 1000.0 + number}


def ended(trial: int, state: str = "complete", score: float | None = None) -> TrialEnd:
    metrics = {} if score is None else {"acc": score}
    return TrialEnd(trial=trial, state=state, config={"lr": 0.1, "seed": trial}, score=score, metrics=metrics, epochs=2, seconds=1.5)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "runs" / "some"
    folder.mkdir(parents=True)
    about = {"name": "some", "model": "kmeans", "metric": {"name": "acc", "goal": "maximize"}, "score": "last"}
    (folder / "spec.json").write_text(json.dumps(about))
    return Run(name="some", folder=folder, spec=None, info={})  # type: ignore[arg-type]


def journalled(run: Run, *ends: TrialEnd, status: str | None = "done") -> None:
    journal = Journal(RunFiles.of(run))
    journal.search_started(run)
    for end in ends:
        for number in (1, 2):
            journal.epoch_ended(end.trial, epoch(end.trial, number, 0.1 * number))
        journal.trial_ended(end)
    if status:  # else as if the process had died
        journal.search_ended(status)


def test_a_run_is_read_back_as_it_was_journalled(run: Run) -> None:
    journalled(run, ended(0, score=0.5), ended(1, "pruned", 0.3), ended(2, score=0.7), ended(3, "collapsed"), ended(4, "diverged"))
    results = read_run(run.folder)
    assert [(t.trial, t.state, t.score, t.epochs) for t in results.trials] == [
        (0, "complete", 0.5, 2), (1, "pruned", 0.3, 2), (2, "complete", 0.7, 2), (3, "collapsed", None, 2), (4, "diverged", None, 2),
    ]  # fmt: skip
    summary = results.summary()
    assert summary.pop("seconds") >= 0
    assert summary == {
        "name": "some",
        "status": "done",
        "metric": "acc",
        "best": {"trial": 2, "metrics": {"acc": 0.7}, "config": {"lr": 0.1, "seed": 2}},
        "trials": {"complete": 2, "pruned": 1, "stopped": 0, "failed": 0, "diverged": 1, "collapsed": 1},
        "epochs": 10,
        "labels": {"rule": "allowed", "epochs": 10, "reported": {"acc": 10}, "decided": {"ranking": 2}, "trained": 0},
    }


def test_the_journal_has_one_line_per_epoch_and_one_when_a_trial_ends(run: Run) -> None:
    journalled(run, ended(0, score=0.5))
    lines = [json.loads(line) for line in (run.folder / "results.jsonl").read_text().splitlines()]
    assert lines[:2] == [epoch(0, 1, 0.1), epoch(0, 2, 0.2)]
    assert lines[2].keys() == {"trial", "state", "config", "score", "metrics", "epochs", "seconds", "reason", "time"}
    assert len(lines) == 3


def test_every_line_is_on_disk_before_the_next_event(run: Run) -> None:
    journal = Journal(RunFiles.of(run))
    journal.search_started(run)
    journal.epoch_ended(0, epoch(0, 1, 0.1))
    assert list(read_lines(run.folder / "results.jsonl")) == [epoch(0, 1, 0.1)]
    assert read_run(run.folder).trials[0].state == "running"
    journal.search_ended("stopped")
    assert read_run(run.folder).trials[0].state == "unfinished"


def test_of_equal_scores_the_first_trial_is_the_best_and_a_loss_is_better_the_lower(run: Run) -> None:
    journalled(run, ended(3, score=0.5), ended(1, score=0.5), ended(2, score=0.4))
    best = read_run(run.folder).best()
    assert best is not None and best.trial == 1
    about = json.loads((run.folder / "spec.json").read_text()) | {"metric": {"name": "acc", "goal": "minimize"}}
    (run.folder / "spec.json").write_text(json.dumps(about))
    best = read_run(run.folder).best()
    assert best is not None and best.trial == 2


def test_a_run_without_a_complete_trial_has_no_best(run: Run) -> None:
    journalled(run, ended(0, "pruned", 0.9), ended(1, "failed"))
    assert read_run(run.folder).best() is None
    assert read_run(run.folder).summary()["best"] is None


@pytest.mark.parametrize("torn", [b'{"trial": 7, "epo', b'{"trial": 7, "epo\n', b"\0\0\0\0", b"\xff\xfe{"])
def test_a_torn_last_line_is_left_out_when_read_and_cut_off_when_appended_to(run: Run, torn: bytes) -> None:
    journalled(run, ended(0, score=0.5), status=None)
    path = run.folder / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert len(read_run(run.folder).trials) == 1
    assert path.read_bytes() == whole + torn  # a reader changes nothing: the line may be one that is being written
    journalled(run, ended(1, score=0.6))
    assert path.read_bytes().startswith(whole + b'{"trial": 1')
    assert [t.trial for t in read_run(run.folder).trials] == [0, 1]


def test_a_last_line_that_lacks_only_its_end_is_kept(run: Run) -> None:
    journalled(run, ended(0, score=0.5), status=None)
    path = run.folder / "results.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    journalled(run, ended(1, score=0.6))
    assert [t.trial for t in read_run(run.folder).trials] == [0, 1]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (b"not json", "this is no line of JSON with a trial in it"),
        (b"[1, 2]", "this is no line of JSON with a trial in it"),
        (b'{"epoch": 1, "metrics": {}}', "it names no trial"),
        (b'{"trial": true, "epoch": 1, "metrics": {}}', "it names no trial"),
        (b'{"trial": 1, "epoch": 1}', "it has no metrics"),
        (b'{"trial": 1, "metrics": {}}', "it is neither an epoch nor the end of a trial"),
        (b'{"trial": 1, "state": "lost", "config": {}, "metrics": {}}', "it ends a trial without a known state and a configuration"),
    ],
)
def test_damage_before_the_last_line_is_told_with_its_line(run: Run, damage: bytes, what: str) -> None:
    journalled(run, ended(0, score=0.5))
    path = run.folder / "results.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], damage, *lines[1:]]) + b"\n")
    with pytest.raises(UserError) as error:
        read_run(run.folder)
    assert str(error.value) == (
        f"{path}:2: the journal is damaged here: {what}. Nothing was changed. Bring the file back from a copy; "
        "what it holds elsewhere is sound as far as it could be read."
    )


def test_the_status_of_a_run_whose_process_is_gone_is_failed(run: Run) -> None:
    journalled(run, ended(0, score=0.5), status=None)
    assert read_run(run.folder).status == "running"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status = {"status": "running", "started": 0.0, "host": socket.gethostname(), "pid": gone.pid}
    (run.folder / "status.json").write_text(json.dumps(status))
    assert read_run(run.folder).status == "failed"


def test_a_run_that_does_not_exist_is_told_with_the_nearest_name(run: Run) -> None:
    with pytest.raises(UserError, match=r"There is no run '.*/sume'\. Did you mean 'some'\? `tuner ls` lists them\."):
        read_run(run.folder.parent / "sume")


def test_runs_are_listed_oldest_first(run: Run) -> None:
    journalled(run, ended(0, score=0.5))
    second = run.folder.parent / "another"
    second.mkdir()
    (second / "spec.json").write_bytes((run.folder / "spec.json").read_bytes().replace(b"some", b"another"))
    journalled(Run(name="another", folder=second, spec=run.spec, info={}))
    (run.folder.parent / "no_run").mkdir()
    runs, damaged = list_runs(run.folder.parent)
    assert ([found.name for found in runs], damaged) == (["some", "another"], [])
    assert list_runs(run.folder.parent / "nowhere") == ([], [])


class Fails:
    """Fails at the second event."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def hear(*_: object) -> None:
            self.heard.append(name)
            if len(self.heard) == 2:
                raise ConnectionError("no route to host")

        return hear


def test_a_listener_that_fails_is_told_once_and_left_out(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    fails = Fails()
    listeners = Listeners(Journal(RunFiles.of(run)), [fails])
    with caplog.at_level(logging.WARNING, logger="tuner"):
        listeners.search_started(run)
        for number in (1, 2):
            listeners.epoch_ended(0, epoch(0, number, 0.1))
        listeners.trial_ended(ended(0, score=0.5))
        listeners.search_ended("done")
    assert fails.heard == ["search_started", "epoch_ended"]
    assert [r.message for r in caplog.records] == [
        "Fails failed and is left out from here on; the search and its journal go on. ConnectionError: no route to host"
    ]
    assert read_run(run.folder).epochs == 2


def test_the_journal_comes_first_and_its_failure_is_not_swallowed(run: Run) -> None:
    heard = Fails()
    listeners = Listeners(Journal(RunFiles.of(run)), [heard])
    listeners.search_started(run)
    with pytest.raises(ValueError, match="Out of range float values"):
        listeners.epoch_ended(0, epoch(0, 1, float("nan")))
    assert heard.heard == ["search_started"]
    listeners.search_ended("failed")

"""What a user types while a search runs, and sees: status, enqueue, stop; and clean after it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.commands import Tuner, tuner_process
from kit.waiting import ENDS_S, until

from tuner import layout
from tuner.cli.options import DONE, INTERRUPTED, THEIRS
from tuner.runs.clean import scratch_prefix
from tuner.runs.events import Run, TrialEnd
from tuner.runs.files import RunFiles
from tuner.runs.journal import Journal
from tuner.runs.lock import LOCK, RunLock
from tuner.runs.paths import checkpoint_file, weights_file
from tuner.runs.results import read_run
from tuner.space.reader import read_space
from tuner.text import size

SPACE = """\
model: kmeans
dataset: digits
metric: {name: acc, goal: maximize}
trials: 900
epochs: 6
early_terminate: none
parameters:
  n_clusters: {min: 5, max: 200}
  n_init: {value: 2}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    return tmp_path


def begun(*words: str) -> subprocess.Popen[str]:
    """A search of which one trial is complete."""
    Path("my.yaml").write_text(SPACE)
    driver = tuner_process("search", "--space", "my.yaml", "--wandb", "disabled", *words)
    assert driver.stdout is not None and driver.stderr is not None
    for line in driver.stdout:
        if " complete " in line:
            return driver
    raise AssertionError(driver.stderr.read())


# --- a search that runs in another process -----------------------------------------------------------------------------


@pytest.mark.process
def test_a_search_is_watched_steered_and_stopped_from_another_terminal(tuner: Tuner) -> None:
    driver = begun()
    try:
        code, out, _ = tuner("status")
        assert code == DONE and re.search(rf"^my +\d+/900 +\d+ +acc 0\.\d+ +trial \d+ +\d\d:\d\d \(\d+:\d\d\) +{driver.pid}@", out, re.M)
        code, out, _ = tuner("enqueue", "my", "--set", "n_clusters=17", "--set", "n_init=1")
        found = re.fullmatch(r"It is trial (\d+) of my, and begins as soon as there is room\.\n", out)
        assert code == DONE and found is not None
        code, _, err = tuner("enqueue", "my", "--set", "n_cluster=17")
        assert code == THEIRS and "Did you mean 'n_clusters'?" in err and "Traceback" not in err
        over = next(trial.trial for trial in read_run(Path("runs/my")).trials if trial.state == "complete")  # not always the first
        code, _, err = tuner("stop", "my", "--trial", str(over))
        assert (code, err) == (THEIRS, f"error: Trial {over} of my has ended already: it is complete.\n")
        code, _, err = tuner("clean", "my")
        assert code == THEIRS and err.startswith(f"error: my has a driver already, process {driver.pid} on ")

        def is_over() -> bool:
            assert driver.poll() is None and found is not None
            return any(trial.trial == int(found[1]) and trial.is_over for trial in read_run(Path("runs/my")).trials)

        until(is_over)
        assert tuner("stop", "my") == (DONE, "my is stopped. To go on: tuner resume my\n", "")
        _, err = driver.communicate(timeout=ENDS_S)
        assert driver.returncode == INTERRUPTED and err.endswith("To go on: tuner resume my\n")
    finally:
        driver.kill()
        driver.communicate()
    asked = read_run(Path("runs/my")).trials[int(found[1])]
    assert (asked.asked_for, asked.state, asked.config["n_clusters"], asked.config["n_init"]) == (True, "complete", 17, 1)
    assert f"Asked for: trial {found[1]}" in tuner("show", "my")[1]
    assert tuner("status")[1] == "No search runs in runs/. `tuner ls` lists those that have run there.\n"
    assert tuner("stop", "my") == (THEIRS, "", "error: my does not run: it is stopped.\n")
    kept = "my does not run. This is kept, and tried first with: tuner resume my\n"
    assert tuner("enqueue", "my", "--like", found[1]) == (DONE, kept, "")
    assert [path.suffix for path in Path("runs/my/orders").iterdir()] == [".json"]
    assert "orders  1 not taken up yet" in tuner("status", "my")[1]


# --- status ------------------------------------------------------------------------------------------------------------


def line(trial: int, epoch: int, acc: float) -> dict[str, Any]:
    return {"trial": trial, "epoch": epoch, "phase": "lloyd", "cluster_epoch": epoch, "metrics": {"acc": acc}, "time": float(epoch)}


@pytest.fixture
def run() -> Iterator[Path]:
    """A run with two complete trials, one that was stopped for good and one that is open; its driver is this process."""
    Path("my.yaml").write_text(SPACE.replace("900", "8"))
    spec = read_space("my.yaml")
    run = Run(name="my", folder=Path("runs").absolute() / "my", spec=spec, info={})
    run.folder.mkdir(parents=True)
    (run.folder / "spec.json").write_text(json.dumps({**spec.resolved(), "name": "my"}))
    journal = Journal(RunFiles.of(run))
    with RunLock(run.folder):
        journal.search_started(run)
        for trial, state, acc in ((0, "complete", 0.5), (1, "complete", 0.75), (2, "stopped", 0.25)):
            journal.epoch_ended(trial, line(trial, 1, acc))
            config = {"n_clusters": 10 + trial, "n_init": 2, "seed": trial}
            end = TrialEnd(trial=trial, state=state, config=config, score=acc, metrics={"acc": acc}, epochs=1, for_good=state == "stopped")
            journal.trial_ended(end)
        journal.epoch_ended(3, line(3, 1, 0.125))
        yield run.folder


def test_status_tells_which_searches_run_and_one_of_them_in_full(tuner: Tuner, run: Path) -> None:
    code, out, _ = tuner("status")
    head, _, row = out.splitlines()
    assert code == DONE and head.split() == ["run", "trials", "running", "best", "so", "far", "since", "process"]
    assert row.split()[:7] == ["my", "3/8", "1", "acc", "0.7500", "trial", "1"] and row.split()[-1].startswith(f"{os.getpid()}@")
    lines = [text.rstrip() for text in tuner("status", "my")[1].splitlines()]
    for said in (
        "my: running, kmeans on digits, tpe, seed 0",
        "ended    3 of 8 trials: 2 complete · 1 stopped",
        "best     acc 0.7500  trial 1  n_clusters=11",
        "running  trial 3  1 epoch  acc 0.1250",
    ):
        assert said in lines, said
    assert tuner("status", "my2")[2] == "error: There is no run 'runs/my2'. Did you mean 'my'? `tuner ls` lists them.\n"


def test_status_json_is_that_of_show_with_who_drives_it(tuner: Tuner, run: Path) -> None:
    (listed,) = json.loads(tuner("status", "--json")[1])
    one = json.loads(tuner("status", "my", "--json")[1])
    shown = json.loads(tuner("show", "my", "--json")[1])
    for said in (listed, one):
        assert said.pop("driver")["pid"] == os.getpid()
        assert (said.pop("planned"), said.pop("running"), said.pop("waiting")) == (8, [3], 0)
        assert said | {"seconds": 0} == shown | {"seconds": 0}


def test_what_watches_and_stops_does_not_wait_for_torch_or_ray(run: Path) -> None:
    for words in (["status"], ["status", "my"], ["stop", "gone"]):
        program = f"import sys; from tuner.cli.app import main; main({words!r}); print({{'torch', 'ray', 'optuna'}} & set(sys.modules))"
        environment = {**os.environ, "PYTHONPATH": str(layout.ROOT)}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.splitlines()[-1] == "set()", words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["enqueue", "my"], "Say what is to be tried: --like TRIAL, --set KEY=VALUE, or both."),
        (["enqueue", "mu", "--like", "1"], "There is no run 'runs/mu'."),
        (["stop", "my", "--trial", "-1"], "Invalid value for '--trial'"),
        (["stop", "my", "--address", "10.0.0.1:6379"], "is no dashboard of Ray's"),
    ],
)
def test_an_order_that_cannot_be_gets_one_message(tuner: Tuner, words: list[str], said: str) -> None:
    code, out, err = tuner(*words)
    assert (code, out) == (THEIRS, "") and said in err and err.count("\n") == 1


# --- clean -------------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_run_that_was_killed_is_cleaned_and_shown_resumed_and_its_winner_used(tuner: Tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = begun("--trials", "30")
    driver.kill()
    driver.communicate()
    folder = Path("runs/my")
    over = sum(trial.is_over for trial in read_run(folder).trials)
    (folder / "checkpoints").mkdir(exist_ok=True)
    best = read_run(folder).best()
    assert best is not None
    ended, half = checkpoint_file(folder, best.trial), folder / "checkpoints/.029.safetensors.1.part"
    open_, winners = folder / "checkpoints/029.begun", weights_file(folder, best.trial)  # as if it had not come to be kept
    for path in (ended, half, open_, winners, folder / "study.journal.new"):
        path.write_bytes(b"x" * 1000)
    (scratch,) = Path(tempfile.gettempdir()).glob(f"tuner-my-{driver.pid}-*")
    others = Path(tempfile.mkdtemp(prefix=scratch_prefix("my")))  # of this process, which lives
    try:
        shown = tuner("show", "my")[1]
        code, out, _ = tuner("clean", "my", "--dry-run")
        said = out.splitlines()
        assert code == DONE and said[0].startswith("my: ") and said[0].endswith(" could be removed")
        assert "  1 file, 1.0 kB: checkpoints of trials that have ended" in said
        assert all(path.exists() for path in (ended, half, open_, winners, scratch, folder / LOCK))
        code, out, _ = tuner("clean", "my")
        assert code == DONE and out.splitlines()[1:] == said[1:]
        assert tuner("clean", "runs/my")[1] == "my: nothing to remove.\n"
        gone = (ended, half, scratch, folder / LOCK, folder / "study.journal.new")
        assert not any(path.exists() for path in gone) and open_.exists() and winners.exists() and others.exists()
        assert tuner("show", "my")[1] == shown
    finally:
        others.rmdir()
    going_on = tuner_process("resume", "my", "--trials", f"{over + 3}")
    out, err = going_on.communicate(timeout=ENDS_S)
    assert (going_on.returncode, err) == (DONE, "") and f"{over + 3} trials: {over + 3} complete" in out
    best = read_run(folder).best()
    assert best is not None and f"acc {best.metrics['acc']:.4f}" in tuner("train", "runs/my/best.yaml")[1].splitlines()[-1]


@pytest.mark.parametrize(("n", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (7e9, "7.0 GB")])
def test_sizes_are_short(n: float, text: str) -> None:
    assert size(n) == text

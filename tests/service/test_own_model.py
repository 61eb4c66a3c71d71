"""A model of the user's own through a whole search: on Ray, on nodes that never saw its file, killed and resumed, trained again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kit.waiting import ENDS_S, until
from tuner.clusters import local

from tuner import layout
from tuner.runs.results import read_run

START = (layout.folder("models") / "_template.py").read_text()
SPACE = """\
model: my_model
dataset: {name: digits, limit: 300}
metric: {name: acc, goal: maximize}
trials: 4
epochs: 6
early_terminate: none
resources: {cpu: 1, gpu: 0, pack: PACK}
parameters:
  hidden: {value: 32}
  batch_size: {value: 50}
  pretrain_epochs: {value: 4}
  weights.compact: {min: 0.001, max: 0.1}
"""
PROGRAM = """
import sys
from tuner.cli import app
from tuner.search import trainer
trainer.CHECKPOINT_EVERY_S = 0.0
sys.exit(app.main(sys.argv[1:]))
"""


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model's file, a space and nothing else; commands started there know tuner alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(layout.ROOT))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (tmp_path / "space.yaml").write_text(SPACE.replace("PACK", "off"))
    (tmp_path / "my_model.py").write_text(START)
    return tmp_path


def start(*words: str) -> subprocess.Popen[str]:
    STARTED.append(subprocess.Popen([sys.executable, "-c", PROGRAM, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return STARTED[-1]


def done(*words: str) -> str:
    process = start(*words)
    out, err = process.communicate(timeout=ENDS_S)
    assert process.returncode == 0, out + err
    return out + err


def journalled(folder: Path) -> int:
    journal = folder / "results.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


@pytest.mark.process
def test_a_search_that_was_killed_goes_on_with_the_kept_source_and_its_winner_trains_again(here: Path) -> None:
    search = start("search", "--space", "space.yaml", "--models", "my_model.py", "--name", "mine")
    until(lambda: journalled(here / "runs/mine") >= 8 or search.poll() is not None)
    search.send_signal(signal.SIGKILL)
    search.communicate()
    assert (here / "runs/mine/models/my_model.py").read_text() == START
    about = json.loads((here / "runs/mine/spec.json").read_text())["model_source"]
    assert (about["name"], about["files"]) == ("my_model", ["my_model.py"])

    (here / "my_model.py").write_text(START.replace("hp(256, 8", "hp(128, 8"))
    said = done("resume", "mine")
    assert "my_model.py has changed since mine began, which goes on with the model as it was" in said
    trials = read_run(here / "runs/mine").trials
    assert [trial.state for trial in trials] == ["complete"] * 4

    again = start("resume", "mine", "--trials", "+1", "--models", "my_model.py")
    _, err = again.communicate(timeout=ENDS_S)
    assert again.returncode == 2 and "my_model.py has changed since mine began. Leave --models out to go on" in err

    (here / "my_model.py").unlink()
    best = yaml.safe_load((here / "runs/mine/best.yaml").read_text())
    assert best["code"] == about["code"]
    out = done("train", "runs/mine/best.yaml")
    assert f"acc {best['metrics']['acc']:.4f}" in out.splitlines()[-1]


@pytest.fixture
def port(here: Path) -> Iterator[int]:
    """Two nodes, each with one core."""
    port = local.free_port()
    local.up(port, local.free_port(), 2, {"cpus": 1, "gpus": 0})
    yield port
    local.down(port)


ELSEWHERE = """
import os, sys
from pathlib import Path
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import Options, read_space
spec = read_space("space.yaml", options=Options(models=["my_model.py", "other"]))
for path in [Path("my_model.py"), *Path("other").iterdir()]:
    path.unlink()  # before there is a trial: no worker can have seen them
outcome = search(spec, SearchOptions(address=sys.argv[1], wandb="disabled"))
print(outcome.status, *(trial.state for trial in outcome.results.trials))
"""


@pytest.mark.nodes
def test_nodes_that_never_saw_the_file_train_it(here: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    (here / "other").mkdir()
    for pack in ("off", "2"):
        (here / "space.yaml").write_text(SPACE.replace("PACK", pack))
        (here / "my_model.py").write_text(f"{START}# not the file that was there before: {pack}\n")
        (here / "other" / "unused.py").write_text(START)
        (here / "other" / "_parts.py").write_text("")
        program = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, f"127.0.0.1:{port}"], env=dict(os.environ), capture_output=True, text=True, check=False
        )
        assert program.stdout.split() == ["done", *["complete"] * 4], f"pack {pack}: {program.stdout}{program.stderr}"


@pytest.mark.process
def test_a_model_that_raises_in_a_worker_is_told_with_the_line_of_its_file(here: Path) -> None:
    (here / "my_model.py").write_text(START.replace("data.by_rows(net.encoder)", 'data.by_rows(net["encoder"])'))
    (here / "space.yaml").write_text(SPACE.replace("PACK", "off").replace("trials: 4", "trials: 1"))
    search = start("search", "--space", "space.yaml", "--models", "my_model.py", "--name", "mine")
    _, err = search.communicate(timeout=ENDS_S)
    assert search.returncode == 1 and "the only trial failed: TypeError: 'Net' object is not subscriptable" in err
    line = next(i for i, line in enumerate((here / "my_model.py").read_text().splitlines(), 1) if 'net["encoder"]' in line)
    (trial,) = read_run(here / "runs/mine").trials
    assert f'my_model.py", line {line}, in place' in str(trial.traceback)

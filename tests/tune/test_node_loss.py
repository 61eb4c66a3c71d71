"""A search over three real Ray nodes, one of which is killed with all that runs on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.waiting import ENDS_S, until
from tuner.clusters import local

from benchmarks.agreement import Left

ROOT = Path(local.__file__).parent.parent
SPACE = """\
model: dec
dataset: {name: digits, limit: 600}
metric: {name: acc, goal: maximize}
trials: 9
epochs: 6
early_terminate: {type: asha, grace: 2, reduction: 2}
resources: {cpu: 1, gpu: 0, pack: PACK}
parameters:
  hidden: {value: 100}
  pretrain_epochs: {value: 150}
  lr_pretrain: {distribution: log_uniform_values, min: 3e-4, max: 3e-3}
  lr: {distribution: log_uniform_values, min: 1e-3, max: 1e-1}
"""
SEARCH = """
import sys
from tuner.cli import app
from tuner.search import trainer
trainer.CHECKPOINT_EVERY_S = 0.0
sys.exit(app.main(sys.argv[1:]))
"""
AT_ONCE = 3  # trials that have begun, one on each node at least: their pre-training takes longer than their processes differ in starting


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    token = tmp_path_factory.mktemp("token") / "token"
    # The mode, for SEARCH imports Ray before it joins.
    return {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_MODE": "token"}


@pytest.fixture
def port(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Three nodes, each with one core; cores stand for GPUs."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", environment["RAY_AUTH_TOKEN_PATH"])
    port = local.free_port()
    local.up(port, local.free_port(), 3, {"cpus": 1, "gpus": 0})
    yield port
    local.down(port)


def wait_for_trials(journal: Path, number: int, search: subprocess.Popen[str]) -> None:
    """Until so many have written a line."""

    def begun() -> bool:
        assert search.poll() is None, search.communicate()
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
        return len({json.loads(line)["trial"] for line in lines}) >= number

    until(begun)


@pytest.mark.nodes
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a node's processes are found as on Linux")
@pytest.mark.parametrize("pack", ["off", "2"])
def test_a_lost_nodes_trials_move_to_the_others(pack: str, port: int, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "space.yaml").write_text(SPACE.replace("PACK", pack))
    words = ["search", "--space", "space.yaml", "--name", "s", "--out", "runs", "--wandb", "disabled", "--address", f"127.0.0.1:{port}"]
    folder = tmp_path / "runs" / "s"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([sys.executable, "-c", SEARCH, *words], env=environment, cwd=tmp_path, **streams) as search:
        try:
            wait_for_trials(folder / "results.jsonl", AT_ONCE, search)
            local.lose(port, 2)
            said = search.communicate(timeout=ENDS_S)[0]
        finally:
            search.kill()
    assert search.returncode == 0, said
    assert pack != "off" or "is tried again, 1 of 2 times: " in said

    left = Left(folder, 9)
    faults = [left.lost(), left.twice(), left.gaps(), left.repeats(), left.study(), left.best()]
    assert faults == [[]] * 6, said
    assert len(left.ends) == len(left.epochs) == 9

"""Searches whose runs are sent to a store, on the real Ray: interrupted, gone on with on another machine, looked at."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.resumed import Heard, one_at_a_time, same
from kit.stores import Server, journal
from kit.waiting import ENDS_S

from tuner.cli import search as search_command
from tuner.cli.app import main
from tuner.cli.options import DONE, INTERRUPTED, THEIRS
from tuner.runs.results import read_run
from tuner.service.driver import Outcome
from tuner.stores import lock
from tuner.stores.store import Store, local_place


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "SETTLE_S", 0.0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["file", "s3"], indirect=True)
def test_a_search_is_interrupted_and_goes_on_from_the_store_on_another_machine(
    uri: str,
    tmp_path: Path,
    through: Outcome,
    always_checkpointed: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(uri).at("s")
    monkeypatch.setattr(search_command, "_mirror", lambda mode, console: Heard((4, 5)))
    assert main(["search", "--space", str(one_at_a_time(tmp_path)), "--out", uri, "--name", "s", "--no-report"]) == INTERRUPTED
    said = capsys.readouterr()
    folder = local_place(uri) / "s"
    assert f"in {folder.relative_to(tmp_path)}/\nSent to {store.place}/ as it goes on\n" in said.out
    assert f"Everything is in {store.place}/ too.\n" in said.out
    assert {key for key in store.files() if key.startswith("checkpoints/")} == {
        "checkpoints/004.course.safetensors",
        "checkpoints/004.resume.safetensors",
        "checkpoints/004.safetensors",
    }

    shutil.rmtree(tmp_path / "home")
    assert main(["search", "--space", str(tmp_path / "space.yaml"), "--out", uri, "--name", "s"]) == THEIRS
    assert capsys.readouterr().err == (
        f"error: There is a run 's' in {Store(uri).place} already. Choose another --name, or leave it out: runs are numbered.\n"
    )
    assert main(["show", store.uri, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["status"] == "stopped"
    again = Heard()
    monkeypatch.setattr(search_command, "_mirror", lambda mode, console: again)
    assert main(["resume", "s", "--out", uri]) == DONE
    assert again.started == [4, 5, 6, 7] and again.epochs[0] == (4, 6)
    same(folder, through.folder)
    plain = {path.name for path in folder.iterdir()} - {"results.jsonl"}
    assert {key.partition("/")[0] for key in store.files()} == plain | {"results"}
    assert journal(store) == (folder / "results.jsonl").read_bytes()
    assert store.read("best.safetensors") == (folder / "best.safetensors").read_bytes()

    shutil.rmtree(tmp_path / "home")
    capsys.readouterr()
    assert main(["ls", "--out", uri]) == DONE and "done" in capsys.readouterr().out
    assert main(["resume", store.uri]) == DONE
    assert capsys.readouterr().out.startswith("s is finished: 8 trials have ended.")


@pytest.mark.slow
def test_a_store_that_went_away_is_told_of_last_and_caught_up_with_by_resume(
    server: Server,
    tmp_path: Path,
    cluster: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class GoesAway(Heard):
        def trial_started(self, number: int, config: object) -> None:
            if number == 1:
                server.stop()

    uri = server.uri(f"bucket/{tmp_path.name}")
    monkeypatch.setattr(search_command, "_mirror", lambda mode, console: GoesAway())
    try:
        command = ["search", "--space", str(one_at_a_time(tmp_path)), "--out", uri, "--name", "s", "--trials", "2", "--epochs", "2"]
        assert main(command) == DONE
    finally:
        server.start()
    place, folder = Store(uri).at("s").place, local_place(uri) / "s"
    said = capsys.readouterr()
    assert said.err.count(f"Warning: {place} cannot be reached: AWS Error NETWORK_CONNECTION") == 1
    assert f"\nMissing or outdated in {place}/: results.jsonl, " in said.err
    assert said.err.endswith(f" To send them: tuner resume {folder.relative_to(tmp_path)}\n")
    assert read_run(folder).status == "done"
    assert main(["resume", str(folder)]) == THEIRS, "its lock is still there, and this process has it"
    monkeypatch.setattr(lock, "DEAD_AFTER_S", 0.0)
    assert main(["resume", str(folder)]) == DONE
    assert capsys.readouterr().out.endswith(f"Everything is in {place}/ too.\n")
    assert journal(Store(uri).at("s")) == (folder / "results.jsonl").read_bytes()


@pytest.mark.nodes
def test_trials_on_a_machine_without_the_runs_folder_keep_their_files_in_it(tmp_path: Path) -> None:
    program = Path(__file__).parent.parent / "kit" / "distant_trials.py"
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False, timeout=ENDS_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "done" and found["states"]["complete"] == 2
    # Trial 1 begins behind the pre-training that trial 0 left on its machine; trial 0 goes on from its checkpoint when it was killed.
    assert found["epochs"] == [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6], [1, 3], [1, 4], [1, 5], [1, 6]]
    # Pre-training epochs are told twice anyway: as they end, and with the first report behind them.
    assert not {3, 4} & set(found["again"]) and "Trial 0 is tried again, 1 of 2 times" in done.stderr
    names = ["best.course.safetensors", "best.safetensors", "best.yaml", "codes", "logs", "results.jsonl", "space.yaml", "spec.json"]
    names += ["status.json", "study.journal"]
    assert (found["folder"], found["node"], found["pretrained"]) == (names, [], 1)

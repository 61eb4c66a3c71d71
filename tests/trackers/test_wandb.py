"""What W&B is given. The offline files are real; of the online path only the cloud is mocked, by a server on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import wandb
from kit.waiting import until
from kit.wandb_cloud import Cloud, answering
from kit.wandb_files import OfflineRun, payloads, read_run, read_runs

from tuner.runs.events import OpenTrial, Past, Run, TrialEnd
from tuner.space.reader import Options, read_space
from tuner.trackers import mirror, wandb_opening
from tuner.trackers.wandb import WandbRuns, made_up_id

ENDS = {0: "complete", 1: "pruned", 2: "collapsed", 3: "diverged", 4: "failed", 5: "stopped"}


def a_run(folder: Path, name: str = "my search", started: str = "2026-01-01T00:00:00") -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    spec = read_space("aae_unsup", options=Options(trials=6))
    return Run(name=name, folder=folder, spec=spec, info={"started": started, "versions": {"python": "3.11"}})


def config_of(trial: int) -> dict[str, Any]:
    return {
        "lr_ae": 1e-3 * (trial + 1),
        "latent_dim": 5,
        "weights.cyclic": 0.44,
        "updates": "joint",
        "use_cyclic": True,
        "seed": 1000 + trial,
    }


def metrics_of(trial: int, epoch: int) -> dict[str, float]:
    return {"acc": 0.1 * trial + 0.01 * epoch, "loss/recon": 1 / epoch, "n_used": 10.0}


def play(listener: WandbRuns, run: Run, ends: dict[int, str] = ENDS, epochs: int = 3) -> None:
    """A search of trials that all run at once: one epoch of pre-training, the rest clustering."""
    listener.search_started(run)
    for trial in ends:
        listener.trial_started(trial, config_of(trial))
    for epoch in range(1, epochs + 1):
        for trial in ends:
            phase = {"phase": "pretrain", "cluster_epoch": None} if epoch == 1 else {"phase": "train", "cluster_epoch": epoch - 1}
            metrics = metrics_of(trial, epoch)
            listener.epoch_ended(trial, {"trial": trial, "epoch": epoch, **phase, "metrics": metrics, "time": 0.5 * epoch})
    for trial, state in ends.items():
        score = metrics_of(trial, epochs)["acc"] if state == "complete" else None
        reason = "A loss is not finite." if state == "diverged" else None
        config, metrics = config_of(trial), metrics_of(trial, epochs)
        end = TrialEnd(trial=trial, state=state, config=config, score=score, metrics=metrics, epochs=epochs, seconds=1.5, reason=reason)
        listener.trial_ended(end)
    finish(listener, "done")


def finish(listener: WandbRuns, status: str) -> None:
    """The end of a search and of its process, without which the last bytes may not be on the disk."""
    listener.search_ended(status)
    wandb.teardown()


@pytest.fixture(scope="module", autouse=True)
def nobodys_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login, no settings of whoever runs the tests, and an address at which nobody listens."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        # However slow the machine: the next driver comes after.
        patch.setattr(mirror, "LAST_UPLOAD_S", dict.fromkeys(mirror.LAST_UPLOAD_S, 300))
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("NETRC", str(home / "no-netrc"))
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        yield
        wandb.teardown()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, OfflineRun], list[str]]:
    """One search of six trials, recorded offline and read back: the run, what was recorded, what was said."""
    run, said = a_run(tmp_path_factory.mktemp("runs") / "my search"), []
    play(WandbRuns("offline", say=said.append), run)
    return run, read_runs(run.folder), said


def of_trial(runs: dict[str, OfflineRun], trial: int) -> OfflineRun:
    return next(run for run in runs.values() if run.id.endswith(f"-{trial}"))


def of_search(runs: dict[str, OfflineRun]) -> OfflineRun:
    return next(run for run in runs.values() if run.job_type == "search")


def test_there_are_as_many_runs_as_trials_and_one_for_the_search(recorded: Any) -> None:
    _, runs, _ = recorded
    assert sorted(run.job_type for run in runs.values()) == ["search"] + ["trial"] * len(ENDS)
    assert {run.group for run in runs.values()} == {"my search"}
    assert {run.tags for run in runs.values()} == {("aae_unsup", "digits")}
    assert {run.project for run in runs.values()} == {"tuner"}


def test_a_run_holds_its_trials_whole_configuration_under_the_names_of_the_space(recorded: Any) -> None:
    _, runs, _ = recorded
    for trial in ENDS:
        assert of_trial(runs, trial).config == config_of(trial)


def test_a_run_holds_every_epochs_metrics_at_that_epochs_step_pre_training_too(recorded: Any) -> None:
    _, runs, _ = recorded
    for trial in ENDS:
        history = of_trial(runs, trial).history
        assert [line["_step"] for line in history] == [1, 2, 3]
        assert [line["phase"] for line in history] == ["pretrain", "train", "train"]
        assert [line.get("cluster_epoch") for line in history] == [None, 1, 2]
        for line in history:
            expected = metrics_of(trial, line["_step"])
            assert {name: line[name] for name in expected} == expected


def test_a_run_says_how_its_trial_ended(recorded: Any) -> None:
    _, runs, _ = recorded
    assert {trial: of_trial(runs, trial).summary["state"] for trial in ENDS} == ENDS
    codes = {ENDS[trial]: of_trial(runs, trial).exit_code for trial in ENDS}
    assert codes == {"complete": 0, "pruned": 0, "collapsed": 0, "diverged": 0, "failed": 1, "stopped": 255}
    assert of_trial(runs, 0).summary["score"] == metrics_of(0, 3)["acc"]
    assert "score" not in of_trial(runs, 1).summary
    assert of_trial(runs, 3).summary["reason"] == "A loss is not finite."


def test_all_trials_carry_one_sweep_id_and_the_searchs_own_run_none(recorded: Any) -> None:
    run, runs, _ = recorded
    assert {of_trial(runs, trial).sweep_id for trial in ENDS} == {made_up_id(run)}
    assert of_search(runs).sweep_id == ""


def test_the_searchs_run_holds_the_table_of_trials_and_the_best(recorded: Any) -> None:
    run, runs, _ = recorded
    search = of_search(runs)
    assert search.config["trials"] == 6 and search.config["versions"] == {"python": "3.11"} and search.exit_code == 0
    assert search.summary["best_trial"] == 0 and search.summary["status"] == "done"
    assert search.summary["trials/pruned"] == 1
    (path,) = run.folder.glob("wandb/*-search/files/media/table/trials_*.table.json")
    table = json.loads(path.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert {row["trial"]: row["state"] for row in rows} == ENDS
    assert rows[0]["weights.cyclic"] == 0.44 and rows[1]["score"] is None and rows[5]["lr_ae"] == 6e-3


def test_going_offline_is_said_once_with_the_line_that_sends_the_runs_later(recorded: Any) -> None:
    run, _, said = recorded
    assert said == [f"W&B: recorded offline. To send it later:\n  wandb sync '{run.folder}/wandb'/offline-run-*"]


def test_the_same_search_has_the_same_ids_again_and_another_has_others(tmp_path: Path) -> None:
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two")
    assert made_up_id(one) == made_up_id(two)
    assert made_up_id(one) != made_up_id(a_run(tmp_path / "three", started="2026-01-01T00:00:01"))
    assert len(made_up_id(one)) == 8 and made_up_id(one).isalnum()


def test_an_interrupted_trial_is_closed_as_stopped(tmp_path: Path) -> None:
    run, listener = a_run(tmp_path / "run"), WandbRuns("offline", say=lambda text: None)
    listener.search_started(run)
    listener.trial_started(0, config_of(0))
    finish(listener, "stopped")
    runs = read_runs(run.folder)
    assert of_trial(runs, 0).exit_code == 255 and of_trial(runs, 0).summary["state"] == "stopped"
    assert of_search(runs).exit_code == 255


def interrupted(run: Run) -> Run:
    """The run as its second driver has it: trial 0 is over, trial 1 goes on after two epochs."""
    metrics = [metrics_of(1, epoch) for epoch in (1, 2)]
    goes_on = OpenTrial(config=config_of(1), metrics=metrics, score=metrics[-1]["acc"], shown=metrics[-1], seconds=1.0)
    over = TrialEnd(trial=0, state="complete", config=config_of(0), score=0.5, metrics=metrics_of(0, 3), epochs=3, seconds=1.0)
    past = Past(ends=(over,), pruned=(), open={1: goes_on}, seconds=2.0)
    return replace(run, past=past, info={**run.info, "resumed": [{}]})


def play_in_two(run: Run, mode: str, said: list[str]) -> None:
    """Trial 0 ends, trial 1 is interrupted after two epochs and goes on under another driver."""

    def epochs(listener: WandbRuns, trial: int, numbers: Iterable[int]) -> None:
        for epoch in numbers:
            listener.epoch_ended(trial, {"epoch": epoch, "phase": "train", "cluster_epoch": epoch, "metrics": metrics_of(trial, epoch)})

    def end(listener: WandbRuns, trial: int, state: str) -> None:
        listener.trial_ended(TrialEnd(trial=trial, state=state, config=config_of(trial), score=0.5, epochs=3, seconds=1.0))

    first, second = WandbRuns(mode, say=said.append), WandbRuns(mode, say=said.append)
    first.search_started(run)
    for trial, numbers, state in ((0, (1, 2, 3), "complete"), (1, (1, 2), "stopped")):
        first.trial_started(trial, config_of(trial))
        epochs(first, trial, numbers)
        end(first, trial, state)
    finish(first, "stopped")
    second.search_started(interrupted(run))
    second.trial_started(1, config_of(1))
    epochs(second, 1, [3])
    end(second, 1, "complete")
    finish(second, "done")


def test_a_resumed_search_goes_on_in_the_same_runs_offline(tmp_path: Path) -> None:
    run, said = a_run(tmp_path / "run"), []
    play_in_two(run, "offline", said)
    pieces = [read_run(path) for path in sorted(run.folder.glob("wandb/offline-run-*/run-*.wandb"))]
    assert len({piece.id for piece in pieces}) == 3, "two trials and the search"
    assert [[line["_step"] for line in piece.history] for piece in pieces if piece.id.endswith("-1")] == [[1, 2], [3]]
    search = [[line["_step"] for line in piece.history] for piece in pieces if piece.job_type == "search"]
    assert search == [[1, 2, 3], [4, 5]]  # the ends, and the table of each driver
    last = [piece for piece in pieces if piece.job_type == "search"][-1]
    assert (last.summary["trials/complete"], last.summary["status"], last.exit_code) == (2, "done", 0)
    assert len(said) == 2 and said[0] == said[1]


def test_what_a_killed_driver_had_not_told_is_told_by_the_next_one(tmp_path: Path) -> None:
    """W&B keeps nothing on disk of a run that its driver left open; nor was there time for the end of trial 0."""
    run, said = a_run(tmp_path / "run"), []
    trial = {"cluster_epoch": 1, "phase": "train"}
    lines = [{"trial": t, "epoch": e, **trial, "metrics": metrics_of(t, e)} for t, e in [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]]
    end = TrialEnd(trial=0, state="complete", config=config_of(0), score=0.5, metrics=metrics_of(0, 3), epochs=3).line(0.0)
    (run.folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, end]))
    torn = run.folder / "wandb" / "offline-run-20260101_000000-torn"
    torn.mkdir(parents=True)
    second = WandbRuns("offline", say=said.append)
    second.search_started(interrupted(run))
    second.trial_started(1, config_of(1))
    second.epoch_ended(1, {"epoch": 3, **trial, "metrics": metrics_of(1, 3)})
    second.trial_ended(TrialEnd(trial=1, state="complete", config=config_of(1), score=0.6, epochs=3))
    finish(second, "done")
    assert not torn.exists()
    pieces = [read_run(path) for path in sorted(run.folder.glob("wandb/offline-run-*/run-*.wandb"))]
    assert len(pieces) == 3 and said[0].startswith("W&B: recorded offline")
    found = {piece.id.rpartition("-")[2]: piece for piece in pieces}
    assert {name: [line["_step"] for line in piece.history] for name, piece in found.items()} == {
        "0": [1, 2, 3], "1": [1, 2, 3], "search": [1, 2, 3],
    }  # fmt: skip
    assert [line["trials/complete"] for line in found["search"].history[:2]] == [1, 2]
    assert {name: found[name].summary["state"] for name in "01"} == {"0": "complete", "1": "complete"}
    assert found["0"].config["lr_ae"] == config_of(0)["lr_ae"]


def test_disabled_writes_nothing_and_imports_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from types import SimpleNamespace as N; from pathlib import Path; from tuner.trackers.wandb import WandbRuns\n"
        f"w = WandbRuns('disabled'); w.search_started(N(folder=Path({str(tmp_path)!r})))\n"
        "w.trial_started(0, {}); w.epoch_ended(0, {}); w.search_ended('done'); print('wandb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert done.stdout == "False\n" and done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_without_a_login_the_runs_are_recorded_offline_and_nobody_is_asked(tmp_path: Path, capfd: Any) -> None:
    run, said = a_run(tmp_path / "run"), []
    play(WandbRuns("online", say=said.append), run, {0: "complete"})
    sync = f"To send it later:\n  wandb sync {run.folder}/wandb/offline-run-*"
    assert said == [f"W&B: recorded offline (no login on this machine). {sync}"]
    assert len(read_runs(run.folder)) == 2
    assert capfd.readouterr() == ("", "")


def test_without_a_network_the_runs_are_recorded_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    run, said = a_run(tmp_path / "run"), []
    play(WandbRuns("online", say=said.append), run, {0: "complete"})
    assert len(said) == 1 and said[0].startswith("W&B: recorded offline (http://127.0.0.1:9 cannot be reached). To send it later:\n")
    assert len(read_runs(run.folder)) == 2


def test_a_failure_of_wandb_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    run, said = a_run(tmp_path / "run"), []
    (run.folder / "wandb").write_text("a file where W&B wants a folder")
    play(WandbRuns("offline", say=said.append), run)
    assert said[-1].startswith("W&B: not recorded: ") and len(said) <= 2


def test_a_block_boundary_inside_a_record_is_read_over(recorded: Any, tmp_path: Path) -> None:
    first, second = b"a" * 40_000, b"b" * 10
    blocks, at = b":W&B\x00\x00\x00", 7
    room = 32 * 1024 - at - 7
    blocks += bytes(4) + room.to_bytes(2, "little") + b"\x02" + first[:room]
    rest = first[room:]
    blocks += bytes(4) + len(rest).to_bytes(2, "little") + b"\x04" + rest
    blocks += bytes(4) + len(second).to_bytes(2, "little") + b"\x01" + second
    assert list(payloads(blocks)) == [first, second]


# --- online: a stand-in for W&B's cloud ---------------------------------------------------------------------------------


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    yield from answering(monkeypatch)


def test_online_the_sweep_is_registered_once_and_every_trial_is_sent_with_its_id(tmp_path: Path, cloud: Cloud, capfd: Any) -> None:
    run, said = a_run(tmp_path / "run"), []
    play(WandbRuns("online", say=said.append), run, {0: "complete", 1: "pruned"})
    assert len(cloud.sweeps) == 1 and "lr_ae" in cloud.sweeps[0]
    assert said == [f"W&B: http://127.0.0.1:{cloud.server_port}/me/tuner/sweeps/sw33p1d0"]
    sent = {bucket["name"]: bucket for bucket in reversed(cloud.buckets)}
    assert {name: bucket["sweep"] for name, bucket in sent.items()} == {
        "my-search-sw33p1d0-search": None,
        "my-search-sw33p1d0-0": "sw33p1d0",
        "my-search-sw33p1d0-1": "sw33p1d0",
    }
    assert sent["my-search-sw33p1d0-1"]["groupName"] == "my search"
    assert sent["my-search-sw33p1d0-1"]["tags"] == ["aae_unsup", "digits"]
    assert json.loads(sent["my-search-sw33p1d0-1"]["config"])["weights.cyclic"] == {"value": 0.44}
    history = cloud.history("my-search-sw33p1d0-1")
    assert [(line["_step"], line["acc"]) for line in history] == [(epoch, metrics_of(1, epoch)["acc"]) for epoch in (1, 2, 3)]
    assert capfd.readouterr() == ("", "")


def test_a_resumed_search_goes_on_in_the_same_runs_online(tmp_path: Path, cloud: Cloud) -> None:
    run, said = a_run(tmp_path / "run"), []
    play_in_two(run, "online", said)
    assert len(cloud.sweeps) == 1, "it is registered once"
    assert {bucket["name"] for bucket in cloud.buckets} == {f"my-search-sw33p1d0-{part}" for part in ("search", 0, 1)}
    assert [line["_step"] for line in cloud.history("my-search-sw33p1d0-1")] == [1, 2, 3]
    offsets = [post["files"]["wandb-history.jsonl"]["offset"] for post in cloud.files["my-search-sw33p1d0-1"]
               if "wandb-history.jsonl" in post.get("files", {})]  # fmt: skip
    assert offsets[-1] == 2, "what was sent before is not overwritten"


@pytest.mark.slow
def test_a_cloud_that_vanishes_is_told_once_and_everything_is_recorded_for_later(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_opening, "FINISH_S", 3)
    run, said = a_run(tmp_path / "run"), []
    listener = WandbRuns("online", say=said.append)

    def epoch(trial: int, number: int) -> None:
        metrics = metrics_of(trial, number)
        listener.epoch_ended(trial, {"epoch": number, "phase": "train", "cluster_epoch": number, "metrics": metrics})

    listener.search_started(run)
    for trial in (0, 1):
        listener.trial_started(trial, config_of(trial))
        epoch(trial, 1)
    until(lambda: {"my-search-sw33p1d0-0", "my-search-sw33p1d0-1"} <= cloud.files.keys())
    cloud.shutdown()
    cloud.server_close()
    for trial in (0, 2, 1):
        if trial == 2:
            listener.trial_started(2, config_of(2))
        epoch(trial, 2)
        listener.trial_ended(TrialEnd(trial=trial, state="complete", config=config_of(trial), score=0.5, epochs=2, seconds=1.0))
    finish(listener, "done")
    assert said[1:] == [
        f"W&B: recorded offline (the cloud does not answer any more). To send it later:\n  wandb sync {run.folder}/wandb/*run-*"
    ]
    pieces = [read_run(path) for path in sorted(run.folder.glob("wandb/*run-*/run-*.wandb"), reverse=True)]
    steps = {piece.id.rpartition("-")[2]: [line["_step"] for line in piece.history] for piece in pieces}
    assert (steps["0"], steps["1"], steps["2"]) == ([1, 2], [1, 2], [2])
    searches = [piece for piece in pieces if piece.job_type == "search"]
    assert [line["_step"] for piece in searches for line in piece.history] == [1, 2, 3, 4]
    assert searches[-1].summary["status"] == "done"


def test_a_cloud_that_refuses_the_runs_sends_the_search_offline(tmp_path: Path, cloud: Cloud) -> None:
    cloud.refuses_runs = True
    run, said = a_run(tmp_path / "run"), []
    play(WandbRuns("online", say=said.append), run, {0: "complete", 1: "pruned"})
    assert [line.partition(" (")[0] for line in said] == [said[0], "W&B: recorded offline"]
    assert "permission denied" in said[1]
    runs = {run_id: run for run_id, run in read_runs(run.folder).items() if run.exit_code is not None}
    assert sorted(runs) == ["my-search-sw33p1d0-0", "my-search-sw33p1d0-1", "my-search-sw33p1d0-search-offline"]
    assert len(of_trial(runs, 1).history) == 3

"""Searches submitted to a real Ray head that `tuner cluster up local` started, with its token; and what is refused without it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.commands import SPACE, Tuner
from kit.waiting import ENDS_S, until

from tuner import layout
from tuner.cli import options
from tuner.cli.options import DONE, THEIRS
from tuner.errors import UserError
from tuner.machines import jobs
from tuner.runs.results import read_run
from tuner.space.reader import Options

ROOT = layout.ROOT


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A local cluster of two nodes: its addresses, and the file of its token."""
    folder = tmp_path_factory.mktemp("head")
    port, dashboard = free_port(), free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": str(folder / "token")}

    def cluster(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tuner.cli", "cluster", words[0], "local", f"--port={port}", *words[1:]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    up = cluster("up", "--nodes=2", "--cpus=1", f"--dashboard-port={dashboard}")
    try:
        assert up.returncode == 0, up.stderr
        assert cluster("status").stdout == f"2 Ray nodes run on this machine, on port {port}.\n"
        yield {"url": f"http://127.0.0.1:{dashboard}", "gcs": f"127.0.0.1:{port}", "token": str(folder / "token")}
    finally:
        down = cluster("down")
    assert down.stdout == "2 Ray nodes on this machine ended.\n"
    listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if f"tuner-{os.getuid()}-{port}/" in line] == []  # nothing outlives it


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_API_SERVER_ADDRESS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("COLUMNS", "200")
    Path("space.yaml").write_text(SPACE)
    return tmp_path


@pytest.fixture
def token(head: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", head["token"])


def wait_for(name: str, url: str) -> jobs.Job:
    end = time.monotonic() + ENDS_S
    while time.monotonic() < end:
        (job,) = (job for job in jobs.jobs(url) if job.name == name)
        if job.ended:
            return job
        time.sleep(0.5)
    raise AssertionError("".join(jobs.logs(name, url)))


# --- on a cluster ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_submitted_search_runs_on_the_cluster_and_can_be_followed(head: dict[str, str], token: None, tuner: Tuner, here: Path) -> None:
    options = ["--wandb", "disabled", "--trials", "2", "--set", "n_init=1", "--out", str(here / "a b"), "--name", "first"]
    code, out, err = tuner("submit", "--space", "space.yaml", "--address", head["url"], *options)
    assert code == DONE, err
    assert out.splitlines()[0] == "first"
    assert "tuner stop first" in out
    code, out, _ = tuner("logs", "first", "--address", head["url"], "--follow")
    assert code == DONE and "first: 2 trials of kmeans on digits" in out and "2 trials: 2 complete" in out
    assert wait_for("first", head["url"]).state == "done"
    code, out, _ = tuner("status", "--address", head["url"])
    assert code == DONE and out.splitlines()[2].split()[:2] == ["first", "done"] and "2 trials: 2 complete" in out
    results = read_run(here / "a b" / "first")
    assert results.status == "done" and results.counts()["complete"] == 2
    spec = json.loads((here / "a b" / "first" / "spec.json").read_text())
    assert spec["address"].rpartition(":")[2] == head["gcs"].rpartition(":")[2]  # it joined this Ray, and started none
    assert spec["hardware"]["nodes"] == 2
    assert (here / "a b" / "first" / "space.yaml").read_text() == SPACE
    code, _, err = tuner("submit", "--space", "space.yaml", "--address", head["url"], *options)
    assert code == THEIRS and "A search 'first' was submitted to this cluster already." in err
    code, _, err = tuner("logs", "frist", "--address", head["url"])
    assert code == THEIRS and "Did you mean 'first'?" in err


def test_a_submitted_search_that_is_stopped_keeps_what_it_had(head: dict[str, str], token: None, tuner: Tuner, here: Path) -> None:
    Path("space.yaml").write_text(SPACE.replace("{values: [5, 10, 15]}", "{min: 5, max: 200}"))
    words = ["--wandb", "disabled", "--trials", "500", "--epochs", "60", "--name", "long", "--out", str(here)]
    code, out, err = tuner("submit", "--space", "space.yaml", "--address", head["url"], *words)
    assert code == DONE and out.splitlines()[0] == "long", err
    code, out, _ = tuner("status", "--address", head["url"])
    assert code == DONE and re.search(r"^long +running ", out, re.M)
    until(lambda: "trial" in jobs.last_words("long", head["url"]))
    steer(tuner, head["url"])
    assert tuner("stop", "long", "--address", head["url"])[:2] == (DONE, "long is stopped.\n")
    assert tuner("stop", "long", "--address", head["url"])[:2] == (DONE, "long is stopped.\n")  # once more does no harm
    code, out, _ = tuner("logs", "long", "--address", head["url"])
    assert code == DONE and "long: 500 trials of kmeans on digits" in out and "Interrupted: " in out
    results = read_run(here / "long")
    assert results.status == "stopped" and results.counts()["complete"] >= 1
    assert {state for state, n in results.counts().items() if n} == {"complete", "stopped"}  # Ray would kill it before it wrote that down
    assert {trial.config["n_init"] for trial in results.trials if trial.asked_for} == {1}
    more = len(results.trials) + 1
    words = [sys.executable, "-m", "tuner.cli", "resume", str(here / "long"), f"--trials={more}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": head["token"]}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    results = read_run(here / "long")
    assert done.returncode == DONE and results.status == "done" and results.counts()["complete"] == more, done.stderr
    spec = json.loads((here / "long" / "spec.json").read_text())
    assert spec["resumed"][-1]["address"].rpartition(":")[2] == head["gcs"].rpartition(":")[2]  # on the same cluster


def steer(tuner: Tuner, url: str) -> None:
    """Orders to the search `long`, through jobs on the cluster's head."""
    code, out, err = tuner("enqueue", "long", "--set", "n_clusters=5", "--set", "n_init=1", "--address", url)
    assert code == DONE and re.fullmatch(r"It is trial \d+ of long, and begins as soon as there is room\.\n", out), out + err
    code, out, err = tuner("enqueue", "long", "--set", "n_cluster=5", "--address", url)
    assert (code, out) == (THEIRS, "") and "Did you mean 'n_clusters'?" in err and err.count("error: ") == 1
    assert tuner("stop", "long", "--trial", "400", "--address", url)[2].startswith("error: There is no trial 400: long has begun trials 0 ")
    code, out, _ = tuner("status", "--address", url, "--json")
    assert [(job["name"], job["state"]) for job in json.loads(out) if "-order-" in job["name"] or job["name"] == "long"] == [
        ("long", "running")
    ]
    assert tuner("status", "lung", "--address", url)[2].endswith("Did you mean 'long'? `tuner status --address` lists them.\n")


@pytest.mark.slow
def test_a_search_that_the_clusters_data_do_not_allow_is_told_at_once(head: dict[str, str], token: None, tuner: Tuner) -> None:
    Path("space.yaml").write_text(SPACE.replace("digits", "npz:/not/here.npz"))
    code, out, err = tuner("submit", "--space", "space.yaml", "--address", head["url"], "--name", "lost")
    assert (code, out) == (THEIRS, "")
    assert "ended on the cluster before it began" in err and "There is no file /not/here.npz" in err and "Traceback" not in err


@pytest.mark.parametrize("words", [["submit", "--space", "space.yaml"], ["status"], ["logs", "first"], ["stop", "first"]])
@pytest.mark.parametrize("given", [None, "0123456789abcdef"])
def test_without_the_token_nothing_is_taken_and_nothing_told(
    given: str | None, words: list[str], head: dict[str, str], tuner: Tuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given:
        monkeypatch.setenv("RAY_AUTH_TOKEN", given)
    code, out, err = tuner(*words, "--address", head["url"])
    assert (code, out) == (THEIRS, "")
    what = "its token is another than this machine's" if given else "it asks for a token, and this machine has none"
    assert f"refuses: {what}. Copy the file ~/.ray/auth_token" in err and err.count("\n") == 1


@pytest.mark.parametrize("path", ["/api/jobs/", "/api/version", "/nodes?view=summary", "/api/v0/actors"])
def test_without_the_token_rest_is_refused(path: str, head: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(head["url"] + path, timeout=60)
    assert refused.value.code == 401
    refused.value.close()


def tuner_process(*words: str, token: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as Ray reads its mode when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN_PATH": token}
    return subprocess.run([sys.executable, "-m", "tuner.cli", *words], env=environment, capture_output=True, text=True, check=False)


def test_with_the_token_a_cluster_is_joined_though_nobody_said_that_there_are_tokens(head: dict[str, str], here: Path) -> None:
    assert "RAY_AUTH_MODE" not in os.environ
    done = tuner_process("doctor", "--address", head["gcs"], "--nodes", "2", "--out", str(here), token=head["token"])
    assert done.returncode == DONE, done.stdout + done.stderr
    states = {words[0]: words[1] for line in done.stdout.splitlines() if (words := line.split()) and not line.startswith(" ")}
    assert states == dict.fromkeys(("nodes", "token", "dashboard", "ports", "versions", "storage", "wandb"), "ok") | {"gpu": "note"}
    assert f"{head['url']}, on the loopback only" in done.stdout


def test_without_the_token_no_search_joins(head: dict[str, str], here: Path) -> None:
    words = ["search", "--space", "space.yaml", "--address", head["gcs"], "--wandb", "disabled"]
    done = tuner_process(*words, token=str(here / "no token"))
    assert done.returncode == THEIRS
    assert "refuses: it asks for a token, and this machine's is another or absent." in done.stderr
    assert not (here / "runs").exists()


class Failed:
    """A client of Ray's that knows one search, which ended with this log."""

    def __init__(self, log: str) -> None:
        self.log = log

    def list_jobs(self) -> list[Any]:
        status = type("Status", (), {"value": "FAILED"})
        details = {
            "submission_id": "x",
            "metadata": {"tuner": "1"},
            "status": status,
            "start_time": 1,
            "end_time": 2,
            "driver_exit_code": 2,
        }
        return [type("Details", (), details)]

    def get_job_logs(self, name: str) -> str:
        return self.log

    def get_job_info(self, name: str) -> Any:
        return type("Details", (), {"message": "The job supervisor died."})


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "Running entrypoint\nerror: my.yaml cannot be used:\n  my.yaml:2: There is no file.\n",
            "began: my.yaml cannot be used:\n  my.yaml:2",
        ),
        ("Running entrypoint\nsh: 1: python: not found\n", "sh: 1: python: not found"),
        ("", "The job supervisor died."),
    ],
)
def test_what_kept_a_search_from_beginning_is_told(log: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        jobs._wait_until_it_begins(Failed(log), "x")  # type: ignore[arg-type]


# --- what is refused before anybody is asked ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "10.0.0.1:6379"], "is no dashboard of Ray's: give its http://HOST:PORT"),
        (["--address", "http://127.0.0.1:notaport"], "is no dashboard of Ray's"),
        (["--address", "ray://127.0.0.1:10001"], "is no dashboard of Ray's"),
        (["--out", "runs"], "--out runs is relative"),
        (["--data-root", "data"], "--data-root data is relative"),
        (["--name", "../up"], "--name cannot be '../up'"),
        (["--set", "n_clusterz=3"], "Did you mean 'n_clusters'?"),
    ],
)
def test_a_submission_that_cannot_be_is_refused_with_one_message(words: list[str], said: str, tuner: Tuner) -> None:
    code, out, err = tuner("submit", "--space", "space.yaml", *words)
    assert (code, out) == (THEIRS, "") and said in err and "Traceback" not in err


def test_a_dashboard_that_does_not_answer_is_told_with_the_way_to_it(tuner: Tuner) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        code, _, err = tuner("status", "--address", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert code == THEIRS and "No Ray dashboard answers" in err and "ssh -L 8265:127.0.0.1:8265" in err


def test_options_reach_the_search_as_they_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"trials": 3, "seed": None, "set": ["a=1", "b=x y"], "wandb": options.Wandb.offline}
    assert jobs.search_words(given) == ["--trials=3", "--set=a=1", "--set=b=x y", "--wandb=offline"]


def test_no_key_travels_where_the_dashboard_would_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WANDB_API_KEY", "secret"), ("WANDB_PROJECT", "mine"), ("RAY_AUTH_TOKEN", "secret")):
        monkeypatch.setenv(name, value)
    environment = jobs._environment()
    assert environment["WANDB_PROJECT"] == "mine" and "secret" not in environment.values()


def test_data_that_are_on_the_cluster_only_are_no_error_here(tmp_path: Path) -> None:
    def submission(dataset: str) -> jobs.Submission:
        return jobs.Submission(space="space.yaml", options=Options(dataset=dataset, data_root=tmp_path), out="/o", data_root=str(tmp_path))

    jobs._check_here(submission("npz:/only/there.npz"))
    jobs._check_here(submission("mnist"))  # and it is not fetched
    assert list(tmp_path.rglob("*ubyte*")) == []

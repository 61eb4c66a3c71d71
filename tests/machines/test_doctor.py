"""`tuner doctor`: every problem is found when it is planted, most of them on a real cluster of two nodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kit.interrupted import a_killed_run
from kit.waiting import ENDS_S

from tuner.cli.app import main
from tuner.cli.options import DONE, OURS, THEIRS
from tuner.errors import UserError
from tuner.machines import checks, doctor, nodes, probe
from tuner.machines.checks import Check
from tuner.machines.doctor import ORDER, Checkup
from tuner.machines.nodes import Node
from tuner.service.driver import SearchOptions, search
from tuner.service.resume import resume
from tuner.space.reader import read_space

Checks = dict[str, dict[str, str]]


# --- on a cluster ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("a folder that is not shared is made with /proc")
    folder = tmp_path_factory.mktemp("doctor")
    here = Path(__file__).parent.parent
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "PYTHONPATH": os.pathsep.join((str(here.parent), os.environ.get("PYTHONPATH", ""))),
    }
    program = [sys.executable, str(here / "kit" / "examined.py"), str(folder)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=ENDS_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_healthy_cluster_has_no_problem(examined: dict[str, Checks]) -> None:
    checks = examined["healthy"]
    assert tuple(checks) == ORDER
    assert {name for name, check in checks.items() if check["state"] == "problem"} == set()
    assert checks["data"]["found"].endswith("my.csv, 20 samples, is here")
    assert checks["token"]["found"] == "asked for on every node"
    assert checks["storage"]["found"].endswith("/runs is read and written")


def test_nodes_that_do_not_join_are_missed(examined: dict[str, Checks]) -> None:
    check = examined["too few"]["nodes"]
    assert check["state"] == "problem" and check["found"].startswith("1 node of 2 joined") and "token" in check["todo"]


@pytest.mark.parametrize(
    ("name", "text", "todo"),
    [
        ("versions", "has optuna 1.2.3, here ", "Install the same on every machine"),
        ("storage", "does not see what is written there", "one that all machines share"),
        ("data", "my.csv is not on ", "--data-root"),
        ("gpu", "offers 1 to trials, torch sees 0", "nvidia-smi"),
        ("token", "others on this machine can read it", "chmod 600 "),
    ],
)
def test_a_planted_problem_is_found_with_its_node_and_what_to_do(name: str, text: str, todo: str, examined: dict[str, Checks]) -> None:
    check = examined["planted"][name]
    assert check["state"] == "problem" and text in check["found"] and todo in check["todo"]


def test_what_was_not_planted_is_not_found(examined: dict[str, Checks]) -> None:
    checks = examined["planted"]
    assert {name for name in checks if checks[name]["state"] == "problem"} == {"versions", "storage", "data", "gpu", "token"}
    assert checks["versions"]["found"].count(" has ") == 1  # one of the two nodes
    assert checks["ports"]["found"] == "the nodes reach each other"


def test_a_node_that_does_not_answer_is_named_and_nothing_is_said_of_it(examined: dict[str, Checks]) -> None:
    checks = examined["silent"]
    assert checks["nodes"]["state"] == "problem" and checks["nodes"]["found"].count("no answer within") == 2
    assert set(checks) == {"nodes", "dashboard", "wandb"}


def test_a_search_on_nodes_of_other_versions_is_refused(examined: dict[str, str]) -> None:
    first, versions, last = examined["refused"].splitlines()
    assert first == "The cluster cannot run this search:"
    assert versions.startswith("  versions: ") and "has optuna 1.2.3, here " in versions  # and not: the GPU, which takes seconds to try
    assert "tuner doctor" in last


def test_nothing_is_left_behind(examined: dict[str, Any]) -> None:
    assert examined["left"] == ["files", "my.csv", "packages", "token"]  # all of them the test's own


# --- what a cluster on one machine cannot have -------------------------------------------------------------------------


def node(label: str = "b", **found: Any) -> Node:
    healthy = {"auth": "token", "versions": probe.versions(), "storage": None, "files": {}, "closed": []}
    return Node(id=label, label=label, address="10.0.0.2", ports=(1, 2), gpus=found.pop("gpus", 0), found=healthy | found)


class Silent:
    """A cluster without a dashboard."""

    def dashboard(self) -> None:
        return None


def test_other_code_of_tuner_is_found_though_its_version_is_the_same() -> None:
    check = checks.check_versions([node(), node("c", versions=probe.versions() | {"tuner": "0123abcd"}), node("d", versions={})])
    assert check.state == "problem"
    assert f"c has tuner with code 0123abcd, here with code {probe.code()}. d has python absent" in check.found


def test_the_code_is_the_same_in_a_checkout_and_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for package, models in (
        (tmp_path / "a" / "tuner", tmp_path / "a" / "models"),
        (tmp_path / "b" / "tuner", tmp_path / "b" / "tuner" / "models"),
    ):
        (package / "runs").mkdir(parents=True)
        models.mkdir(parents=True)
        for path in (package / "__init__.py", package / "runs" / "zip.py", package / "model.py", models / "dec.py"):
            path.write_text(path.name)
        spec = type("Spec", (), {"origin": str(package / "__init__.py")})
        monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name, spec=spec: spec)
        found.append(probe.code())
    assert found[0] == found[1]


def test_the_code_differs_where_a_model_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, models = tmp_path / "tuner", tmp_path / "models"
    package.mkdir(), models.mkdir()
    (package / "__init__.py").write_text("")
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: spec)
    (models / "dec.py").write_text("lr = 1")
    before = probe.code()
    (models / "dec.py").write_text("lr = 2")
    assert before is not None and probe.code() != before
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)
    assert probe.code() is None


def test_a_closed_port_is_found_between_nodes() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, so that nobody else gets it, and not listening
        port = closed.getsockname()[1]
        found = probe.look({"peers": [["127.0.0.1", port]]})
    assert found["closed"] == [["127.0.0.1", port]]
    check = checks.check_ports([node(closed=found["closed"])])
    assert check.state == "problem" and f"b cannot reach 127.0.0.1 at 127.0.0.1:{port}" in check.found and "firewall" in check.todo


def test_a_node_that_cannot_write_or_whose_writing_is_not_seen_is_found(tmp_path: Path) -> None:
    with nodes.left_in(tmp_path) as storage:
        assert storage is not None
        (storage.folder / "x").mkdir()
        assert probe.storage(str(storage.folder), storage.key, "x") == {"seen": True, "error": "Is a directory"}
        assert probe.storage(str(storage.folder), "another", "y")["seen"] is False
        cannot = node(storage={"seen": True, "error": "Read-only file system"})
        unseen = node("c", storage={"seen": True, "error": None})
        check = checks.check_storage([cannot, unseen], tmp_path, storage)
    assert check.state == "problem"
    assert "b cannot write there (Read-only file system); what c writes there is not seen here" in check.found
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_from_here_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with nodes.left_in(tmp_path / "file" / "runs") as storage:
        assert storage is None
    check = checks.check_storage([node()], tmp_path / "file" / "runs", None)
    assert check.state == "problem" and "cannot be written from here" in check.found


def test_a_data_file_that_is_another_one_on_a_node_is_found(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("a,b\n" + "1,2\n" * 20)
    check = checks.check_data([node(files={str(path): "3 bytes, 00"})], f"csv:{path}", None, [str(path)])
    assert check.state == "problem" and f"{path} is another file on b" in check.found
    path.write_text("a,b\n1,x\n")
    check = checks.check_data([node(files={str(path): probe.fingerprint(str(path))})], f"csv:{path}", None, [str(path)])
    assert check.state == "problem" and check.found.startswith(str(path))  # there, and no data


def test_images_that_are_not_there_are_found_without_fetching_them(tmp_path: Path) -> None:
    what = Checkup(dataset="mnist", data_root=tmp_path)
    files = doctor.data_files(what)
    check = checks.check_data([node(files=dict.fromkeys(files))], "mnist", what.data_root, files)
    assert check.state == "problem" and "MNIST/raw/train-images-idx3-ubyte is not on this machine" in check.found
    assert list(tmp_path.iterdir()) == []


def test_gpus_are_named_with_their_memory_and_a_full_or_broken_one_is_found() -> None:
    one = {"name": "T4", "free": 15e9, "total": 16e9}
    assert checks.check_gpus([node(gpus=1, gpu={"gpus": [one]})]).found == "b: T4, 15.0 GB of 16.0 GB free"
    full = checks.check_gpus([node(gpus=1, gpu={"gpus": [one | {"free": 1e9}]})])
    assert full.state == "problem" and "of a T4's 16.0 GB only 1.0 GB are free" in full.found
    broken = checks.check_gpus([node(gpus=1, gpu={"gpus": [{"error": "CUDA error: out of memory"}]})])
    assert broken.state == "problem" and "b: CUDA error: out of memory" in broken.found
    mute = checks.check_gpus([node(gpus=1, gpu={"gpus": [], "error": "No module named 'torch'"})])
    assert mute.state == "problem" and "(No module named 'torch')" in mute.found
    built = checks.check_gpus([node(gpus=1, gpu={"gpus": [], "built": None})])
    assert "this torch is built without CUDA" in built.found
    assert checks.check_gpus([node()]).state == "note"


def test_a_cluster_without_a_token_is_found_by_what_its_nodes_were_started_with() -> None:
    check = checks.check_token([node(), node("c", auth="disabled"), node("d", auth="")], Silent())  # type: ignore[arg-type]
    assert check.state == "problem" and check.found.endswith("no token is asked for on c, d")
    assert "RAY_AUTH_MODE=token" in check.todo


def test_a_search_on_a_cluster_without_a_token_is_warned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = {"seen": True, "error": None}

    def look(alive: object, left: Any, files: list[str]) -> list[Node]:
        (left.folder / "b").touch()
        return [node(auth="disabled", storage=storage)]

    monkeypatch.setattr(nodes, "wait_for_nodes", lambda expected: [])
    monkeypatch.setattr(nodes, "look", look)
    doctor.check_nodes(Silent(), tmp_path)  # type: ignore[arg-type]
    (message,) = caplog.messages
    assert message.startswith("Anybody who reaches the cluster can run any code on it: no token is asked for on b. Start every node again")


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_search_on_a_cluster_and_one_that_goes_on_there_ask_its_nodes_first(
    goes_on: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = SimpleNamespace(address="10.0.0.1:6379", close=lambda: None)
    asked: list[tuple[object, Path]] = []

    def refuse(*what: Any) -> None:
        asked.append(what)
        raise UserError("b has another version")

    for module in ("driver", "resume"):
        monkeypatch.setattr(f"tuner.service.{module}.check_nodes", refuse)
        monkeypatch.setattr(f"tuner.service.{module}.join", lambda address: cluster)
    folder = a_killed_run(tmp_path) if goes_on else tmp_path / "runs" / "new"
    with pytest.raises(UserError, match="b has another version"):
        resume(folder) if goes_on else search(read_space("kmeans"), SearchOptions(out=folder.parent, name="new"))
    assert asked == [(cluster, folder.parent)]


@contextmanager
def dashboard(status: int) -> Iterator[Any]:
    """What answers every question with this status, as Ray's dashboard does to somebody without a token."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield type("Known", (), {"dashboard": lambda self: {"url": f"http://127.0.0.1:{server.server_port}"}})()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "state"), [(200, "problem"), (401, "ok")])
def test_a_dashboard_that_lets_anybody_in_is_found(status: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with dashboard(status) as cluster:
        assert checks.check_token([node()], cluster).state == state


@pytest.mark.parametrize(("url", "state"), [("http://127.0.0.1:8265", "ok"), ("http://10.0.0.1:8265", "note"), (None, "note")])
def test_where_the_dashboard_listens_is_told(url: str | None, state: str) -> None:
    known = type("Known", (), {"dashboard": lambda self: url and {"url": url}})()
    assert checks.check_dashboard(known).state == state


@pytest.mark.parametrize(
    ("mode", "why", "state", "todo"),
    [
        ("online", None, "ok", ""),
        ("online", "no login on this machine", "note", "wandb login"),
        ("online", "https://api.wandb.ai cannot be reached", "note", "offline"),
        ("online", "https://api.wandb.ai does not accept the login", "problem", "wandb login --relogin"),
        ("offline", "never asked", "ok", ""),
    ],
)
def test_the_login_of_wandb_is_told(mode: str, why: str | None, state: str, todo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.trackers.wandb_login.why_offline", lambda: why)
    check = checks.check_wandb(mode)
    assert check.state == state and todo in check.todo


# --- what is printed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "code"), [("ok", DONE), ("note", DONE), ("problem", OURS)])
def test_the_command_prints_a_table_and_ends_with_1_where_there_is_a_problem(
    state: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = []

    def examine(what: Checkup) -> list[Check]:
        asked.append(what)
        return [Check(name="storage", state=state, found="/shared [dim]", todo="Share it.")]

    monkeypatch.setattr("tuner.machines.doctor.examine", examine)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    words = ["--address", "10.0.0.1:6379", "--nodes", "3", "--out", "/shared", "--dataset", "mnist", "--data-root", "/data"]
    assert main(["doctor", *words]) == code
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"storage  {state:<{len(state)}}  /shared [dim]", f"{' ' * (11 + len(state))}→ Share it."]
    (what,) = asked
    assert what == Checkup(
        address="10.0.0.1:6379", nodes=3, out=Path("/shared"), dataset="mnist", data_root=Path("/data"), wandb="disabled"
    )


def test_a_data_set_that_there_is_none_of_is_refused_before_ray_is_started(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--dataset", "minst"]) == THEIRS
    assert "no data set 'minst'" in capsys.readouterr().err

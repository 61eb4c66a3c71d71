"""Several Ray nodes on this machine, as if they were several machines: to try things, and for tests.

    tuner cluster up local [--nodes 3] [--cpus 1] [--gpus 0]      (= python local.py up …)
    tuner submit --space aae_unsup --address http://127.0.0.1:8265
    tuner cluster status local
    tuner cluster down local

It ends only what it started itself; `ray stop` would end every Ray of your account. `--gpus` claims GPUs that need not exist, so
that scheduling can be tried without one. Two such clusters need two `--port`s and two `--dashboard-port`s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tuner.errors import UserError
from tuner.machines.cluster import protect_token

START_S, END_S = 180, 20  # a busy machine takes more than one minute
AT_ONCE = 4  # nodes that start beside each other: of twenty on two cores none would be there in time
_RAY = (sys.executable, "-m", "ray.scripts.scripts")


def folder(port: int) -> Path:
    """Ray's files, and which processes are ours. The path is short: Ray makes sockets in it, whose names may have 107 characters."""
    return Path(tempfile.gettempdir()) / f"tuner-{os.getuid()}-{port}"


def up(port: int, dashboard_port: int, nodes: int, share: dict[str, int]) -> None:
    if alive(port):
        raise UserError(
            f"The local cluster on port {port} runs already. End it with `down`, or choose another --port and --dashboard-port."
        )
    for name, number in (("--port", port), ("--dashboard-port", dashboard_port)):
        if _answers(number):
            raise UserError(f"{name} {number} is taken by another process on this machine. Choose another one.")
    shutil.rmtree(folder(port), ignore_errors=True)
    try:
        folder(port).mkdir(mode=0o700)
    except OSError as error:
        raise UserError(f"{folder(port)} cannot be made: {error.strerror}. Remove it, or choose another --port.") from error
    protect_token()
    room = _room(share)
    head = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}"]
    head.append(f"--ray-client-server-port={free_port()}")  # else 10001, in each such cluster
    try:
        _start(port, 0, [*head, *room])
        _wait(port, dashboard_port)
        for number in range(1, nodes):
            if number > AT_ONCE:
                _wait_for_node(port, number - AT_ONCE)
            _start(port, number, [f"--address=127.0.0.1:{port}", *room])
        for number in range(1, nodes):
            _wait_for_node(port, number)
    except BaseException:
        down(port)
        raise
    print(f"{nodes} Ray nodes on this machine, each with {share['cpus']} CPUs and {share['gpus']} GPUs.")
    print(f"  tuner search --space aae_unsup --address 127.0.0.1:{port}")
    print(f"  tuner submit --space aae_unsup --address http://127.0.0.1:{dashboard_port}")
    print("The dashboard is at the second address; `ray get-auth-token` prints the token that it asks for.")


def add(port: int, share: dict[str, int]) -> int:
    """One more node. Its number."""
    number = len(_read(port))
    _start(port, number, [f"--address=127.0.0.1:{port}", *_room(share)])
    _wait_for_node(port, number)
    return number


def _room(share: dict[str, int]) -> list[str]:
    return [f"--num-cpus={share['cpus']}", f"--num-gpus={share['gpus']}"]


def _start(port: int, number: int, options: list[str]) -> None:
    """Starts a node, and writes down which process it is before anything else can go wrong."""
    # Two nodes in one folder would clean up each other's files.
    home = folder(port) / str(number)
    home.mkdir()
    options = [*options, f"--dashboard-agent-listen-port={free_port()}"]  # else 52365 on every node, and only one of them takes jobs
    # Jobs are commands, and run the first Python on PATH: let it be this one.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    environment = {**os.environ, "PATH": path, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*_RAY, "start", *options, f"--temp-dir={home}", "--object-store-memory=200000000", "--disable-usage-stats", "--block"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # outlives this program, and has no Ctrl-C of its terminal
        )
    _write(port, [*_read(port), {"pid": process.pid, "born": _born(process.pid)}])


def _wait(port: int, dashboard_port: int) -> None:
    end = time.monotonic() + START_S
    while not (_answers(port) and _answers(dashboard_port)):
        if time.monotonic() > end or not alive(port):
            raise UserError(f"Ray did not start. What it said is in {folder(port) / '0' / 'log'}:\n{_last_words(port, 0)}")
        time.sleep(0.2)


def _wait_for_node(port: int, number: int) -> None:
    """A node has joined when its own process says so."""
    end = time.monotonic() + START_S
    node = _read(port)[number]
    while "Ray runtime started" not in (folder(port) / str(number) / "log").read_text():
        if time.monotonic() > end or _born(node["pid"]) != node["born"]:
            raise UserError(f"Node {number} did not join:\n{_last_words(port, number)}")
        time.sleep(0.2)


def _last_words(port: int, number: int) -> str:
    with contextlib.suppress(OSError):
        return "\n".join((folder(port) / str(number) / "log").read_text().strip().splitlines()[-5:])
    return ""


def down(port: int) -> int:
    """Ends the nodes, the workers first, and removes their files. The number of those that ran."""
    ours = alive(port)
    families = {pid: family(pid) for pid in ours}
    for pid in reversed(ours):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + END_S
    while any(_born(pid) for pid in ours) and time.monotonic() < end:
        time.sleep(0.1)
    for processes in families.values():  # what a node left behind
        for pid, born in processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if _born(pid) == born:
                    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder(port), ignore_errors=True)
    return len(ours)


def lose(port: int, number: int) -> None:
    """Kills a node and everything on it, as if its machine had lost its power: to see what survives that. 0 is the head."""
    for pid, _ in family(_read(port)[number]["pid"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(port: int) -> list[int]:
    """The processes of this cluster that still run, the head first."""
    return [node["pid"] for node in _read(port) if _born(node["pid"]) == node["born"]]


def _read(port: int) -> list[dict[str, Any]]:
    path = folder(port)
    with contextlib.suppress(OSError, ValueError):
        if path.stat().st_uid == os.getuid():  # in a folder that anybody may write to, another could have put one of that name
            nodes: list[dict[str, Any]] = json.loads((path / "nodes.json").read_text())
            return nodes
    return []


def _write(port: int, nodes: list[dict[str, Any]]) -> None:
    (folder(port) / "nodes.json").write_text(json.dumps(nodes))


def _born(pid: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; None where it has ended."""
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, since = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else since.strip()


def family(pid: int) -> list[tuple[int, str | None]]:
    """A process and all that descends from it."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)
    children: dict[int, list[int]] = {}
    for line in done.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, open_ = [], [pid]
    while open_:
        one = open_.pop()
        found.append((one, _born(one)))
        open_ += children.get(one, [])
    return found


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tuner cluster", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--port", type=int, default=6379, help="Ray's; it names the cluster")
    parser.add_argument("--dashboard-port", type=int, default=8265)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--cpus", type=int, default=1, help="of each node, as far as trials are concerned")
    parser.add_argument("--gpus", type=int, default=0, help="of each node; they need not exist")
    said = parser.parse_args()
    try:
        for name, least, most in (
            ("nodes", 1, 64),
            ("cpus", 0, 1024),
            ("gpus", 0, 64),
            ("port", 1024, 65535),
            ("dashboard_port", 1024, 65535),
        ):
            if not least <= getattr(said, name) <= most:
                raise UserError(f"--{name.replace('_', '-')} must stay within [{least}, {most}], not {getattr(said, name)}.")
        if said.action == "up":
            up(said.port, said.dashboard_port, said.nodes, {"cpus": said.cpus, "gpus": said.gpus})
        elif said.action == "down":
            ended = down(said.port)
            print(f"{ended} Ray nodes on this machine ended." if ended else f"No local cluster runs on port {said.port}.")
        else:
            running = alive(said.port)
            print(f"{len(running)} Ray nodes run on this machine, on port {said.port}." if running else f"None runs on port {said.port}.")
            return 0 if running else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

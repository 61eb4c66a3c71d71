"""`tuner cluster`: hands a cluster's file to the tool that reads it. Nothing is started here that the tool would not start by itself."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from tuner import layout
from tuner.errors import UserError, did_you_mean

Action = Literal["up", "down", "status"]
Words = Sequence[str]

PLACEHOLDER = "CHANGE_ME"
# What to do where a tool is missing.
_TOOLS = {
    "ray": "It comes with tuner: pip install 'ray[default]', or activate the environment that has it.",
    "kubectl": "Install it from https://kubernetes.io/docs/tasks/tools/ and let it reach your Kubernetes cluster.",
    "docker": "Install Docker with its compose plugin from https://docs.docker.com/engine/install/.",
    "sbatch": "It is there on the login node of a SLURM cluster: run this there.",
    "squeue": "It is there on the login node of a SLURM cluster: run this there.",
    "scancel": "It is there on the login node of a SLURM cluster: run this there.",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file. `commands`: what is run for each action; `token`: whether Ray's token must be on this machine before `up`."""

    what: str
    commands: Mapping[Action, Callable[[Path, Words], list[str]]]
    token: bool = False


def run(action: Action, file: str, more: Words = ()) -> int:
    """Runs the file's tool, whose words are the user's to read. Its exit code.

    Raises:
        UserError: there is no such file, nobody reads it, it is not filled in, or its tool is missing.
    """
    path = found(file)
    kind = kind_of(path)
    if action == "up":
        _check_filled_in(path)
    command = kind.commands[action](path, more)
    command[0] = _tool(command[0])
    environment = dict(os.environ)
    if kind.token and action == "up":
        from .token import protect_token

        protect_token()
    if kind is _LOCAL:  # it imports tuner: this one, also where it lies in a checkout
        environment["PYTHONPATH"] = os.pathsep.join([str(layout.ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    if kind is _COMPOSE:
        _check_compose(command[0])
        environment["RAY_AUTH_TOKEN"] = _token()  # compose asks for it whatever it does
    return subprocess.run(command, env=environment, check=False).returncode


def shipped() -> list[str]:
    """The files that come with tuner."""
    return sorted(
        path.name for path in layout.folder("clusters").iterdir() if path.is_file() and path.name not in ("README.md", "versions.env")
    )


def copy(name: str) -> Path:
    """Copies a shipped file into the current folder.

    Raises:
        UserError: there is none of that name, or the current folder has one already.
    """
    if name not in shipped():
        raise UserError(f"No cluster file '{name}' comes with tuner.{did_you_mean(name, shipped())} There are: {', '.join(shipped())}.")
    target = Path(name)
    if target.exists():
        raise UserError(f"There is a file {name} here already. Move it away, or copy into another folder.")
    try:
        return Path(shutil.copyfile(layout.folder("clusters") / name, target))
    except OSError as error:
        raise UserError(f"{target.absolute()} cannot be written: {error.strerror or error}.") from error


def found(file: str) -> Path:
    """The file by its path; `local` is the shipped one."""
    if Path(file).is_file():
        return Path(file)
    if file in ("local", "local.py"):
        return layout.folder("clusters") / "local.py"
    if file in shipped():
        raise UserError(f"There is no file {file} here. The one that comes with tuner must be filled in first: tuner cluster copy {file}")
    raise UserError(
        f"There is no file {file}.{did_you_mean(file, [*shipped(), 'local'])} `tuner cluster copy` lists those that come with tuner."
    )


def kind_of(path: Path) -> Kind:
    """Who reads the file, by what it is called and what stands in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if path.name == "local.py":
        return _LOCAL
    if re.search(r"^#SBATCH ", text, re.M):
        return _slurm(text)
    if path.suffix in (".yaml", ".yml"):
        try:
            documents: list[Any] = [one for one in yaml.safe_load_all(text) if one is not None]
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number or a date that Python has none of
            raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
        if documents and all(isinstance(one, dict) for one in documents):
            for keys, kind in _YAMLS:
                if all(keys <= one.keys() for one in documents):
                    return kind
    raise UserError(
        f"{path} is no cluster file that tuner knows: one for `ray up` (it has cluster_name and provider), for kubectl (apiVersion and "
        "kind), for docker compose (services), or a batch script with #SBATCH lines. `tuner cluster copy` lists those that come with tuner."
    )


# --- the kinds ---------------------------------------------------------------------------------------------------------

_LOCAL = Kind(
    what="this machine",
    commands={
        "up": lambda path, more: ["python", str(path), "up", *more],
        "down": lambda path, more: ["python", str(path), "down", *more],
        "status": lambda path, more: ["python", str(path), "status", *more],
    },
)
_RAY_UP = Kind(
    what="ray up",
    token=True,
    commands={
        "up": lambda path, more: ["ray", "up", str(path), *more],
        "down": lambda path, more: ["ray", "down", str(path), *more],
        "status": lambda path, more: ["ray", "exec", str(path), "ray status", *more],
    },
)
_KUBERNETES = Kind(
    what="kubectl",
    commands={
        "up": lambda path, more: ["kubectl", "apply", "-f", str(path), *more],
        "down": lambda path, more: ["kubectl", "delete", "-f", str(path), *more],
        "status": lambda path, more: ["kubectl", "get", "-f", str(path), *more],
    },
)
_COMPOSE = Kind(
    what="docker compose",
    token=True,
    commands={
        "up": lambda path, more: ["docker", "compose", "-f", str(path), "up", "-d", *more],
        "down": lambda path, more: ["docker", "compose", "-f", str(path), "down", *more],
        "status": lambda path, more: ["docker", "compose", "-f", str(path), "ps", *more],
    },
)
_YAMLS: tuple[tuple[set[str], Kind], ...] = (
    ({"apiVersion", "kind"}, _KUBERNETES),
    ({"cluster_name", "provider"}, _RAY_UP),
    ({"services"}, _COMPOSE),
)


def _slurm(text: str) -> Kind:
    named = re.search(r"^#SBATCH\s+(?:--job-name[= ]|-J\s*)(\S+)", text, re.M)

    def mine() -> list[str]:
        name = [f"--name={named[1]}"] if named else []
        return [f"--user={getpass.getuser()}", *name]

    def cancel(path: Path, more: Words) -> list[str]:
        if more:
            return ["scancel", *more]
        listed = subprocess.run([_tool("squeue"), *mine(), "--noheader", "--format=%i"], capture_output=True, text=True, check=False)
        jobs = listed.stdout.split()
        if listed.returncode != 0 or len(jobs) != 1:
            which = f"these jobs are: {', '.join(jobs)}" if jobs else "no job is"
            found = (
                listed.stderr.strip()
                if listed.returncode
                else f"Of the name {named[1] if named else '(none given)'}, {which} queued or running."
            )
            raise UserError(f"{found} Say which one to end: tuner cluster down {path} JOB")
        return ["scancel", jobs[0]]

    return Kind(
        what="sbatch",
        commands={
            "up": lambda path, more: ["sbatch", str(path), *more],
            "down": cancel,
            "status": lambda path, more: ["squeue", *mine(), *more],
        },
    )


# --- what must be so before -----------------------------------------------------------------------------------------------


def _check_filled_in(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    left = [f"  {path.name}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if PLACEHOLDER in line.split("# ")[0]]
    if left:
        raise UserError("\n".join([f"{path} is not filled in. Replace {PLACEHOLDER}:", *left]))


def _tool(name: str) -> str:
    """Where a tool is: on PATH, or beside this Python, whose environment need not be activated."""
    if name == "python":
        return sys.executable
    path = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise UserError(f"There is no `{name}` on this machine. {_TOOLS[name]}")
    return path


def _check_compose(docker: str) -> None:
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode != 0:
        raise UserError("This `docker` has no `docker compose`. Install its compose plugin: https://docs.docker.com/compose/install/.")


def _token() -> str:
    from .token import token_file

    given = os.environ.get("RAY_AUTH_TOKEN")
    try:
        return given or token_file().read_text().strip()
    except OSError:
        return "none"  # `down` and `status` do not use it

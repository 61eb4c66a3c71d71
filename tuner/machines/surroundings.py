"""What a machine must have before Ray starts on it: room for the paths of its sockets, and a loopback interface."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import UserError

_LONGEST = 103 if sys.platform == "darwin" else 107  # bytes in a socket's path
# What Ray puts behind its folder: a session by time and process, and a socket.
_BEHIND = len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store.1")
_BEHIND_OF_PYTHON = len("/pymp-abcdefgh/listener-abcdefgh")  # multiprocessing's fork server
_SHORT = Path("/tmp")


def short_folder() -> str | None:
    """A folder for Ray of our own where TMPDIR or RAY_TMPDIR, as batch systems set them, is too long for a socket's path; else None: Ray's.

    Raises:
        UserError: there is no shorter one.
    """
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), None)
    return None if variable is None else _shorter(variable, _BEHIND)


@contextmanager
def short_temporary() -> Iterator[str | None]:
    """The processes that Ray starts meanwhile get a folder of our own as TMPDIR where this one's is too long: those of its dashboard make
    sockets in it. Gives the TMPDIR that the trials are to have all the same; None: nothing has changed.

    Raises:
        UserError: there is no shorter one.
    """
    before = os.environ.get("TMPDIR")
    short = None if not before else _shorter("TMPDIR", _BEHIND_OF_PYTHON)
    if before is None or short is None:
        yield None
        return
    tempfile.gettempdir()  # this process keeps it
    os.environ["TMPDIR"] = short
    try:
        yield before
    finally:
        os.environ["TMPDIR"] = before


def _shorter(variable: str, behind: int) -> str | None:
    """A folder of our own where a socket in what `variable` says, with so many bytes behind it, would have too long a path."""
    if len(os.fsencode(os.environ[variable])) + behind <= _LONGEST:
        return None
    folder = _SHORT / f"tuner-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(13, "it belongs to somebody else")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"Ray's sockets need a folder with a path of at most {_LONGEST - behind} bytes, but {variable} is {os.environ[variable]}, and "
            f"{folder} cannot be used: {error.strerror or error}. Set RAY_TMPDIR to a short path that can be written."
        ) from error
    return str(folder)


def check_loopback() -> None:
    """Ray's parts talk to each other on this machine by it; without one they wait for each other for minutes.

    Raises:
        UserError: there is none.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=10):
            pass
    except OSError as error:
        raise UserError(
            f"This machine has no loopback interface (127.0.0.1: {error.strerror or error}), by which Ray's processes talk to each other. "
            "In a container or a network namespace: ip link set lo up. `tuner train` needs none."
        ) from error

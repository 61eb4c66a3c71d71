"""The page about a run, served to browsers of this machine while the search goes on. Nothing but reading: no request changes anything."""

from __future__ import annotations

import errno
import html
import ipaddress
import os
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tuner.errors import UserError, first_line
from tuner.runs.paths import CONFIRM, JOURNAL, SPEC, STATUS
from tuner.runs.results import no_such_run

from .material import read_material
from .page import page, waiting_page
from .sections import Part

HOST, PORT = "127.0.0.1", 8800
_LEAST_S = 2.0  # between two pages
_SHARE = 4  # a page that took one second to make stands for four: most of the processor belongs to the search


@dataclass(frozen=True, kw_only=True)
class Served:
    """A page as it is sent. `version`: another one with every page; the browser asks for it."""

    version: str
    content: bytes


class Pages:
    """The newest page about a run. It is made anew in the background, when somebody asks and the journal has grown; who asks is given
    at once what there is."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._served = _waiting("0", f"Reading {folder.name}.")
        self._made_of: object = None
        self._made, self._due, self._building = 0, 0.0, False

    def current(self) -> Served:
        """What there is now."""
        now = _state(self._folder)
        with self._lock:
            if now != self._made_of and not self._building and time.monotonic() >= self._due:
                self._building = True
                threading.Thread(target=self._make, args=(now,), name="page", daemon=True).start()
            return self._served

    def _make(self, state: object) -> None:
        began, version, served = time.monotonic(), str(self._made + 1), None
        try:
            run = read_material(self._folder)
            part = Part.of(run, pictures=run.results.status == "done")  # of the winner: who it is, changes until then
            served = Served(version=version, content=page([part], served=version).encode())
        except Exception as error:  # a file that is just being written, or a damaged one: the next time says more
            if not self._made:
                served = _waiting(version, first_line(error))
        with self._lock:
            if served is not None:
                self._served, self._made = served, int(served.version)
            self._made_of, self._building = state, False
            self._due = time.monotonic() + max(_LEAST_S, _SHARE * (time.monotonic() - began))


def _waiting(version: str, text: str) -> Served:
    return Served(version=version, content=waiting_page(html.escape(text), version).encode())


def _state(folder: Path) -> object:
    """By which it is seen that there is something new."""
    found = []
    for name in (JOURNAL, STATUS, f"{CONFIRM}/{JOURNAL}"):
        try:
            about = (folder / name).stat()
            found.append((about.st_size, about.st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return found


def serve(folder: Path, host: str, port: int, say: Callable[[str], object]) -> None:
    """Serves the page about the run in `folder` until Ctrl-C. `say`: told the address.

    Raises:
        UserError: there is no run, or as `Server`.
    """
    if not (folder / SPEC).is_file():
        raise no_such_run(folder)
    with suppress(KeyboardInterrupt), Server(folder, host, port) as server:
        say(server.url)
        server.serve_forever()


class Server(ThreadingHTTPServer):
    """Answers on a loopback address. `url`: where.

    Raises:
        UserError: the address is no loopback's, or the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True  # one that has just ended keeps nobody out

    def __init__(self, folder: Path, host: str = HOST, port: int = PORT) -> None:
        self.pages = Pages(folder)
        try:
            address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            address = None
        if address is None or address.version != 4 or not address.is_loopback:
            raise UserError(
                f"--host must be a loopback address such as {HOST}, but is '{host}': others could read the run. To see it from elsewhere:"
                f" ssh -L {port or PORT}:{HOST}:{port or PORT} {os.uname().nodename}"
            )
        if not 0 <= port <= 65535:
            raise UserError(f"--port must be from 0 to 65535, but is {port}; 0 is any that is free.")
        try:
            super().__init__((str(address), port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "taken" if error.errno == errno.EADDRINUSE else "not yours to open"
            raise UserError(f"Port {port} is {why}. Say another one, such as --port {port % 60000 + 1024}, or --port 0 for any.") from error
        self.url = f"http://{address}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Without the base class's question for this machine's name, which may wait for a network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away in the middle of an answer is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    """`/` is the page, `/version` its version."""

    server: Server

    def do_GET(self) -> None:
        if (self.headers.get("Host") or "").rpartition(":")[0].lower() not in ("localhost", str(self.server.server_address[0])):
            # A foreign page whose name was pointed at this machine would otherwise read the run through its visitor's browser.
            self.send_error(HTTPStatus.FORBIDDEN, "This page is for this machine alone")
            return
        if self.path not in ("/", "/version"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        served = self.server.pages.current()
        content, kind = (served.content, "text/html") if self.path == "/" else (served.version.encode(), "text/plain")
        self.send_response(HTTPStatus.OK)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: every open page asks every few seconds."""

"""Ray's dashboard, some seconds after Ray: beside the first trials it would take two cores for two seconds of what they wait for."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tuner.errors import first_line

from .surroundings import short_temporary

logger = logging.getLogger("tuner")

DELAY_S = 10.0  # from Ray's start on
HANGS_S = 5.0  # how long whoever closes Ray waits for a start that is under way
PATIENCE_S = 30.0  # how long a start that failed is no news
HOST = "127.0.0.1"
_PORT = 8265  # Ray's own choice; the next free one where another search has it
_TRIES = 50


class LateDashboard:
    """A dashboard whose address is known before it is started. Its port is reserved until then.

    Where this version of Ray is not as it was read, Ray starts its dashboard itself, and waits for it.
    """

    def __init__(self) -> None:
        self._start: Callable[[], None] | None = None
        self._reserved: socket.socket | None = None
        self._starting, self._over = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Ray starts within it, without its dashboard."""
        from .ray_names import DASHBOARD_STARTED, replaced

        with replaced(DASHBOARD_STARTED, self._put_off):
            yield

    def _put_off(self, known: Callable[..., None], node: Any, **how: Any) -> None:
        if not how["include_dashboard"]:
            node._webui_url = ""
            return
        self._reserved = _reserved()
        port = self._reserved.getsockname()[1]
        node._webui_url = f"{HOST}:{port}"  # `ray.init` gives it back, and workers are told of it by their node
        node._ray_params.dashboard_port = port

        def start() -> None:
            with short_temporary():  # as when Ray started
                known(node, **how | {"raise_on_failure": False})
            if node._webui_url is None:
                raise RuntimeError("dashboard.log in the folder that `ray` keeps for this session says why")

        self._start = start

    def start(self) -> None:
        """Starts it after the delay, in the thread that calls: it dies with that one. Not at all where it was closed before."""
        if self._start is None or self._over.wait(DELAY_S):
            return
        with self._starting:
            if self._over.is_set():
                return
            self._free()
            try:
                self._start()
                return
            except Exception as error:  # Ray would end with this thread, and the search with Ray
                reason = first_line(error)
        if not self._over.wait(PATIENCE_S):  # Ctrl-C ends what is starting, and then the search: that is no news
            logger.warning("Ray's dashboard did not start, and the search goes on without it: %s", reason)

    def close(self) -> None:
        """Before Ray is shut down: prevents a start, and waits for one that is under way, but not for one that hangs."""
        self._over.set()
        if self._starting.acquire(timeout=HANGS_S):
            self._free()
            self._starting.release()

    def _free(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None


def _reserved() -> socket.socket:
    """A socket on a port that nobody else gets while it is open. It does not listen."""
    for port in (*range(_PORT, _PORT + _TRIES), 0):
        found = socket.socket()
        try:
            found.bind((HOST, port))
        except OSError:
            found.close()
            continue
        return found
    raise OSError(f"{HOST} has no free port")

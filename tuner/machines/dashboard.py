"""The connection to a cluster's dashboard, through which searches are submitted."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tuner.errors import UserError, first_line

from .token import token_file

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # a head's own dashboard, or a tunnel to it


@contextlib.contextmanager
def connected(address: str) -> Iterator[JobSubmissionClient]:
    """A client of the cluster's dashboard.

    Raises:
        UserError: nobody answers there, it is no dashboard of Ray's, or it refuses; also where that happens later on.
    """
    url = _checked(address)
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient
    from requests.exceptions import RequestException

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.ERROR)
    token = _token()
    try:
        yield JobSubmissionClient(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    except AuthenticationError as error:
        what = "its token is another than this machine's" if token else "it asks for a token, and this machine has none"
        raise UserError(
            f"The Ray cluster at {url} refuses: {what}. Copy the file ~/.ray/auth_token of its head here, readable to you alone, "
            "or set RAY_AUTH_TOKEN."
        ) from error
    except (RequestException, ConnectionError) as error:
        raise UserError(f"The Ray cluster at {url} does not answer any more: {first_line(error)}") from error
    except RuntimeError as error:
        raise UserError(f"The Ray cluster at {url} refuses: {first_line(error)}") from error


def _checked(address: str) -> str:
    """Ray itself would try for minutes where nobody answers."""
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(
            f"--address {address} is no dashboard of Ray's: give its http://HOST:PORT, such as {DEFAULT_ADDRESS}. "
            "Port 6379, which `tuner search` joins, takes no submissions."
        )
    port = port or (443 if parts.scheme == "https" else 8265)
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise UserError(
            f"No Ray dashboard answers at {address}: {error.strerror or error}. It listens on its own machine's loopback: "
            f"reach it through a tunnel, such as ssh -L 8265:127.0.0.1:8265 HEAD, and {DEFAULT_ADDRESS}."
        ) from error
    return f"{parts.scheme}://{host if ':' not in host else f'[{host}]'}:{port}{parts.path.rstrip('/')}"


def _token() -> str | None:
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if given := os.environ.get("RAY_AUTH_TOKEN"):
        return given
    with contextlib.suppress(OSError):
        return token_file().read_text().strip() or None
    return None

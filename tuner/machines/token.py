"""The token without which nobody joins Ray's clusters on this account, in a file of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from tuner.errors import UserError


def token_file() -> Path:
    """Where Ray keeps the token that its clusters on this account ask for."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def protect_token() -> None:
    """Makes the token's file, and makes it readable to its owner alone. Ray itself would let everybody read it.

    Raises:
        UserError: it cannot be written.
    """
    path = token_file()
    if os.environ.get("RAY_AUTH_TOKEN") and not path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise UserError(
            f"Ray's token cannot be kept in {path}: {error.strerror or error}. Set RAY_AUTH_TOKEN_PATH to a file that can be written."
        ) from error

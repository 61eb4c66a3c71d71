"""Files that are written whole or not at all. Standard library only."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` for a new file or folder, which takes the place of `path` at the end of the block.

    A reader finds the old content or the new one, never half. If the block fails, `path` is as it was.

    Raises:
        OSError: `path` cannot be written. A folder replaces nothing but an empty folder.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Replaces the file by one with this text."""
    with whole(path) as part:
        part.write_text(text)

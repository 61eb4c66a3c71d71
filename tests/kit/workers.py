"""The processes of our own Ray in which trials run. Another Ray's on the same machine are not ours to kill."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path


def worker(title: str) -> int:
    """The process of one of our workers, by how Ray titles it, such as `ray::PackHost`. Workers are children of Ray's raylet, which
    is ours."""
    parents, titles = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(path.name)] = (path / "cmdline").read_text()
    ours = [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]
    return next(pid for pid in ours if re.match(title, titles.get(pid, "")))

"""Which folder a run's name means, on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from tuner.errors import UserError
from tuner.runs.paths import SPEC
from tuner.text import near

RUNS = "runs"  # where runs are kept, unless --out says otherwise


def folder_and_uri(out: str | None) -> tuple[Path, str | None]:
    """The folder on this machine that holds the runs, and the place that they are sent to, where `out` is one."""
    from .store import is_uri, local_place

    out = out or RUNS
    return (local_place(out), out) if is_uri(out) else (Path(out), None)


def as_typed(folder: Path) -> str:
    """A run as a command takes it: by its name where that is enough."""
    return shlex.quote(folder.name if folder.absolute().parent == Path(RUNS).absolute() else near(folder))


def run_folder(run: str, out: str | None, *, whole: bool = False) -> Path:
    """A run's folder by its path or URI, or by its name: under `out` where that was given, else in `runs/` or the current folder. A run in
    a store is brought here: to go on with it if `whole`.

    Raises:
        UserError: without `out`, there are runs of that name in both places.
    """
    from .store import Store, is_uri

    is_path = not is_uri(run) and (os.sep in run or run in (os.curdir, os.pardir))
    if is_path:
        return Path(run).expanduser()
    if is_uri(run) or (out is not None and is_uri(out)):
        from .downloads import bring

        return bring(run if out is None or is_uri(run) else Store(out).at(run).uri, whole=whole)
    kept, here = Path(out or RUNS).expanduser() / run, Path(run)
    if out is not None or not (here / SPEC).is_file():
        return kept
    if (kept / SPEC).is_file() and not kept.samefile(here):
        raise UserError(f"There are two runs '{run}': {here.absolute()} and {kept.absolute()}. Write ./{run}, or --out {RUNS}.")
    return here

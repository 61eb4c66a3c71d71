"""`tuner clean`: what of a run is not needed to show it, to resume it, or to use its winner."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .course import course_file
from .lock import LOCK, RunLock, check_free, is_gone
from .orders import ORDERS
from .paths import CHECKPOINTS, CONFIRM, SPEC, STUDY, warm_file, weights_file
from .results import read_run
from .winner import keeps_weights

_NUMBER = re.compile(r"(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was found in a run. `found`: paths, each with why it is not needed."""

    folder: Path
    found: Sequence[tuple[str, Path, int]]  # why, what, bytes


def scratch_prefix(run: str) -> str:
    """How the folder is called that Ray Tune insists on, beside other temporary files: a driver that is killed leaves it behind."""
    return f"tuner-{run}-{os.getpid()}-"


def clean(folders: Sequence[Path], *, dry_run: bool) -> Iterator[Cleaned]:
    """Removes it, run after run, and says what it was.

    Raises:
        UserError: one of them runs, or is damaged. Nothing has been removed then.
    """
    for folder in folders:
        check_free(folder)
    found = [Cleaned(folder=folder, found=[(why, path, _size(path)) for why, path in _unneeded(folder)]) for folder in folders]
    for one in found:
        if not dry_run:
            with RunLock(one.folder):
                for _, path, _ in one.found:
                    _remove(path)
                for left in (CHECKPOINTS, ORDERS, f"{CONFIRM}/{CHECKPOINTS}"):
                    with contextlib.suppress(OSError):
                        (one.folder / left).rmdir()  # if it is empty
        yield one


def _unneeded(folder: Path) -> Iterator[tuple[str, Path]]:
    """In a run's folder, and in that of its confirmation, whose best weights stay: with more seeds another may win."""
    yield from _left_by_search(folder)
    if not (folder / CONFIRM / SPEC).is_file():
        return
    trained = read_run(folder / CONFIRM)
    over = {end.trial for end in trained.trials if end.is_over}
    for path in sorted((folder / CONFIRM / CHECKPOINTS).glob("*")):
        number = _NUMBER.match(path.name)
        if path.name.startswith("."):
            yield "half-written checkpoints", path
        elif number is not None and int(number[1]) in over and path not in _kept(folder / CONFIRM, int(number[1])):
            yield "checkpoints of trials that have ended", path
    yield from _left_by_driver(folder / CONFIRM, trained.name)


def _kept(folder: Path, trial: int) -> tuple[Path, Path]:
    """What is kept of a winner."""
    return weights_file(folder, trial), course_file(folder, trial)


def _left_by_search(folder: Path) -> Iterator[tuple[str, Path]]:
    results = read_run(folder)
    over = {trial.trial for trial in results.trials if trial.is_over}
    best = results.best()
    winners = [] if best is None else [*_kept(folder, best.trial)]  # if its driver died before they could be
    winners += [weights_file(folder, end.trial) for end in results.trials if keeps_weights(end)]
    for path in sorted((folder / CHECKPOINTS).glob("*")):
        number = _NUMBER.match(path.name)
        if path.name.startswith("."):
            yield "half-written checkpoints", path
        elif number is not None and int(number[1]) in over and path not in winners:
            yield "checkpoints of trials that have ended", path
        elif results.status == "done" and path.match(warm_file(folder, "*").name):
            yield "what warm-started trials began with", path
    yield from _left_by_driver(folder, results.name)
    for path in sorted((folder / ORDERS).glob("*")):
        if path.suffix != ".json":
            yield "answers that nobody waited for", path


def _left_by_driver(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """By one that was killed."""
    for pattern in (LOCK, f"{STUDY}*.lock", f"{STUDY}.new", "*.tmp", ".*.part*", f".{LOCK}.*"):
        for path in sorted(folder.glob(pattern)):
            yield "left by a driver that was killed while it wrote", path
    for path in sorted(Path(tempfile.gettempdir()).glob(f"tuner-{name}-*-*")):
        run, pid, _ = path.name.rsplit("-", 2)  # the random end has no dash
        if run == f"tuner-{name}" and pid.isdecimal() and is_gone(int(pid)):
            yield "scratch folders of Ray Tune", path


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

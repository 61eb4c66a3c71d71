"""A data set that is read once per machine: whoever needs it first leaves it as files, which all other processes map.

Mapped pages are shared: however many trials train on a machine's CPUs, its memory holds the samples once. The files lie in the temporary
folder, on the machine itself, where a network folder would be slower than reading anew; the newest `KEPT` data sets stay there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from tuner.atomic import whole

from .datasets import Data, DatasetSpec, load
from .fingerprint import Fingerprint
from .published import PUBLISHED
from .scaling import Intake

logger = logging.getLogger("tuner")

KEPT = 4
_ABOUT = "about.json"


def load_once(dataset: DatasetSpec, root: Path) -> Data:
    """As `load(dataset, root)` gives it, from files that another process of this machine left, where there are any.

    Raises:
        UserError: as `load`.
    """
    try:
        folder, key = _own_folder(), _key(dataset, root)
        with _alone(folder):
            kept = _kept(folder / key)
            while kept is None:
                loaded, before, key = load(dataset, root), key, _key(dataset, root)
                if key == before:  # else its files were fetched, or written, while they were read
                    _keep(loaded, folder / key)
                kept = _kept(folder / key)
    except OSError as error:  # a full disk, for instance
        logger.warning("The data cannot be shared among this machine's processes: %s. Each reads them by itself.", error)
        kept = None
    return kept or load(dataset, root)


def _own_folder() -> Path:
    """Nobody else may write there: what lies there is trained on.

    Raises:
        OSError: it cannot be made, or is another's.
    """
    folder = Path(tempfile.gettempdir()) / f"tuner-data-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} is not this account's alone")
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the others find what it left."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(dataset: DatasetSpec, root: Path) -> str:
    """Of all that decides the content: what was asked for, what its files hold, and the code that reads them. Not of size and time, which
    another file may have, too."""
    name, _, path = dataset.name.partition(":")
    files = [root / file for file in (PUBLISHED[name].files if name in PUBLISHED else ())]
    if path:
        files = sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]
    readers = sorted(Path(__file__).parent.glob("*.py"))
    content = [dataset.written(), [str(file) for file in files] if path and Path(path).is_dir() else []]
    content += [_digest(file) for file in (*files, *readers) if file.is_file()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(loaded: Data, path: Path) -> None:
    """Whole or not at all."""
    test = None if loaded.test is None else [loaded.test.start, loaded.test.stop]
    about = {"name": loaded.name, "shape": loaded.shape, "test": test, "n_classes": loaded.n_classes, "labels": loaded.y_N is not None}
    identity = {"identity": loaded.identity.written(), "intake": loaded.intake.written()}
    with whole(path) as part:
        part.mkdir(mode=0o700)
        np.save(part / "x.npy", loaded.x_ND.numpy())
        if loaded.y_N is not None:
            np.save(part / "y.npy", loaded.y_N.numpy())
        (part / _ABOUT).write_text(json.dumps(about | identity))
    old = sorted(path.parent.glob(f"*/{_ABOUT}"), key=lambda file: file.stat().st_mtime_ns)[:-KEPT]
    for file in old:
        shutil.rmtree(file.parent)  # who has mapped it keeps it


def _kept(path: Path) -> Data | None:
    if not (path / _ABOUT).is_file():
        return None
    about = json.loads((path / _ABOUT).read_text())
    data = Data(
        name=about["name"],
        x_ND=_mapped(path / "x.npy"),
        y_N=_mapped(path / "y.npy") if about["labels"] else None,
        shape=tuple(about["shape"]),
        test=None if about["test"] is None else slice(*about["test"]),
        n_classes=about["n_classes"],
        scaling=Intake.read(about["intake"]).scaling,
    )
    identity = Fingerprint.read(about["identity"])
    assert identity is not None, path
    vars(data).update(identity=identity, fingerprint=identity.values)  # hashed once per machine, not by each of its processes
    return data


def _mapped(path: Path) -> torch.Tensor:
    """Copy on write: a process that changed its samples would change its own alone."""
    return torch.from_numpy(np.load(path, mmap_mode="c"))

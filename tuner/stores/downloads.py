"""Runs in a store, brought to a local folder: to be looked at, or to go on here."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import yaml

from tuner import atomic
from tuner.errors import UserError
from tuner.runs.paths import CONFIRM, JOURNAL, SPEC, STATUS

from .store import Store, local_place, reason
from .uploads import CHECKPOINTS, COPY, SEGMENTS, segments

AT_ONCE = 8
_TO_GO_ON = (CHECKPOINTS, "wandb/")  # and not to look at


def bring(uri: str, *, whole: bool) -> Path:
    """The run at this URI in its local folder. What was worked on here and is ahead of the store is left as it is.

    `whole`: with what going on needs beside what looking at it does.

    Raises:
        UserError: there is no run, the store cannot be read, or the run has gone on there and here in two ways.
    """
    store = Store(uri)
    with _readable(store):
        return _bring(store, whole=whole)


def bring_all(uri: str) -> Path:
    """All runs under this URI, to be looked at, in the folder that holds them here."""
    store, out = Store(uri), local_place(uri)
    with _readable(store):
        names = [name for name in store.folders() if SPEC in store.at(name).files()]
        for path in out.glob(f"*/{COPY}"):
            if path.parent.name not in names:
                shutil.rmtree(path.parent)
        for name in names:
            _bring(store.at(name), whole=False)
    return out


@contextlib.contextmanager
def _readable(store: Store) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise UserError(f"{store.place} cannot be read: {reason(error)}.") from error


def _bring(store: Store, *, whole: bool) -> Path:
    files, (above, _, name) = store.files(), store.place.rpartition("/")
    folder = local_place(above) / name
    # A driver that was killed before anything had reached the store leaves all of its run here.
    began_here = (folder / SPEC).is_file() and not (folder / COPY).exists()
    if SPEC not in files and not began_here:
        raise UserError(f"There is no run '{store.place}'. `tuner ls --out {above}` lists those that there are.")
    journal = b"".join(content or b"" for content in _read(store, [key for _, key in segments(files)]))
    if _is_here(folder, store, journal, whole=whole):
        return folder
    keys = [key for key in files if not key.startswith(SEGMENTS) and (whole or not key.startswith(_TO_GO_ON))]
    with atomic.whole(folder) as fresh:
        for key, content in zip(keys, _read(store, keys), strict=True):
            if content is not None:
                _write(fresh, key, content)
        (fresh / JOURNAL).write_bytes(journal)
        (fresh / COPY).write_text("whole" if whole else "")
        _drop_what_the_winner_has(fresh)
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def _is_here(folder: Path, store: Store, journal: bytes, *, whole: bool) -> bool:
    """Whether the folder need not be fetched: a copy that is as the store is, or what a driver on this machine has come to.

    Raises:
        UserError: it is another run's, or has lines that the store has not, and the other way round.
    """
    if not (folder / SPEC).is_file():
        return False
    path = folder / JOURNAL
    mine = path.read_bytes() if path.exists() else b""
    mine = mine[: mine.rfind(b"\n") + 1]
    if (folder / COPY).exists():
        alike = all(_small(folder, name) == _read(store, [name])[0] for name in (STATUS, f"{CONFIRM}/{STATUS}"))
        return mine == journal and alike and (folder / COPY).read_text() >= ("whole" if whole else "")
    uri = str(json.loads((folder / SPEC).read_text()).get("uri"))
    if Store(uri).place != store.place:
        raise UserError(f"{store.place} would be brought to {folder}, where a run of {uri} is. Move that folder away.")
    if not mine.startswith(journal) and not journal.startswith(mine):
        raise UserError(
            f"{store.place} has gone on elsewhere, without what lies in {folder}. Move that folder away to go on with what is in the store."
        )
    return mine.startswith(journal)


def _small(folder: Path, name: str) -> bytes | None:
    return (folder / name).read_bytes() if (folder / name).exists() else None


def _read(store: Store, keys: Sequence[str]) -> list[bytes | None]:
    """The files' contents; None for one that is gone since it was listed."""

    def one(key: str) -> bytes | None:
        try:
            return store.read(key)
        except FileNotFoundError:
            return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, keys))


def _write(folder: Path, key: str, content: bytes) -> None:
    if ".." in PurePosixPath(key).parts or key.startswith("/"):  # a key may be anything
        raise UserError(f"The store has a file '{key}', which would lie outside of the run's folder. Nothing was changed.")
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _drop_what_the_winner_has(folder: Path) -> None:
    """A winner's weights become `best.safetensors`. If the driver died before it removed them from the store, they are older there."""
    best = folder / "best.yaml"
    if best.exists():
        trial = yaml.safe_load(best.read_text()).get("trial")
        if isinstance(trial, int):  # a confirmed default has none
            for name in (f"{trial:03d}.safetensors", f"{trial:03d}.course.safetensors"):
                (folder / CHECKPOINTS / name).unlink(missing_ok=True)

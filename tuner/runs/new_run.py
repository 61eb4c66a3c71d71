"""The folder of a run that begins: its place, its name, and the two files that say what it is."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuner.atomic import write_whole
from tuner.errors import UserError
from tuner.names import check_name
from tuner.own_models import keep

from .events import Run
from .paths import SPACE, SPEC

if TYPE_CHECKING:
    from tuner.space.spec import Spec


class Place(Protocol):
    """A store that runs are sent to."""

    @property
    def uri(self) -> str: ...

    def folders(self) -> Sequence[str]: ...

    def at(self, name: str) -> Place: ...


def check_place(name: str | None, out: Path) -> None:
    """Raises UserError where no run of that name can be written in `out`. Leaves nothing behind."""
    out = out.expanduser().absolute()
    _check_name(name, out)
    _check_writable(out)


def _check_name(name: str | None, out: Path) -> None:
    if name is None:
        return
    check_name(name)
    if (out / name).exists():
        raise UserError(f"There is a run '{name}' in {out} already. Choose another --name, or leave it out: runs are numbered.")


def _check_writable(out: Path) -> None:
    """Finds out without leaving anything behind."""
    try:
        near = next(path for path in (out, *out.parents) if path.exists())
        if not near.is_dir():
            raise UserError(f"--out {out} cannot be written: {near} is a file.")
        tempfile.TemporaryFile(dir=near).close()
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}.") from error


def open_run(spec: Spec, name: str | None, out: Path, info: Mapping[str, Any], store: Place | None) -> Run:
    """Makes the folder of a run that begins. `info`: what its `spec.json` says beside the space. `store`: what the runs are sent to.

    Raises:
        UserError: it cannot be written, or the name is taken.
    """
    out = out.expanduser().absolute()
    try:
        folder = _new_folder(out, name, spec.name, [] if store is None else store.folders())
        info = {**info, "uri": store and store.at(folder.name).uri}
        (folder / SPACE).write_text(spec.text)
        if spec.source is not None:
            keep(spec.source, folder)
            info["model_source"] = spec.source.written()
        run = Run(name=folder.name, folder=folder, spec=spec, info=info)
        resolved = spec.resolved() | {"name": run.name, "space": spec.name, **info}
        write_whole(folder / SPEC, json.dumps(resolved, indent=2, default=str) + "\n")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    return run


def _new_folder(out: Path, name: str | None, default: str, taken: Sequence[str]) -> Path:
    """Makes the run's folder: whoever comes second at the same moment gets another. `taken`: names that it may not have."""
    out.mkdir(parents=True, exist_ok=True)
    if name is not None:
        try:
            (out / name).mkdir()
        except FileExistsError:
            _check_name(name, out)
            raise
        return out / name
    number = 1
    while True:
        folder = out / (default if number == 1 else f"{default}-{number}")
        with contextlib.suppress(FileExistsError):
            if folder.name not in taken:
                folder.mkdir()
                return folder
        number += 1

"""What a finished search has to show, in its own W&B run: pictures and tables as media, the winner as an artifact."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tuner.errors import first_line

from .exhibits import Exhibits
from .wandb_notes import Notes
from .wandb_opening import Opening
from .wandb_recorded import Recorded

ARRIVAL_S = 600  # for the winner's files, and as long again for all the rest
PREFIX = "report/"  # of the names of media: W&B groups them by it


class NotTakenError(Exception):
    """W&B did not take what it was given; the message is its own."""


def log_exhibits(search: Recorded, exhibits: Exhibits, mode: Literal["online", "offline"]) -> None:
    """Adds them to the search's own run, which goes on behind what it has. What is recorded offline lies in the run's folder, copies of
    the winner's files included, until `wandb sync` sends it.

    Raises:
        NotTakenError: W&B does not take them, or not all. It may be given them again.
    """
    try:
        with _files_of_artifacts_in(search.folder):
            _log(search, exhibits, mode)
    except Exception as error:  # W&B's own have no class in common: wandb.Error, those of its process, ValueError for names
        raise NotTakenError(first_line(error)) from error


def _log(search: Recorded, exhibits: Exhibits, mode: str) -> None:
    import wandb

    notes = Notes(search.folder)
    wandb.setup(settings=wandb.Settings(silent=True))
    opening = Opening(folder=search.folder, search=search.name, id=search.search_id, name=search.name, job_type="search")
    run = _opened(wandb, opening, mode)
    try:
        run.log(dict(_media(wandb, exhibits)), step=notes.step + 1)
        if exhibits.winner:
            artifact = wandb.Artifact(f"{run.id}-winner", type="model", metadata=dict(exhibits.about))
            for path in exhibits.winner:
                artifact.add_file(str(path))
            logged = run.log_artifact(artifact)
            if mode == "online":
                logged.wait(ARRIVAL_S)  # W&B takes and sends it in the background: only this says that the cloud refused it
    finally:
        try:
            run.finish()
        finally:  # a part may be there: what is given again must not come at the same step
            notes.note_search(notes.step + 1, notes.ends, run)


def _opened(wandb: Any, opening: Opening, mode: str) -> Any:
    """The search's own run, open again. W&B's process holds the id of a run for good whose opening failed, as it does where the cloud
    does not answer in time; a new process opens it."""
    patient = {"finish_timeout": ARRIVAL_S, "finish_timeout_raises": True}  # what has not arrived does not count as given
    try:
        return opening.open(mode, **patient)
    except Exception as error:  # no class of wandb's public ones
        if "is in use" not in str(error) or wandb.run is not None:  # a run of the user's own would be ended with that process
            raise
    wandb.teardown()  # the search has closed its runs
    wandb.setup(settings=wandb.Settings(silent=True))
    return opening.open(mode, **patient)


def _media(wandb: Any, exhibits: Exhibits) -> Iterator[tuple[str, Any]]:
    from PIL import Image

    for name, content in exhibits.images.items():
        yield f"{PREFIX}{name}", wandb.Image(Image.open(io.BytesIO(content)))
    for name, figure in exhibits.figures.items():
        yield f"{PREFIX}{name}", wandb.Plotly(figure)
    for name, sheet in exhibits.tables.items():
        rows = [list(row) for row in sheet.rows]
        yield f"{PREFIX}{name}", wandb.Table(columns=list(sheet.columns), data=rows, allow_mixed_types=True)


@contextmanager
def _files_of_artifacts_in(folder: Path) -> Iterator[None]:
    """W&B copies an artifact's files to the user's home until they are sent, which may be from elsewhere."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]

"""What a finished search has to show, in its own W&B run: pictures and tables as media, the winner as an artifact."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from .exhibits import Exhibits
from .wandb import FINISH_S, INIT_S
from .wandb_notes import Notes
from .wandb_recorded import Recorded, project

PREFIX = "report/"  # of the names of media: W&B groups them by it


def log_exhibits(search: Recorded, exhibits: Exhibits, mode: Literal["online", "offline"]) -> None:
    """Adds them to the search's own run, which goes on behind what it has. What is recorded offline lies in the run's folder, copies of
    the winner's files included, until `wandb sync` sends it.

    Raises:
        wandb.Error: W&B does not take them.
    """
    import wandb

    notes = Notes(search.folder)
    with _files_of_artifacts_in(search.folder):
        wandb.setup(settings=wandb.Settings(silent=True))
        run = wandb.init(
            mode=mode,
            project=project(),
            id=search.search_id,
            name=search.name,
            group=search.name,
            job_type="search",
            dir=str(search.folder),
            reinit="create_new",
            resume="allow",
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=INIT_S, finish_timeout=FINISH_S, x_disable_stats=True, x_save_requirements=False
            ),
        )
        run.log(dict(_media(wandb, exhibits)), step=notes.step + 1)
        if exhibits.winner:
            artifact = wandb.Artifact(f"{run.id}-winner", type="model", metadata=dict(exhibits.about))
            for path in exhibits.winner:
                artifact.add_file(str(path))
            run.log_artifact(artifact)
        run.finish()
        notes.note_search(notes.step + 1, notes.ends, run)


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

"""A search as a report in W&B: pictures and tables for its own run, and the report's specification."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tuner.errors import UserError
from tuner.runs.winner import BEST
from tuner.stores.lookup import as_typed
from tuner.text import near
from tuner.trackers.exhibits import Exhibits
from tuner.trackers.modes import wandb_mode
from tuner.trackers.wandb_login import why_offline
from tuner.trackers.wandb_media import PREFIX, NotTakenError, log_exhibits
from tuner.trackers.wandb_recorded import Recorded, project
from tuner.trackers.wandb_report import Axis, Specification, create

from . import words
from .exhibits import exhibits_of
from .material import Material
from .sections import Part

TITLE = 128  # characters that W&B takes


def send_to_wandb(part: Part, say: Callable[[str], None] = print, mode: str | None = None) -> Specification:
    """Gives the search's own W&B run its pictures, its tables and the winner, unless it has them, and makes the W&B report where W&B
    answers. Else the report's specification is kept in the run's folder, and whoever calls this again makes the report. `say`: prints a
    line for the user. `mode`: W&B's; None: as the environment has it.

    Raises:
        UserError: W&B was not told of the search or is disabled, the search has not ended, or W&B does not take what it is given. The
            specification is kept then.
    """
    results = part.run.results
    search = Recorded.of(results.folder, results.name)
    if results.status == "running":
        raise UserError(f"{results.name} has not ended, and its run in W&B is open: wait for its end.")
    mode = wandb_mode(mode)
    if mode == "disabled":
        raise UserError("W&B is disabled by WANDB_MODE or WANDB_DISABLED, and --wandb asks for it: leave one of them out.")
    why = "its mode is offline" if mode == "offline" else why_offline()
    made = _with_media(part, search, online=why is None and search.registered, say=say)
    if why is None:
        made, why = create(made)
    path = made.write(results.folder)
    if why is None:
        say(f"W&B: {made.url}")
    else:
        say(f"W&B: no report yet ({why}). It is kept in {near(path)}; to make it later:\n  {again(results.folder)}")
    return made


def again(folder: Path) -> str:
    """The command that makes the W&B report of the run in `folder`."""
    return f"tuner report {as_typed(folder)} --wandb"


def _with_media(part: Part, search: Recorded, *, online: bool, say: Callable[[str], None]) -> Specification:
    """The specification, and what it shows in the search's own run: given now, unless the run has it. What was recorded offline is sent
    by `wandb sync`, in its order."""
    folder, exhibits = part.run.results.folder, exhibits_of(part)
    made, before = _as_made_before(_specification(part.run, search, exhibits), folder)
    if before is not None and before.winner == made.winner:
        return made
    path = replace(made, winner="").write(folder)  # before the media: whatever becomes of them, it is kept
    try:
        log_exhibits(search, exhibits, "online" if online else "offline")
    except NotTakenError as error:
        raise UserError(
            f"W&B did not take the pictures and tables of {search.name}: {error}. The run and its page are as they were, and what the"
            f" report holds is kept in {near(path)}. To send all of it again: {again(folder)}"
        ) from error
    made.write(folder)
    if not online:
        say(f"W&B: pictures and tables recorded offline. To send them:\n  wandb sync {near(folder / 'wandb')}/*run-*")
    return made


def keep_for_wandb(part: Part) -> Path:
    """Keeps what the W&B report holds in the run's folder, and gives the file; nothing is given to W&B, and it is not asked.

    Raises:
        UserError: W&B was not told of the search.
    """
    folder = part.run.results.folder
    search = Recorded.of(folder, part.run.results.name)
    made, before = _as_made_before(_specification(part.run, search, exhibits_of(part)), folder)
    has_media = before is not None and before.winner == made.winner
    return (made if has_media else replace(made, winner="")).write(folder)


def _as_made_before(made: Specification, folder: Path) -> tuple[Specification, Specification | None]:
    """With the place in W&B of the run's report, where it has one; and the specification that the run had."""
    before = Specification.read(folder)
    if before is None:
        return made, None
    return replace(made, id=before.id, url=before.url, entity=made.entity or before.entity), before


def _specification(run: Material, search: Recorded, exhibits: Exhibits) -> Specification:
    results = run.results
    deciding = [metric.name for metric in results.metrics]
    known = [name for name in ("acc", "nmi") if name not in deciding and any(name in end.metrics for end in run.trials)]
    return Specification(
        project=project(),
        entity=os.environ.get("WANDB_ENTITY") or None,
        title=results.name[:TITLE],
        group=search.name,
        search=search.search_id,
        text=(f"{run.about.get('model', '')} on {run.about.get('dataset', {}).get('name', '')}", " ".join(words.verdict(run))),
        goal=results.goal,
        parameters=tuple(Axis(name=name, log=run.logarithmic(name)) for name in run.searched),
        curves=(*deciding, *known),
        media=tuple(f"{PREFIX}{name}" for name in (*exhibits.images, *exhibits.figures)),
        tables=("trials", *(f"{PREFIX}{name}" for name in exhibits.tables)),
        winner=_stamp(results.folder, len(run.trials), results.epochs),
    )


def _stamp(folder: Path, trials: int, epochs: int) -> str:
    """Of the winner and of how far the search has come."""
    best = folder / BEST
    content = best.read_bytes() if best.is_file() else b""
    return hashlib.sha256(content + f"\n{trials} {epochs}".encode()).hexdigest()[:16]

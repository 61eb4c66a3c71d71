"""What trackers are given at the end of a search, beside its page: the report in W&B, and artifacts in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuner.errors import UserError, first_line
from tuner.space.tracking import Mlflow
from tuner.trackers.wandb_notes import Notes
from tuner.trackers.wandb_recorded import SWEEP, Recorded
from tuner.trackers.wandb_report import can_be_made

from .exhibits import exhibits_of
from .sections import Part
from .sent import again, keep_for_wandb, send_to_wandb


def wandb_at_end(part: Part, mode: str | None) -> list[str]:
    """Makes the W&B report of a search that is over, or keeps it for later, and says so in lines for the user; none where W&B was not told
    of the search. Whatever goes wrong is among them: the search is finished. `mode`: the search's."""
    folder = part.run.results.folder
    if mode in (None, "disabled") or not (folder / "wandb" / SWEEP).is_file():
        return []
    said: list[str] = []
    try:
        arrived = mode != "offline" and Recorded.of(folder, part.run.results.name).registered
        if not can_be_made():  # whoever is offline has not asked for anything there
            return [f"W&B: for a report of this search: pip install 'tuner[wandb-report]', then {again(folder)}"] if arrived else []
        if not arrived:
            keep_for_wandb(part)
            return [f"W&B: the report is kept. To make it later: {again(folder)}"]
        if not _is_closed(part):
            return [f"W&B: no report yet, for the search itself has not arrived. To make it later: {again(folder)}"]
        send_to_wandb(part, said.append, mode)
    except KeyboardInterrupt:
        said.append(f"W&B: no report yet (interrupted). To make it later: {again(folder)}")
    except UserError as error:  # which names the command
        said.append(f"W&B: no report yet. {error}")
    except Exception as error:  # whatever it is, hours of training stand behind this moment
        said.append(f"W&B: no report yet ({first_line(error)}). To make it later: {again(folder)}")
    return said


def mlflow_at_end(part: Part, page: Path) -> list[str]:
    """Gives the search's own MLflow run the page, its pictures and tables, and the winner, where its space asked for MLflow. What goes
    wrong is a line for the user."""
    asked: Any = part.run.about.get("mlflow")
    if not asked:
        return []
    from tuner.trackers.mlflow_media import log_exhibits

    results = part.run.results
    try:
        log_exhibits(Mlflow(**asked), results.folder, results.spec_json, exhibits_of(part), page)
        return []
    except KeyboardInterrupt:
        return ["MLflow: it has not got all pictures and tables (interrupted). They are in the page."]
    except Exception as error:  # as above
        return [f"MLflow: it has not got the pictures and tables ({first_line(error)}). They are in the page."]


def _is_closed(part: Part) -> bool:
    """Whether the search's own run was closed behind its last trial: W&B's process would mix up two that are open."""
    notes = Notes(part.run.results.folder)
    return notes.closed and notes.ends >= sum(end.is_over and end.state != "stopped" for end in part.run.trials)

"""The page that a search ends with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import first_line
from tuner.report.at_end import mlflow_at_end, wandb_at_end
from tuner.report.write import write_report
from tuner.runs.results import read_run

logger = logging.getLogger("tuner")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a search ended with. `said`: lines for the user, of what became of the same in W&B."""

    file: Path
    said: Sequence[str] = ()


def page_at_end(folder: Path, status: str, data_root: Path | None = None, *, wandb: str | None = None) -> Page | None:
    """Writes the page about the run in `folder` where its space asks for one and it is done. What goes wrong is a warning: the search is
    finished, whatever becomes of its page. `data_root`: the folder of data files. `wandb`: W&B's mode, where a report in W&B belongs to
    the page."""
    if status != "done":
        return None
    try:
        if not read_run(folder).spec_json.get("report", True):
            return None
        written = write_report([folder], data_root=data_root)
        (part,) = written.parts
        return Page(file=written.page, said=[*wandb_at_end(part, wandb), *mlflow_at_end(part, written.page)])
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # whatever it is, hours of training stand behind this moment
        why = first_line(error)
    logger.warning("There is no page about %s: %s. To write it: tuner report %s", folder.name, why.rstrip("."), folder.name)
    return None

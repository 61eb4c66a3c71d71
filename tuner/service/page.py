"""The page that a search ends with."""

from __future__ import annotations

import logging
from pathlib import Path

from tuner.errors import first_line
from tuner.report.write import write_report
from tuner.runs.results import read_run

logger = logging.getLogger("tuner")


def page_at_end(folder: Path, status: str, data_root: Path | None = None) -> Path | None:
    """Writes the page about the run in `folder` where its space asks for one and it is done, and gives the page's file. What goes wrong is
    a warning: the search is finished, whatever becomes of its page. `data_root`: the folder of data files."""
    if status != "done":
        return None
    try:
        if not read_run(folder).spec_json.get("report", True):
            return None
        return write_report([folder], data_root=data_root).page
    except KeyboardInterrupt:
        why = "interrupted"
    except Exception as error:  # whatever it is, hours of training stand behind this moment
        why = first_line(error)
    logger.warning("There is no page about %s: %s. To write it: tuner report %s", folder.name, why.rstrip("."), folder.name)
    return None

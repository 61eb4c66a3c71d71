"""What a page shows, for trackers: its figures and tables, its pictures as images, and the winner's files."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import plotly.graph_objects

from tuner.runs.course import BEST_COURSE
from tuner.runs.paths import BEST_WEIGHTS
from tuner.runs.winner import BEST
from tuner.trackers.exhibits import Exhibits, Sheet

from .figure import Figure
from .sections import Part

_PNG = "data:image/png;base64,"


def exhibits_of(part: Part) -> Exhibits:
    """Those of a run's part of the page."""
    figures = [figure for section in part.sections for figure in section.figures]
    images = {figure.name: content for figure in figures if (content := _image(figure)) is not None}
    results, best = part.run.results, part.run.best
    return Exhibits(
        images=images,
        figures={figure.name: plotly.graph_objects.Figure(figure.plotly()) for figure in figures if figure.name not in images},
        tables=dict(_tables(part)),
        winner=[path for name in (BEST, BEST_WEIGHTS, BEST_COURSE) if (path := results.folder / name).is_file()],
        about={} if best is None else {"trial": best.trial, "metric": results.metric, "score": best.score},
    )


def _image(figure: Figure) -> bytes | None:
    """The PNG file that a figure of pictures is."""
    source = figure.traces[0].get("source", "") if len(figure.traces) == 1 else ""
    return base64.b64decode(source.removeprefix(_PNG)) if source.startswith(_PNG) else None


def _tables(part: Part) -> Iterator[tuple[str, Sheet]]:
    """Each by the title of its section; a section's second one, and so on, with its number."""
    for section in part.sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
        for i, table in enumerate(section.tables, 1):
            head = [column or "of" for column in table.head]
            yield name if i == 1 else f"{name}-{i}", Sheet(columns=head, rows=table.rows)

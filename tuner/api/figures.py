"""A report's figures as plotly's own objects."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects

from tuner.inference.clustered import Clustered
from tuner.report.winner import pictures
from tuner.report.write import figures_of


def figures(folder: Path) -> dict[str, plotly.graph_objects.Figure]:
    """Those of the run in `folder`, by name.

    Raises:
        UserError: the run is damaged or not there.
    """
    return {name: plotly.graph_objects.Figure(figure.plotly()) for name, figure in figures_of(folder).items()}


def figures_of_training(found: Clustered) -> dict[str, plotly.graph_objects.Figure]:
    """The pictures of one trained model, by name."""
    return {figure.name: plotly.graph_objects.Figure(figure.plotly()) for section in pictures(found) for figure in section.figures}

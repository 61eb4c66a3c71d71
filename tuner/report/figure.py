"""A figure of the page, as plotly draws it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours, which people with any kind of colour blindness tell apart: on a light page, and on a dark one.
COLOURS: Mapping[str, tuple[str, str]] = {
    "blue": ("#0072B2", "#4AA3DF"),
    "orange": ("#C77700", "#E69F00"),
    "green": ("#009E73", "#1FBF92"),
    "red": ("#D55E00", "#F0803C"),
    "sky": ("#3B9BD6", "#7CC7F2"),
    "purple": ("#B5578C", "#DD93BC"),
    "grey": ("#8C8C8C", "#8F8F8F"),
    "ink": ("#1C1C1C", "#EDEDED"),
    "paper": ("#FFFFFF", "#14171C"),  # these two as in page.css
    "faint": ("#CFD3D8", "#41464F"),
    "deep": ("#0072B2", "#1F6FA8"),  # a blue on which white can be read
}
ORDER = ("blue", "orange", "green", "red", "purple", "sky", "grey")
SCALE = "Cividis"  # made for the colour-blind; as bright as the value is large

# How a trial ended: colour and marker, so that no figure says it by colour alone.
ENDS: Mapping[str, tuple[str, str]] = {
    "complete": ("@blue", "circle"),
    "pruned": ("@orange", "x-thin-open"),
    "failed": ("@red", "triangle-up-open"),
    "diverged": ("@purple", "diamond-open"),
    "collapsed": ("@green", "square-open"),
    "stopped": ("@grey", "hexagon-open"),
    "running": ("@sky", "circle-open"),
    "unfinished": ("@grey", "circle-open"),
}

Trace = dict[str, Any]


def interval_bar(low: float, mean: float, high: float) -> dict[str, Any]:
    """The bar of a mean's interval, along x."""
    lengths = {"array": [high - mean], "arrayminus": [mean - low]}
    return {"type": "data", "symmetric": False, **lengths, "color": "@ink", "thickness": 1.6, "width": 6}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`name`: of its files. `traces`, `layout`: plotly's; a colour `@blue` is taken from COLOURS. `drawn`, `of`: how many of how many
    `noun`. `rows`: of its CSV file under `columns`; None: the points of the traces. `width`: below which it is scrolled sideways.
    `small`: several stand side by side; `stretches`: they then fill the row, however few they are."""

    name: str
    title: str
    note: str = ""
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    drawn: int
    of: int
    noun: str = "trials"
    columns: Sequence[str] = ("trace", "x", "y")
    rows: Sequence[Sequence[Any]] | None = None
    height: int = 420
    width: int = 0
    small: bool = False
    stretches: bool = True

    @property
    def count(self) -> str:
        """`44 of 60 trials drawn`"""
        return f"{self.drawn:,} of {self.of:,} {self.noun} drawn"

    def plain(self) -> dict[str, Any]:
        """As the page's script takes it."""
        keys = ("name", "columns", "rows", "height", "traces", "layout")
        return {key: getattr(self, key) for key in keys}

    def plotly(self) -> dict[str, Any]:
        """Data and layout with the colours of a light page, as `plotly.graph_objects.Figure` takes them."""
        layout = {"title": {"text": self.title}, "template": "plotly_white", **self.layout}
        return {"data": _coloured(list(self.traces)), "layout": _coloured(layout)}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: sentences, tables and figures under a heading. Sections without content are left out."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.tables or self.figures)


@dataclass(frozen=True, kw_only=True)
class Table:
    """`head`: names of the columns. `caption`: above it. `words`: the columns beside the first that hold no numbers, which stand right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: Sequence[int] = ()


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with room for its labels. Without a standoff plotly sets the title over long ones."""
    return {"title": {"text": title, "standoff": 10}, "automargin": True, **more}


def _coloured(value: Any) -> Any:
    if isinstance(value, str) and (found := re.fullmatch(r"@(\w+)", value)) and found[1] in COLOURS:
        return COLOURS[found[1]][0]
    if isinstance(value, Mapping):
        return {key: _coloured(one) for key, one in value.items()}
    return [_coloured(one) for one in value] if isinstance(value, list | tuple) else value

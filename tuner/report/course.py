"""The code as training went on: a map for each epoch that was kept.

Shapes: S samples of the map, Z code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .figure import Figure, Trace
from .maps import FEWEST, bare, by_class, by_cluster, in_the_plane, labels, method, points, rounded

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

PANELS = 6  # maps of a figure, the last epoch's included
Shown = tuple[str, NDArray[np.int64], NDArray[np.float32]]  # a map's title, clusters and codes


def by_epoch(found: Clustered) -> Figure | None:
    """A column for each moment, by cluster above and by class below; None where only the end was kept."""
    if not found.moments:
        return None
    rows_S = found.mapped(len(found.moments[0].c_S))
    shown: list[Shown] = [(f"epoch {one.epoch}", one.c_S, one.z_SZ) for one in found.moments[: PANELS - 1]]
    shown.append(("the end" if found.epoch is None else f"epoch {found.epoch}", found.cluster_N[rows_S], found.code_NZ[rows_S]))
    if len(rows_S) < FEWEST or any(len(c_S) != len(rows_S) for _, c_S, _ in shown):
        return None
    traces, layout, rows = _panels(found, rows_S, shown)
    n_rows = 1 if found.class_N is None else 2
    return Figure(
        name="map-by-epoch",
        title="As the training went on",
        note="The code as it is." if found.code_NZ.shape[1] == 2 else f"{method()}; each map begins from the one before it.",
        traces=traces,
        layout={"showlegend": False, "hovermode": "closest", "margin": {"l": 26, "r": 8, "t": 30, "b": 8}, **layout},
        drawn=len(rows_S),
        of=len(found.cluster_N),
        noun="samples",
        columns=("epoch", "sample", "x", "y", "cluster"),
        rows=rows,
        height=40 + 210 * n_rows,
        width=170 * len(shown) if len(shown) > 2 else 0,
    )


def _panels(
    found: Clustered, rows_S: NDArray[np.int64], shown: Sequence[Shown]
) -> tuple[list[Trace], dict[str, Any], list[tuple[Any, ...]]]:
    """Traces, layout, and the lines of the CSV file."""
    class_S = None if found.class_N is None else found.class_N[rows_S]
    traces: list[Trace] = []
    layout: dict[str, Any] = {}
    words, rows = [], list[tuple[Any, ...]]()
    n, n_rows = len(shown), 1 if class_S is None else 2
    placed_S2: NDArray[np.float32] | None = None
    for i, (title, c_S, z_SZ) in enumerate(shown):
        placed_S2 = in_the_plane(z_SZ, placed_S2, 500)
        xy_S2 = rounded(placed_S2)
        for j, groups in enumerate([by_cluster(found, c_S), *([] if class_S is None else [by_class(found, class_S)])]):
            at, high = str(1 + i + j * n), 1 - j / n_rows
            traces += points(xy_S2, groups, at, size=4)
            layout[f"xaxis{at}"] = bare(domain=[i / n + 0.01, (i + 1) / n - 0.01], anchor=f"y{at}")
            layout[f"yaxis{at}"] = bare(domain=[high - 1 / n_rows + 0.02, high - 0.02], anchor=f"x{at}")
            words += labels(xy_S2, groups, at)
        words.append(_word(title, x=(i + 0.5) / n, y=1.0, yanchor="bottom"))
        places = zip(rows_S, xy_S2.tolist(), c_S, strict=True)
        rows += [(title, int(row), x, y, int(k)) for row, (x, y), k in places]
    for j, what in enumerate(("by cluster", "by class")[:n_rows]):
        words.append(_word(what, x=0.0, y=1 - (j + 0.5) / n_rows, xanchor="right", textangle=-90))
    return traces, {**layout, "annotations": words}, rows


def _word(text: str, **where: Any) -> dict[str, Any]:
    return {"text": text, "xref": "paper", "yref": "paper", "showarrow": False, "font": {"size": 12}, **where}

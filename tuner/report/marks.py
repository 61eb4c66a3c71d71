"""Clusters in numbers: their classes, and which columns tell each from the rest.

Shapes: K clusters, C classes, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .figure import Figure, Table, Trace, axis

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

NUMBERS = 30  # rows and columns of a table that still says its numbers
MARKS = 5  # columns that are named for a cluster
SHOWN = 16  # columns that are drawn
MARKED = 12  # clusters whose bars still have room for a number
ROWS = 40  # clusters that are drawn, the largest ones


def confusion(found: Clustered) -> Figure | None:
    """How many samples of each class each cluster holds; None where no class is known."""
    n_KC = found.confusion_KC
    if n_KC is None:
        return None
    matched = found.matched
    used = [k for k in range(len(n_KC)) if n_KC[k].any()]
    order = sorted(used, key=lambda k: (matched.get(k, n_KC.shape[1]), k))
    shown = n_KC[order]
    clusters, classes = [str(k) for k in order], [found.class_name(c) for c in range(n_KC.shape[1])]
    few = max(shown.shape) <= NUMBERS
    right = sum(int(n_KC[k, c]) for k, c in matched.items())
    trace: Trace = {
        **_heatmap(np.round(shown / shown.sum(axis=1, keepdims=True), 4), classes, clusters, low=0, high=1),
        "text": shown.tolist(),
        "showscale": False,
        "colorscale": [[0, "@paper"], [1, "@deep"]],
        "name": "samples",
        "hovertemplate": "cluster %{y}, class %{x}: %{text} samples, %{z:.0%} of the cluster<extra></extra>",
        **({"texttemplate": "%{text}"} if few else {}),
    }
    return Figure(
        name="confusion",
        title="Clusters against classes",
        note=f"Samples; the shade is their share of the cluster. Clusters stand beside the class that they are matched with, one to one: "
        f"{right:,} of {int(n_KC.sum()):,} samples lie on these pairs.",
        traces=[trace],
        layout={
            "xaxis": axis("class", type="category", showgrid=False),
            "yaxis": axis("cluster", type="category", showgrid=False, autorange="reversed"),
            "margin": {"t": 10, "r": 10, "l": 50, "b": 48},
        },
        drawn=int(n_KC.sum()),
        of=len(found.cluster_N),
        noun="samples",
        columns=("cluster", *classes),
        rows=[[k, *line] for k, line in zip(clusters, shown.tolist(), strict=True)],
        height=max(240, 90 + (30 if few else 12) * len(order)),
        small=True,
    )


def _heatmap(z: Any, x: Sequence[str], y: Sequence[str | int], *, low: float, high: float) -> Trace:
    return {"type": "heatmap", "z": z.tolist(), "x": list(x), "y": list(y), "zmin": low, "zmax": high, "xgap": 1, "ygap": 1}


def sizes(found: Clustered) -> Figure:
    """How many samples each cluster has."""
    clusters, sizes = [str(k) for k in range(len(found.size_K))], found.size_K.tolist()
    used = sum(size > 0 for size in sizes)
    trace = {
        "type": "bar",
        "x": clusters,
        "y": sizes,
        "name": "samples",
        "marker": {"color": "@blue"},
        "hovertemplate": "cluster %{x}: %{y} samples<extra></extra>",
        **({"text": [f"{size:,}" for size in sizes], "textposition": "auto", "textangle": 0} if len(sizes) <= MARKED else {}),
    }
    return Figure(
        name="sizes",
        title="The size of each cluster",
        note="" if used == len(sizes) else f"{used} of {len(sizes)} clusters have samples.",
        traces=[trace],
        layout={
            "xaxis": axis("cluster", type="category", showgrid=False),
            "yaxis": axis("samples", rangemode="tozero"),
            "margin": {"t": 10, "r": 10, "l": 50, "b": 48},
        },
        drawn=len(sizes),
        of=len(sizes),
        noun="clusters",
        columns=("cluster", "samples"),
        rows=[list(row) for row in zip(clusters, sizes, strict=True)],
        height=330,
        small=True,
    )


# --- what marks a cluster ----------------------------------------------------------------------------------------------


def differences(found: Clustered) -> NDArray[np.float64]:
    """(K, D): by how many standard deviations of all samples the mean of a cluster lies above the mean of the rest; NaN where either is
    empty, 0 of a column that never varies."""
    n_samples, mean_KD = len(found.cluster_N), found.means()
    size_K1 = found.size_K[:, None].astype(np.float64)
    sum_KD = np.nan_to_num(mean_KD) * size_K1
    mean_D = sum_KD.sum(axis=0) / n_samples
    square_D = np.zeros_like(mean_D)
    for i in range(0, n_samples, 4096):
        square_D += np.square(found.samples(np.arange(i, min(i + 4096, n_samples))) - mean_D).sum(axis=0)
    deviation_D = np.sqrt(square_D / n_samples)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest_KD = (sum_KD.sum(axis=0) - sum_KD) / np.where(size_K1 < n_samples, n_samples - size_K1, np.nan)
        return np.where(deviation_D > 0, (mean_KD - rest_KD) / np.where(deviation_D > 0, deviation_D, 1.0), 0.0)


def column_name(found: Clustered, number: int) -> str:
    return str(found.names_D[number]) if number < len(found.names_D) else f"column {number + 1}"


def marks_table(found: Clustered) -> Table:
    """What marks each cluster: the columns in which it differs most from the rest, and the samples nearest to its centre."""
    gap_KD = differences(found)
    rows = []
    for k in np.argsort(-found.size_K, kind="stable")[:ROWS].tolist():
        if not found.size_K[k]:
            continue
        gaps = [(d, gap_KD[k, d]) for d in np.argsort(-np.abs(gap_KD[k]))[:MARKS] if abs(gap_KD[k, d]) >= 0.1]  # NaN is not
        said = ", ".join(f"{column_name(found, d)} {'+' if gap > 0 else '−'}{abs(gap):.1f}" for d, gap in gaps)
        rows.append([f"cluster {k}", f"{found.size_K[k]:,}", said or "–", ", ".join(map(str, found.nearest(k, 3).tolist()))])
    caption = "By how many standard deviations a cluster's mean lies from that of the rest, and the rows nearest to its centre, from 0."
    return Table(head=["", "samples", "what marks it", "nearest"], rows=rows, caption=caption, words=(2, 3))


def marks(found: Clustered) -> Figure | None:
    """The columns that tell clusters apart best, and how each cluster differs in them."""
    gap_KD = differences(found)
    clusters = [k for k in np.argsort(-found.size_K, kind="stable")[:ROWS].tolist() if found.size_K[k] and np.isfinite(gap_KD[k]).all()]
    if not clusters:
        return None
    columns = np.sort(np.argsort(-np.abs(gap_KD[clusters]).max(axis=0), kind="stable")[:SHOWN]).tolist()
    shown = np.round(gap_KD[np.ix_(clusters, columns)], 2)
    most = max(1.0, float(np.abs(shown).max()))
    names = [column_name(found, d) for d in columns]
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    trace: Trace = {
        **_heatmap(shown.T, [str(k) for k in clusters], list(range(len(columns))), low=-most, high=most),
        "colorscale": [[0, "@orange"], [0.5, "@paper"], [1, "@deep"]],
        "name": "sd",
        "text": [[n] * len(clusters) for n in names],
        "hovertemplate": "cluster %{x}, %{text}: %{z} sd from the rest<extra></extra>",
        **({"texttemplate": "%{z:.1f}"} if len(clusters) <= 14 else {}),
        "colorbar": {"title": {"text": "sd"}, "thickness": 10, "len": 0.8},
    }
    return Figure(
        name="marks",
        title="What marks each cluster",
        note="The columns in which a cluster differs most from the rest, in standard deviations: blue above the rest, orange below.",
        traces=[trace],
        layout={
            "xaxis": axis("cluster", type="category", showgrid=False),
            "yaxis": axis("", tickmode="array", tickvals=list(range(len(columns))), ticktext=short, showgrid=False, autorange="reversed"),
            "margin": {"t": 34, "r": 10, "l": 60, "b": 48},
        },
        drawn=len(columns),
        of=gap_KD.shape[1],
        noun="columns",
        columns=("cluster", *(column_name(found, d) for d in columns)),
        rows=[[str(k), *line] for k, line in zip(clusters, shown.tolist(), strict=True)],
        height=100 + 26 * len(columns),
    )

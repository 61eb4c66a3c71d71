"""Maps of a code: its samples in the plane, near each other where their codes are.

Shapes: S samples of the map, Z code.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .cores import as_many_threads_as_idle_cores
from .figure import ORDER, Figure, Trace

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

FEWEST = 12  # samples of which there is a map
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")  # as often as the colours have all been used
LABELLED = 40  # groups that are still named on a map


def method() -> str:
    """openTSNE, UMAP or PaCMAP, the first that is installed; else scikit-learn's t-SNE."""
    known = (("openTSNE", "openTSNE"), ("umap", "UMAP"), ("pacmap", "PaCMAP"))
    return next((name for module, name in known if importlib.util.find_spec(module)), "t-SNE of scikit-learn")


def in_the_plane(z_SZ: NDArray[np.float32], start_S2: NDArray[np.float32] | None = None, iterations: int = 750) -> NDArray[np.float32]:
    """(S, 2). A code of two numbers is shown as it is. `start_S2`: another map of the same samples, to which it is to be alike."""
    if z_SZ.shape[1] == 2:
        return z_SZ
    if z_SZ.shape[1] == 1:  # beside each other by chance, so that they do not all lie on a line
        return np.column_stack([z_SZ[:, 0], np.random.default_rng(0).normal(size=len(z_SZ))]).astype(np.float32)
    found: Any
    by = method()
    if by == "openTSNE":
        openTSNE = importlib.import_module("openTSNE")
        first = None if start_S2 is None else openTSNE.initialization.rescale(start_S2)
        found = openTSNE.TSNE(perplexity=_perplexity(z_SZ), random_state=0, n_iter=iterations - 250).fit(z_SZ, initialization=first)
    elif by == "UMAP":
        found = (
            importlib.import_module("umap")
            .UMAP(random_state=0, n_jobs=1, init="spectral" if start_S2 is None else start_S2)
            .fit_transform(z_SZ)
        )
    elif by == "PaCMAP":
        found = importlib.import_module("pacmap").PaCMAP(random_state=0).fit_transform(z_SZ, init="pca" if start_S2 is None else start_S2)
    else:
        from sklearn.manifold import TSNE

        first = "pca" if start_S2 is None else start_S2 / start_S2[:, 0].std() * np.float32(1e-4)  # as wide as it makes the components
        tsne = TSNE(perplexity=_perplexity(z_SZ), init=first, random_state=0, max_iter=iterations)
        with as_many_threads_as_idle_cores():
            found = tsne.fit_transform(z_SZ)
    return np.asarray(found, dtype=np.float32)


def _perplexity(z_SZ: NDArray[np.float32]) -> float:
    return min(30.0, (len(z_SZ) - 1) / 4)


# --- figures -----------------------------------------------------------------------------------------------------------


def maps(found: Clustered) -> list[Figure]:
    """The code at the end, by cluster and by class."""
    rows_S = found.mapped()
    if len(rows_S) < FEWEST:
        return []
    z_SZ, cluster_S = found.code_NZ[rows_S], found.cluster_N[rows_S]
    xy_S2, mixed = rounded(in_the_plane(z_SZ)), _mixed(z_SZ, cluster_S)
    class_S = None if found.class_N is None else found.class_N[rows_S]
    z = found.code_NZ.shape[1]
    how = f"{method()} of the code's {z} numbers" if z > 2 else "The code as it is"
    header = ("sample", "x", "y", "cluster", *(() if class_S is None else ("class",)))
    names_S = [None] * len(rows_S) if class_S is None else [found.class_name(k) if k >= 0 else "" for k in class_S.tolist()]
    rows = [
        (int(row), x, y, int(k), *(() if class_S is None else (name,)))
        for row, (x, y), k, name in zip(rows_S, xy_S2.tolist(), cluster_S, names_S, strict=True)
    ]
    groups = [by_cluster(found, cluster_S), *([] if class_S is None else [by_class(found, class_S)])]
    counts: dict[str, Any] = {"drawn": len(rows_S), "of": len(found.cluster_N), "noun": "samples", "columns": header, "rows": rows}
    return [_map(xy_S2, one, how, counts, mixed if one.what == "cluster" else "") for one in groups]


def _mixed(z_SZ: NDArray[np.float32], cluster_S: NDArray[np.int64]) -> str:
    """A sentence where the code does not hold the cluster: where less than half of the samples have the one that is nearest to them, by
    their code, in their own cluster."""
    from sklearn.neighbors import NearestNeighbors

    nearest_S2 = NearestNeighbors(n_neighbors=2).fit(z_SZ).kneighbors(z_SZ, return_distance=False)
    itself = nearest_S2[:, 0] == np.arange(len(z_SZ))  # not the first of two that are equal
    share = float((cluster_S[np.where(itself, nearest_S2[:, 1], nearest_S2[:, 0])] == cluster_S).mean())
    return f" Clusters lie mixed in it: the nearest sample is of the same cluster for {share:.0%} of the samples." if share < 0.5 else ""


def rounded(xy_S2: NDArray[np.float32]) -> NDArray[np.float64]:
    """To a ten-thousandth of the map's width or less, whatever its unit: a code of two numbers may be narrow."""
    span = float(np.ptp(xy_S2, axis=0).max()) if len(xy_S2) else 0.0
    decimals = 4 - math.floor(math.log10(span)) if 0 < span < math.inf else 3
    return xy_S2.astype(np.float64).round(decimals)


def _map(xy_S2: NDArray[np.float64], groups: Groups, how: str, counts: dict[str, Any], more: str) -> Figure:
    """`how`: it was made. `counts`: what is drawn, and the lines of its CSV file. `more`: a sentence."""
    layout = {
        "xaxis": bare(),
        "yaxis": bare(scaleanchor="x"),
        "showlegend": False,
        "hovermode": "closest",
        "annotations": labels(xy_S2, groups),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }
    return Figure(
        name=f"map-by-{groups.what}",
        title=f"The code by {groups.what}",
        note=f"{how}, after the last epoch; the labels stand at each {groups.what}'s median.{more}",
        traces=list(points(xy_S2, groups)),
        layout=layout,
        height=330,
        small=True,
        **counts,
    )


def bare(**more: Any) -> dict[str, Any]:
    """An axis of a map has no meaning, and shows nothing."""
    return {"visible": False, "showgrid": False, "zeroline": False, **more}


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """How the samples of a map are coloured. `group_S`: -1 of none; `names`, `looks`: of each group, the latter a colour's number."""

    what: str
    group_S: NDArray[np.int64]
    names: Sequence[str]
    looks: Sequence[int]


def by_cluster(found: Clustered, cluster_S: NDArray[np.int64]) -> Groups:
    n = found.n_clusters
    return Groups(what="cluster", group_S=cluster_S, names=[str(k) for k in range(n)], looks=range(n))


def by_class(found: Clustered, class_S: NDArray[np.int64]) -> Groups:
    """A class looks as the cluster that it is matched with."""
    n = int(class_S.max(initial=-1)) + 1
    of_class = {c: k for k, c in found.matched.items()}
    spare = iter(range(found.n_clusters, found.n_clusters + n))
    looks = [of_class[c] if c in of_class else next(spare) for c in range(n)]
    return Groups(what="class", group_S=class_S, names=[found.class_name(c) for c in range(n)], looks=looks)


def points(xy_S2: NDArray[np.float64], groups: Groups, at: str = "", size: float = 4.5) -> Iterator[Trace]:
    """A trace for each group. `xy_S2`: `rounded`. `at`: the number of the panel's axes. What belongs to no group comes first, and faint."""
    n_colours = len(ORDER) - 1  # the last is grey
    for k in range(-1 if (groups.group_S < 0).any() else 0, len(groups.names)):
        xy_M2 = xy_S2[groups.group_S == k]
        if not len(xy_M2):
            continue
        name, look = (f"{groups.what} {groups.names[k]}", groups.looks[k]) if k >= 0 else (f"no {groups.what}", 0)
        colour = f"@{ORDER[look % n_colours]}" if k >= 0 else "@faint"
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": xy_M2[:, 0].tolist(),
            "y": xy_M2[:, 1].tolist(),
            "name": name,
            "hovertemplate": f"{name}<extra></extra>",
            "marker": {"color": colour, "symbol": SYMBOLS[look // n_colours % len(SYMBOLS)], "size": size, "opacity": 0.75},
            **({"xaxis": f"x{at}", "yaxis": f"y{at}"} if at else {}),
        }


def labels(xy_S2: NDArray[np.float64], groups: Groups, at: str = "") -> list[dict[str, Any]]:
    """The names of the groups where they lie."""
    group_S, names = groups.group_S, groups.names
    there = [k for k in range(len(names)) if (group_S == k).any()]
    if not there or len(there) > LABELLED:
        return []
    at_G2 = np.stack([np.median(xy_S2[group_S == k], axis=0) for k in there])
    near_2 = 0.05 * (xy_S2.max(axis=0) - xy_S2.min(axis=0))
    common = {"showarrow": False, "bgcolor": "@paper", "opacity": 0.85, "borderpad": 1, "font": {"size": 12, "color": "@ink"}}
    found = []
    for i, k in enumerate(there):
        under = int((np.abs(at_G2[:i] - at_G2[i]) < near_2).all(axis=1).sum())  # labels that it would cover
        label = names[k] if len(names[k]) <= 16 else f"{names[k][:15]}…"
        x, y = at_G2[i].tolist()
        found.append(
            {"x": x, "y": y, "yshift": 15 * under, "text": f"<b>{escaped(label)}</b>", "xref": f"x{at}", "yref": f"y{at}", **common}
        )
    return found


def escaped(text: str) -> str:
    """For plotly, which takes a part of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""What a model has learned, in images: reconstructions, modes, styles, generated samples and interpolations, as far as it can show them.

Shapes: P clusters that are drawn, C columns, D features, S numbers of a style.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .figure import Figure
from .tiles import Range, Tiles, tiled

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

REBUILT = 4  # samples of a cluster
DRAWN = 8
STEPS = 9  # of a walk from one picture to another
REACH = 2.0  # standard deviations of a style, either way
TRIED = 64  # numbers of a style of which the one is taken that changes pictures most


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """`clusters`: those that are drawn, a row each. `scale`: of the images."""

    found: Clustered
    clusters: Sequence[int]
    scale: Range

    def images(self, x_D: NDArray[Any], n_frames: int = 1) -> NDArray[Any]:
        """As `Range.images`."""
        return self.scale.images(x_D, self.found.data.shape, n_frames)

    @property
    def used(self) -> int:
        """How many clusters there are."""
        return int((self.found.size_K > 0).sum())


def modes(found: Clustered, clusters: Sequence[int]) -> NDArray[np.float32] | None:
    """(P, D): what a model generates of each cluster at the middle of its styles."""
    return found.assigner.generated(np.array(clusters), np.zeros((len(clusters), found.assigner.n_styles)))


def cannot(found: Clustered) -> list[str]:
    """What the model cannot show, in sentences."""
    name, said = found.assigner.model.name, []
    first = np.zeros(1, dtype=np.int64)
    if found.assigner.decoded(found.assigner.encoded(found.samples(first))) is None:
        said.append(f"{name} does not decode its code, so there are no reconstructions and no interpolations.")
    if modes(found, [0]) is None:
        said.append(f"{name} generates no samples of a cluster that is given, so there are no modes and no styles.")
    elif not found.assigner.n_styles:
        said.append(f"{name} has no style beside the cluster: of a cluster it generates the mode alone.")
    return said


def learned(drawing: Drawing) -> Iterator[Figure]:
    """The figures that the model can show."""
    yield from reconstructions(drawing)
    yield from interpolations(drawing)
    yield from styles(drawing)


def reconstructions(drawing: Drawing) -> Iterator[Figure]:
    """A row for each cluster: samples from all over it, each with what the model makes of its code."""
    found, clusters = drawing.found, drawing.clusters
    x_PCD = np.full((len(clusters), 2 * REBUILT, found.data.spec.n_features), np.nan)
    rows_PC = np.full(x_PCD.shape[:2], -1, dtype=np.int64)
    for i, k in enumerate(clusters):
        all_R = found.nearest(k, int(found.size_K[k]))
        rows_R = all_R[np.unique(np.linspace(0, len(all_R) - 1, REBUILT).round().astype(int))]
        x_RD = found.samples(rows_R)
        again_RD = found.assigner.decoded(found.assigner.encoded(x_RD))
        if again_RD is None:
            return
        n = len(rows_R)
        x_PCD[i, 0 : 2 * n : 2], x_PCD[i, 1 : 2 * n : 2], rows_PC[i, 0 : 2 * n : 2] = x_RD, again_RD, rows_R
    yield tiled(
        Tiles(images=drawing.images(x_PCD), rows=_names(clusters), columns=["x", "x̂"] * REBUILT, samples=rows_PC),
        name="reconstructions",
        title="Reconstructions",
        note="Samples x, from the nearest to their cluster's centre to the farthest, each beside x̂, what is rebuilt of its code.",
        of=drawing.used,
    )


def interpolations(drawing: Drawing) -> Iterator[Figure]:
    """From the central sample of each cluster to that of the next, by mixtures of their codes."""
    found, clusters = drawing.found, drawing.clusters
    if len(clusters) < 2:
        return
    ends = [*clusters, clusters[0]] if len(clusters) > 2 else list(clusters)
    rows_E = np.array([found.nearest(k, 1)[0] for k in ends])
    e_EE = found.assigner.encoded(found.samples(rows_E))
    share_C1 = np.linspace(0, 1, STEPS)[:, None]
    mixed = np.concatenate([(1 - share_C1) * a + share_C1 * b for a, b in pairwise(e_EE)])
    decoded = found.assigner.decoded(mixed)
    if decoded is None:
        return
    names = [f"{a}→{b}" for a, b in pairwise(ends)]
    columns = ["0", *[""] * (STEPS - 2), "1"]
    yield tiled(
        Tiles(images=drawing.images(decoded.reshape(len(names), STEPS, -1)), rows=names, columns=columns, down="clusters"),
        name="interpolations",
        title="Interpolations",
        note="From the central sample of one cluster to that of the next: what is decoded of mixtures of their codes, in equal steps.",
        of=drawing.used if len(ends) > len(clusters) else len(names),
        noun="clusters" if len(ends) > len(clusters) else "pairs",
    )


def styles(drawing: Drawing) -> Iterator[Figure]:
    """A walk along one number of the style, and styles that are drawn: a row for each cluster."""
    found, clusters = drawing.found, drawing.clusters
    S = found.assigner.n_styles
    if not S or modes(found, clusters) is None:
        return
    walk_C, which = np.linspace(-REACH, REACH, STEPS), _liveliest(found, clusters)
    walk_CS = np.zeros((STEPS, S))
    walk_CS[:, which] = walk_C
    labels = ["−2", *[""] * (STEPS // 2 - 1), "0", *[""] * (STEPS // 2 - 1), "2"]
    only = "of" if S > 1 else "of only"
    yield _of_styles(
        drawing, walk_CS, labels, name="styles", title="Style across, cluster down",
        note=f"Along a row number {which + 1} {only} {S} of the style goes from −2 to 2 standard deviations"
        + (": the one that changes pictures most. The others are 0." if S > 1 else "."),
    )  # fmt: skip
    drawn_CS = np.random.default_rng(0).normal(size=(DRAWN, S))
    yield _of_styles(
        drawing, drawn_CS, [""] * DRAWN, name="generated", title="Generated",
        note="Samples that the model makes up, a row for each cluster, the same style in all of a column.",
    )  # fmt: skip


def _of_styles(drawing: Drawing, eps_CS: NDArray[np.float64], columns: Sequence[str], **about: str) -> Figure:
    """`about`: name, title and note."""
    clusters, n = drawing.clusters, len(eps_CS)
    made = drawing.found.assigner.generated(np.repeat(clusters, n), np.tile(eps_CS, (len(clusters), 1)))
    assert made is not None
    tiles = Tiles(images=drawing.images(made.reshape(len(clusters), n, -1)), rows=_names(clusters), columns=columns)
    return tiled(tiles, of=drawing.used, **about)


def _liveliest(found: Clustered, clusters: Sequence[int]) -> int:
    """The number of the style that changes the samples most, over all clusters."""
    S = found.assigner.n_styles
    changes = []
    for s in range(min(S, TRIED)):
        eps = np.zeros((2 * len(clusters), S))
        eps[: len(clusters), s], eps[len(clusters) :, s] = -REACH, REACH
        made = found.assigner.generated(np.tile(np.array(clusters), 2), eps)
        assert made is not None
        changes.append(float(np.square(made[: len(clusters)] - made[len(clusters) :]).sum()))
    return int(np.argmax(changes))


def _names(clusters: Sequence[int]) -> list[str]:
    return [str(k) for k in clusters]

"""Pictures side by side: a row for each cluster, small images in columns, as one PNG in a figure with axes.

Shapes: R rows, C columns, h and w an image's height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.nn import is_film

from .figure import Figure, axis
from .png import data_address

TILE = 40  # pixels of a tile's longer side, at least
GAP = 3
WIDTH = 290  # of the tiles in a figure, on a screen and on a phone alike
ROWS = 20  # clusters of a figure, the largest ones
SLACK, NOTED = 0.05, 0.05  # how far beyond black and white a value lies that is counted, and the share of them that is said
LISTED = 100_000  # pixels that are still listed in a figure's CSV file


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiles:
    """`images`: (R, C, h, w), or (R, C, 3, h, w) in colour, from 0 to 1; one that is all NaN is left out. `rows`, `columns`: their labels.
    `samples`: (R, C) the rows of the data set that they show; -1 where an image is none of them. `across`, `down`: what the labels are
    of."""

    images: NDArray[Any]
    rows: Sequence[str]
    columns: Sequence[str]
    samples: NDArray[np.int64] | None = None
    across: str = ""
    down: str = "cluster"


def tiled(tiles: Tiles, *, name: str, title: str, note: str = "", of: int, noun: str = "clusters") -> Figure:
    """The figure; `of`: how many `noun` there are in all, a row each."""
    pixels, step_y, step_x = sprite(tiles.images)
    n_rows, n_columns = tiles.images.shape[:2]
    edge_y, edge_x = step_y - GAP, step_x - GAP
    labels: dict[str, Any] = {"tickmode": "array", "showgrid": False, "zeroline": False, "ticks": "", "constrain": "domain"}
    across = axis(
        tiles.across, **labels, tickvals=[i * step_x + edge_x / 2 - 0.5 for i in range(n_columns)], ticktext=_staggered(tiles.columns)
    )
    down = axis(tiles.down, **labels, tickvals=[i * step_y + edge_y / 2 - 0.5 for i in range(n_rows)], ticktext=list(tiles.rows))
    header, rows = _listed(tiles)
    return Figure(
        name=name,
        title=title,
        note=" ".join(part for part in (note, _beyond(tiles.images)) if part),
        traces=[{"type": "image", "source": data_address(pixels), "hoverinfo": "skip", "name": title}],
        layout={
            "xaxis": {**across, "side": "top", "tickangle": 0, "tickfont": {"size": 10}, "automargin": False},
            "yaxis": down,
            "showlegend": False,
            "margin": {"t": 26, "b": 6, "r": 8, "l": 50},
        },
        drawn=n_rows,
        of=of,
        noun=noun,
        columns=header,
        rows=rows,
        height=round(40 + n_rows * min(44 * max(1, edge_x / edge_y), WIDTH / n_columns) * edge_y / edge_x),
        small=True,
        stretches=False,
    )


def _staggered(names: Sequence[str]) -> list[str]:
    """Labels above narrow tiles: a word beside another word stands a line higher, where it does not run into that."""
    found: list[str] = []
    for i, name in enumerate(names):
        beside = i > 0 and len(names[i - 1]) > 2 and found[-1] == names[i - 1]
        found.append(f"{name}<br>\N{NO-BREAK SPACE}" if beside and len(name) > 2 else name)
    return found


def sprite(images: NDArray[Any]) -> tuple[NDArray[np.uint8], int, int]:
    """One picture of all, (H, W, 2) grey or (H, W, 4) in colour, the gaps clear; and how far apart the tiles begin, down and across."""
    n_rows, n_columns, *shape = images.shape
    colour = len(shape) == 3
    h, w = shape[-2:]
    zoom = max(1, round(TILE / max(h, w)))  # larger by whole pixels, which no program that shows it then smooths
    step_y, step_x = h * zoom + GAP, w * zoom + GAP
    pixels = np.zeros((n_rows * step_y - GAP, n_columns * step_x - GAP, 4 if colour else 2), dtype=np.uint8)
    for r in range(n_rows):
        for c in range(n_columns):
            image = images[r, c]
            if np.isnan(image).any():
                continue
            hwc = np.moveaxis(image, 0, -1) if colour else image[..., None]
            tile = np.rint(np.clip(hwc, 0, 1) * 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
            at = pixels[r * step_y : r * step_y + h * zoom, c * step_x : c * step_x + w * zoom]
            at[..., :-1], at[..., -1] = tile, 255
    return pixels, step_y, step_x


def _beyond(images: NDArray[Any]) -> str:
    """Says it where many values have no grey of their own, as of a decoder that the clustering has left behind."""
    values = images[np.isfinite(images)]
    share = float(np.mean((values < -SLACK) | (values > 1 + SLACK))) if values.size else 0.0
    return f"{share:.0%} of the values lie beyond black or white, and look the same." if share > NOTED else ""


def _listed(tiles: Tiles) -> tuple[Sequence[str], list[list[Any]]]:
    """A line for each image: where it is, which sample, and its pixels from 0 to 255, row after row, where there are not too many."""
    n_rows, n_columns = tiles.images.shape[:2]
    few = tiles.images.size <= LISTED
    header = [tiles.down, "column", *(["sample"] if tiles.samples is not None else []), *(["pixels"] if few else [])]
    rows = []
    for r in range(n_rows):
        for c in range(n_columns):
            image = tiles.images[r, c]
            if np.isnan(image).any():
                continue
            sample = [] if tiles.samples is None else [int(tiles.samples[r, c]) if tiles.samples[r, c] >= 0 else None]
            flat = [" ".join(map(str, np.rint(np.clip(image, 0, 1) * 255).astype(int).ravel().tolist()))] if few else []
            rows.append([tiles.rows[r], tiles.columns[c] or c + 1, *sample, *flat])
    return header, rows


# --- samples as images -------------------------------------------------------------------------------------------------


def image_shape(shape: Sequence[int]) -> tuple[int, ...] | None:
    """(h, w) or (3, h, w) of samples that are images, and of the frames of films, else None."""
    frame = shape[1:] if is_film(shape) else shape
    is_image = len(frame) == 2 or (len(frame) == 3 and frame[0] == 3)
    return tuple(frame) if is_image and min(frame[-2:]) >= 4 else None


@dataclass(frozen=True)
class Range:
    """The values that are black and white."""

    low: float
    high: float

    def images(self, x_D: NDArray[Any], shape: Sequence[int], n_frames: int = 1) -> NDArray[Any]:
        """(..., h, w) or (..., 3, h, w) from 0 to 1, of samples (..., D). Of films the frame in the middle, or several, side by side."""
        found: NDArray[Any] = (np.asarray(x_D, dtype=np.float64) - self.low) / (self.high - self.low or 1.0)
        found = found.reshape(*x_D.shape[:-1], *shape)
        if not is_film(shape):
            return found
        at_F = [shape[0] // 2] if n_frames == 1 else np.unique(np.linspace(0, shape[0] - 1, n_frames).round().astype(int)).tolist()
        return np.concatenate([found.take(t, axis=-len(shape)) for t in at_F], axis=-1)

"""The winner in pictures: what the clustering looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError
from tuner.nn import is_film
from tuner.runs.course import BEST_COURSE, SHOWN
from tuner.runs.paths import BEST_WEIGHTS
from tuner.runs.winner import BEST, read_best
from tuner.text import near, number

from .course import by_epoch
from .figure import Figure, Section
from .generated import Drawing, cannot, learned, modes
from .maps import maps
from .marks import confusion, marks, marks_table, sizes
from .tiles import ROWS, Range, Tiles, image_shape, tiled

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

NEAREST = 7
FILMS, FRAMES = 2, 4  # of films so many, and of each so many frames, which take the room of as many images
OF_FILMS = "Of a film the nearest samples show frames from its first to its last, and other pictures the one in the middle."
TITLE = "The winner"


def winner_sections(folder: Path, data_root: Path | None = None) -> Sequence[Section]:
    """The pictures of the run's winner, by its weights, or a line that says why there are none. They are computed once for each state of
    the weights. `data_root`: the folder of data files.

    Raises:
        UserError: `best.yaml` is damaged.
    """
    files = [folder / BEST, folder / BEST_WEIGHTS, folder / BEST_COURSE]
    if not files[0].is_file():
        return ()
    stamps = tuple((stat.st_mtime_ns, stat.st_size) for file in files if file.is_file() for stat in [file.stat()])
    return _sections(folder.absolute(), data_root, stamps)


def winner_figures(folder: Path, data_root: Path | None = None) -> Sequence[Figure]:
    """The figures alone."""
    return [figure for section in winner_sections(folder, data_root) for figure in section.figures]


@lru_cache(maxsize=8)
def _sections(folder: Path, data_root: Path | None, stamps: tuple[Any, ...]) -> Sequence[Section]:
    from tuner.inference.clustered import clustered_of
    from tuner.inference.load import load_trained

    if not (folder / BEST_WEIGHTS).is_file():
        return [Section(title=TITLE, text=[_without_weights(folder)])]
    try:
        found = clustered_of(load_trained(folder, data_root=data_root), data_root)
    except UserError as error:
        return [Section(title=TITLE, text=[f"There are no pictures of the winner: {error}"])]
    return list(pictures(found, _who(folder), TITLE))


def _without_weights(folder: Path) -> str:
    return (
        f"There are no pictures of the winner, whose weights are not here: tuner train {near(folder / BEST)} --plots trains it again and "
        "draws them."
    )


def _who(folder: Path) -> str:
    """Whose weights these are."""
    best = read_best(folder / BEST)
    metric, value = str((best.get("metric") or {}).get("name", "")), (best.get("score") or {}).get("value")
    confirmed = best.get("confirmed") or {}
    score = f", {metric} {number(value, metric)}" if value is not None else ""
    if confirmed.get("training") is not None:
        mean = f"; the mean of all is {number(confirmed.get('mean'), metric)}" if confirmed.get("mean") is not None else ""
        return f"The pictures are of the best of {confirmed.get('n', 'several')} trainings of the winner{score}{mean}."
    return f"The pictures are of trial {best.get('trial', '–')} as the search trained it{score}."


def pictures(found: Clustered, who: str = "", title: str = "The clusters") -> Iterator[Section]:
    """The sections about one trained model. `who`: it is; `title`: of the first."""
    course = by_epoch(found)
    said = [who] if who else []
    if course is None and (found.epoch is None or found.epoch > SHOWN[0]):
        how = ": tuner train with its best.yaml and --plots draws them" if who else ""
        said.append(f"Only the end of the training was kept, so there are no maps of earlier epochs{how}.")
    yield Section(title=title, text=said, figures=[*maps(found), confusion(found) or sizes(found)])
    if course:
        yield Section(title="The code by epoch", figures=[course])
    if image_shape(found.data.shape) is None:
        yield Section(title="What marks a cluster", tables=[marks_table(found)], figures=_there(marks(found)))
    else:
        drawing = Drawing(found=found, clusters=largest(found), scale=scale_of(found))
        figures = [nearest_samples(drawing), *learned(drawing)]
        of_films = [OF_FILMS] if is_film(found.data.shape) else []
        yield Section(title="Clusters in pictures", text=[*cannot(found), *of_films], figures=figures)


def _there(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


# --- images ------------------------------------------------------------------------------------------------------------


def largest(found: Clustered) -> list[int]:
    """The clusters that are drawn: the largest, in the order of their numbers."""
    used = [k for k in np.argsort(-found.size_K, kind="stable").tolist() if found.size_K[k]]
    return sorted(used[:ROWS])


def scale_of(found: Clustered) -> Range:
    """Black and white: 0 and 1 of pixels; else all but the most extreme values."""
    if found.data.spec.unit_range:
        return Range(0.0, 1.0)
    some = found.samples(found.mapped(1000))
    low, high = np.percentile(some, (0.5, 99.5)).tolist()
    return Range(low, high)


def nearest_samples(drawing: Drawing) -> Figure:
    """A row for each cluster: its mean, its mode where the model has one, and the samples nearest to its centre."""
    found, clusters = drawing.found, drawing.clusters
    first: list[tuple[str, NDArray[Any]]] = [("mean", found.means()[clusters])]
    mode_PD = modes(found, clusters)
    if mode_PD is not None:
        first.append(("mode", mode_PD))
    n, film = len(first), is_film(found.data.shape)
    n_frames, n_nearest = (FRAMES, FILMS) if film else (1, NEAREST)
    first_PCD = np.stack([x_PD for _, x_PD in first], axis=1)
    blank_PCD = np.full((len(clusters), n_nearest, first_PCD.shape[-1]), np.nan)
    images = drawing.images(np.concatenate([first_PCD, blank_PCD], axis=1), n_frames)
    samples = np.full(images.shape[:2], -1, dtype=np.int64)
    for i, k in enumerate(clusters):
        rows_R = found.nearest(k, n_nearest)
        images[i, n : n + len(rows_R)] = drawing.images(found.samples(rows_R), n_frames)
        samples[i, n : n + len(rows_R)] = rows_R
    how = "nearest to its centre" if found.by_distance else "of which the model is surest, and among them those nearest to the mean code"
    mode = "" if mode_PD is None else ", its mode, which the model generates,"
    return tiled(
        Tiles(images=images, rows=[str(k) for k in clusters], columns=[*(name for name, _ in first), *[""] * n_nearest], samples=samples),
        name="nearest-samples",
        title="Means and nearest samples" if mode_PD is None else "Means, modes and nearest samples",
        note=f"Of each cluster its mean{mode} and the samples {how}.",
        of=drawing.used,
    )

"""What a map shows of a code, and what stands on the axes of figures."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tuner.report.course import by_epoch
from tuner.report.maps import maps
from tuner.report.space import _ticks
from tuner.report.tiles import Tiles, tiled
from tuner.runs.course import Moment

N = 60
CLUSTER = np.repeat(np.arange(3), N // 3)


def with_code(code_NZ: Any, **more: Any) -> Any:
    """What maps need of a winner: three clusters of twenty samples, no classes."""
    known: dict[str, Any] = {"cluster_N": CLUSTER, "class_N": None, "n_clusters": 3, "epoch": 2, "moments": (), **more}
    return SimpleNamespace(code_NZ=code_NZ.astype(np.float32), mapped=lambda n=5000: np.arange(N), **known)


def blobs(z: int, apart: float = 10.0) -> Any:
    return np.random.default_rng(0).normal(size=(N, z)) + apart * CLUSTER[:, None]


def test_a_narrow_code_of_two_numbers_is_not_drawn_on_a_grid() -> None:
    code_NZ = 1e-3 * blobs(2)
    (drawn,) = maps(with_code(code_NZ))
    x = np.concatenate([trace["x"] for trace in drawn.traces])
    np.testing.assert_allclose(x, code_NZ[:, 0], atol=1e-4 * np.ptp(code_NZ))
    assert drawn.rows is not None and len({row[1] for row in drawn.rows}) == N
    assert drawn.note.startswith("The code as it is")


def test_the_maps_by_epoch_say_how_they_were_made() -> None:
    two, five = blobs(2), blobs(5)
    notes = []
    for code_NZ in (two, five):
        course = by_epoch(with_code(code_NZ, moments=[Moment(epoch=1, c_S=CLUSTER, z_SZ=code_NZ.astype(np.float32))]))
        assert course is not None
        notes.append(course.note)
    assert notes == ["The code as it is.", "t-SNE of scikit-learn; each map begins from the one before it."]


def test_a_code_that_does_not_hold_the_cluster_is_said_to() -> None:
    (apart,), (mixed,) = maps(with_code(blobs(3))), maps(with_code(blobs(3, apart=0.0)))
    assert "mixed" not in apart.note
    assert "Clusters lie mixed in it: the nearest sample is of the same cluster for " in mixed.note


@pytest.mark.parametrize(("low", "high"), [(1.06e-4, 4.76e-4), (3e-4, 3e-3), (5e-4, 2e-3), (1e-6, 1.0), (0.011, 0.012), (20.0, 900.0)])
def test_the_texts_of_a_logarithmic_axis_do_not_run_into_each_other(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert 2 <= len(ticks) <= 5
    width = 250 / math.log(high / low)  # pixels of the axis of a small figure
    for a, b in itertools.pairwise(ticks):
        assert math.log(b / a) * width > 7 * (len(f"{a:.3g}") + len(f"{b:.3g}")) / 2, "7 pixels for a digit"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.3], "Pictures."),
        ([1.04, -0.04], "Pictures."),
        ([1.3, -0.3], "Pictures. 10% of the values lie beyond black or white, and look the same."),
    ],
)
def test_values_beyond_black_and_white_are_said_where_they_are_many(values: list[float], said: str) -> None:
    images = np.full((3, 10, 4, 4), 0.5)
    images[2] = np.nan  # images that are left out count nowhere
    for i, value in enumerate(values):
        images[0, i] = value
    drawn = tiled(Tiles(images=images, rows=["0", "1", "2"], columns=[""] * 10), name="n", title="t", note="Pictures.", of=3)
    assert drawn.note == said


def test_words_above_narrow_tiles_stand_on_two_lines_where_they_would_touch() -> None:
    drawn = tiled(Tiles(images=np.zeros((2, 4, 8, 8)), rows=["0", "1"], columns=["mean", "mode", "", "x"]), name="n", title="t", of=2)
    assert drawn.layout["xaxis"]["ticktext"] == ["mean", "mode<br>\N{NO-BREAK SPACE}", "", "x"]

"""What a run remembers of its data, and what it says of other data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tuner.data.datasets import DatasetSpec, load
from tuner.data.fingerprint import Fingerprint

X, Y = np.random.RandomState(0).rand(40, 6).astype(np.float32), np.random.RandomState(1).randint(0, 3, 40)


def identity(path: Path, x: np.ndarray = X, y: np.ndarray | None = Y) -> Fingerprint:
    np.savez(path, x=x, **({} if y is None else {"y": y}))
    return load(DatasetSpec(name=f"npz:{path}")).identity


def test_the_same_values_in_another_format_are_the_same_data(tmp_path: Path) -> None:
    rows = [",".join([*(repr(float(v)) for v in x), str(y)]) for x, y in zip(X, Y, strict=True)]
    (tmp_path / "my.csv").write_text("\n".join(["a,b,c,d,e,f,label", *rows]) + "\n")
    as_csv = load(DatasetSpec(name=f"csv:{tmp_path}/my.csv")).identity
    as_images = identity(tmp_path / "my.npz", X.reshape(40, 2, 3))
    assert as_csv == as_images == identity(tmp_path / "doubles.npz", X.astype(np.float64))
    assert as_csv.differences(as_images) == []


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X + 1, Y, ["other values, or the same in another order"]),
        (X[::-1], Y[::-1], ["other values, or the same in another order"]),
        (X[:39], Y[:39], ["39 rows instead of 40"]),
        (X[:, :5], Y, ["5 columns instead of 6"]),
        (X[:30, :5], Y[:30], ["30 rows instead of 40", "5 columns instead of 6"]),
        (X, 2 - Y, ["other labels"]),
        (X, None, ["no labels where there were some"]),
    ],
)
def test_what_differs_is_named(tmp_path: Path, x: np.ndarray, y: np.ndarray | None, said: list[str]) -> None:
    assert identity(tmp_path / "one.npz").differences(identity(tmp_path / "other.npz", x, y)) == said


def test_it_survives_being_written(tmp_path: Path) -> None:
    for y in (Y, None):
        found = identity(tmp_path / "my.npz", y=y)
        assert Fingerprint.read(found.written()) == found
    assert Fingerprint.read(None) is None


def test_a_limit_and_a_scale_are_part_of_it(tmp_path: Path) -> None:
    whole = identity(tmp_path / "my.npz")
    for more in ({"limit": 20}, {"scale": "standard"}):
        assert load(DatasetSpec(name=f"npz:{tmp_path}/my.npz", **more)).identity != whole  # type: ignore[arg-type]

"""The data doctor: every doubt is provoked by a small file, names the key that settles it, and is gone when it is settled."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.cli.app import main
from tuner.cli.options import DONE, THEIRS
from tuner.data.datasets import DatasetSpec
from tuner.data.examine import Findings, examine
from tuner.data.raw import Columns
from tuner.errors import UserError
from tuner.machines import checks, probe
from tuner.machines.nodes import Node
from tuner.space.reader import read_space

N = 240
R = np.random.default_rng(0)
Y = np.arange(N) % 3
X = R.normal(size=(3, 4))[Y] * 8 + R.normal(size=(N, 4))
FRAME = pd.DataFrame(X, columns=list("abcd"))


def looked(path: Path, scale: str | None = None, **columns) -> Findings:
    return examine(DatasetSpec(name=str(path), scale=scale, columns=Columns(**columns)))


def csv(folder: Path, frame: pd.DataFrame = FRAME, text: str = "", **more) -> Path:
    frame = frame.assign(**more)
    (folder / "own.csv").write_text(text or frame.to_csv(index=False))
    return folder / "own.csv"


def npz(folder: Path, **arrays) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def test_of_sound_data_there_is_no_doubt_and_one_line(tmp_path: Path) -> None:
    found = looked(csv(tmp_path, label=Y))
    assert (found.doubts, found.notes, found.distinct) == ((), (), N)
    assert found.lines() == ["nothing in it may be meant otherwise"]
    facts = dict(found.facts)
    assert facts["rows"] == "240 rows, 4 columns, float64"
    assert facts["labels"] == "3 classes of 80 to 80 rows"
    assert facts["memory"] == "0.0 MB on the device"


# A column, the doubt about it, and what settles it.
COLUMNS = {
    "an identifier by its name": ({"id": R.permutation(N) * 7}, "column 'id' looks like an identifier", [{"id": "id"}, {"drop": ("id",)}]),
    "an identifier that is one": ({"id": R.permutation(N) * 7}, "column 'id' looks like an identifier", [{"id": "none"}]),
    "an identifier in its values": ({"sample": np.arange(N) + 5}, "column 'sample' counts the rows", [{"id": "sample"}, {"id": "none"}]),
    "labels by their name": ({"target": Y}, "column 'target' looks like labels", [{"label": "target"}, {"drop": ("target",)}]),
    "labels that are none": ({"target": Y}, "column 'target' looks like labels", [{"label": "none"}]),
    "labels in their values": ({"kind": Y}, "column 'kind' holds 3 whole numbers", [{"label": "kind"}, {"label": "none"}]),
    "a column that never varies": ({"one": np.full(N, 3.5)}, "column 'one' never varies", [{"drop": ("one",)}]),
}  # fmt: skip


@pytest.mark.parametrize("what", list(COLUMNS))
def test_a_doubtful_column_is_named_with_the_keys_that_settle_it(what: str, tmp_path: Path) -> None:
    column, said, ways = COLUMNS[what]
    path = csv(tmp_path, **column)
    assert [doubt for doubt in looked(path, "standard").doubts if doubt.startswith(said)], looked(path, "standard").doubts
    for way in ways:
        assert not [doubt for doubt in looked(path, "standard", **way).doubts if doubt.startswith(said)], way


def test_a_column_that_nearly_never_varies_is_said(tmp_path: Path) -> None:
    x = np.r_[[1.0], np.zeros(1999)]
    path = npz(tmp_path, x=np.c_[R.normal(size=(2000, 4)), x])
    assert any(doubt.startswith("column 5 nearly never varies") for doubt in looked(path).doubts)


@pytest.mark.parametrize(
    ("columns", "scale", "said"),
    [
        ({"metres": 5.4e6 + X[:, 0] * 1e-2}, None, "column 'metres' loses differences in float32"),
        ({"metres": 5.4e6 + X[:, 0] * 1e-2}, "standard", "column 'metres' differs little beside the size of the values. Scaled in float64"),
        ({"income": X[:, 0] * 1e5}, None, "column 'income' outweighs all others"),
    ],
)
def test_what_float32_and_distances_make_of_a_column_is_said(columns: dict, scale: str | None, said: str, tmp_path: Path) -> None:
    found = looked(csv(tmp_path, **columns), scale)
    assert [doubt for doubt in found.doubts if doubt.startswith(said)], found.doubts
    if scale is None:
        assert not [doubt for doubt in looked(csv(tmp_path, **columns), "standard").doubts if doubt.startswith(said)]


def test_repeated_rows_and_more_clusters_than_distinct_ones(tmp_path: Path) -> None:
    found = looked(npz(tmp_path, x=np.repeat(X[:2], 60, 0)))
    assert found.doubts[0] == "118 of 120 rows repeat another one, as they are in float32"
    assert found.of_clusters(3) == ["3 clusters are asked for, but there are only 2 distinct rows. Set n_clusters=2 or less"]
    assert found.of_clusters(2) == []
    assert looked(npz(tmp_path, x=np.r_[X, X[:1]])).doubts == ("1 of 241 rows repeats another one, as they are in float32",)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.arange(N) % 150, "the labels have 150 classes for 240 rows"),
        (np.arange(N), "the labels have 240 classes"),
        (np.zeros(N, dtype=int), "all labels are the same: scores against them say nothing"),
        (np.r_[Y[:-1], 3], "1 of 4 classes has a single row"),
    ],
)
def test_labels_that_may_be_none(y: np.ndarray, said: str, tmp_path: Path) -> None:
    found = looked(npz(tmp_path, x=X, y=y))
    assert [doubt for doubt in found.doubts if doubt.startswith(said)], found.doubts


def test_hundreds_of_classes_and_many_more_clusters_than_classes(tmp_path: Path) -> None:
    found = looked(npz(tmp_path, x=R.normal(size=(900, 3)), y=np.arange(900) % 300))
    assert found.doubts == ("the labels have 300 classes. If they are no classes, say label: none",)
    found = looked(npz(tmp_path, x=X, y=Y))
    assert found.of_clusters(16)[0].startswith("16 clusters are asked for, but there are 3 classes")
    assert found.of_clusters(15) == []


HEADERS = {
    "0,1,2\n": ("the first row counts 0, 1, …: it is taken as a header", N),
    "1,2,3\n": ("the first row counts 1, 2, …: it is taken as a header", N),
    "1990,1991,1992\n": ("the first row, 1990, 1991, …, looks like a header: it is taken as a sample", N + 1),
    "5.1,3.5,0.2.1\n": ("the first row, 5.1, 3.5, …, is taken as a header, but holds numbers", N),
}


@pytest.mark.parametrize("first", list(HEADERS))
def test_a_first_row_of_numbers_is_a_doubt_that_header_settles(first: str, tmp_path: Path) -> None:
    said, rows = HEADERS[first]
    path = csv(tmp_path, text=first + FRAME[["a", "b", "c"]].to_csv(index=False, header=False))
    found = looked(path)
    assert [doubt for doubt in found.doubts if doubt.startswith(said)], found.doubts
    assert found.data.n_samples == rows
    assert looked(path, header=True).data.n_samples == N
    assert looked(path, header=True).doubts == ()
    if "0.2.1" not in first:
        assert looked(path, header=False).data.n_samples == N + 1
        assert not [doubt for doubt in looked(path, header=False).doubts if "header" in doubt]


def test_coordinates_named_x_and_y(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": R.integers(0, 30, N), "y": R.integers(0, 30, N)})
    path = csv(tmp_path, frame)
    assert "column 'y' is taken as the labels, beside a column 'x'. If they are coordinates, say label: none" in looked(path).doubts
    assert not [doubt for doubt in looked(path, label="none").doubts if "label" in doubt]
    assert looked(path, label="none").data.spec.shape == (2,)


# --- what stops --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "scale", "said"),
    [
        ({"x": np.ones((N, 3))}, None, "all 240 rows are equal, so that there is nothing to cluster."),
        ({"x": 5e8 + np.arange(N * 2.0).reshape(N, 2) % 10}, None, "in float32 all 240 rows are equal"),
        ({"x": X * 1e37}, None, "whose squares are beyond float32. Say 'scale: standard'."),
        ({"x": np.where(X[3, 1] == X, np.nan, X)}, None, "1 of its values are not, the first x[3, 1] = nan."),
        ({"x": X}, "log1p", "'scale' is log1p, which is of values above -1, but the least value is"),
        ({"x": X}, "lognorm", "'scale' is lognorm, which is of counts, but the least value is"),
    ],
)  # fmt: skip
def test_a_problem_stops(arrays: dict, scale: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        looked(npz(tmp_path, **arrays), scale)
    assert said in str(caught.value)


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust"])
def test_large_values_and_offsets_are_scaled_before_they_are_rounded(scale: str, tmp_path: Path) -> None:
    plain = looked(npz(tmp_path, x=X), scale).data.x_ND.numpy()
    far = looked(npz(tmp_path, x=X * 2.0**60), scale).data.x_ND.numpy()
    np.testing.assert_allclose(far, plain, rtol=1e-6, atol=1e-7)
    whole = np.round(X * 1000).astype(np.int64)
    plain = looked(npz(tmp_path, x=whole), scale).data.x_ND.numpy()
    far = looked(npz(tmp_path, x=whole + 10**15), scale).data.x_ND.numpy()
    np.testing.assert_allclose(far, plain, rtol=1e-4, atol=3e-5)  # float64 holds 1e15 in steps of 0.125, of a deviation of 8,000


# --- where it is said --------------------------------------------------------------------------------------------------

SPACE = """\
model: kmeans
dataset: {{name: {path}}}
metric: {{name: silhouette, goal: maximize}}
parameters:
  n_clusters: {{values: [2, 3]}}
"""


def test_the_command_the_space_the_training_and_the_doctor_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv(tmp_path, target=Y)
    said = "column 'target' looks like labels, and is a feature. Say label: target, or drop: [target]; label: none if it is one"
    assert main(["data", str(path)]) == DONE
    out = " ".join(capsys.readouterr().out.split())
    assert f"Doubt: {said}." in out
    assert "240 rows, 5 columns" in out
    (tmp_path / "space.yaml").write_text(SPACE.format(path=path))
    assert f"csv:{path}: {said}." in read_space(str(tmp_path / "space.yaml")).notes
    assert main(["train", "kmeans", "--dataset", str(path), "--epochs", "1", "--set", "n_clusters=3"]) == DONE
    assert f"Note: {said}." in " ".join(capsys.readouterr().err.split())
    assert main(["train", "kmeans", "--dataset", str(path), "--epochs", "1", "--set", "n_clusters=3", "--label", "target"]) == DONE
    assert said not in " ".join(capsys.readouterr().err.split())
    seen = Node(id="b", label="b", address="", ports=(1, 2), gpus=0, found={"files": {str(path): probe.fingerprint(str(path))}})
    check = checks.check_data([seen], f"csv:{path}", None, [str(path)])
    assert check.state == "note"
    assert said in check.found


def test_the_command_says_that_all_is_well_and_refuses_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(csv(tmp_path, label=Y))]) == DONE
    assert "All is well" in capsys.readouterr().out
    assert main(["data", "digits"]) == DONE
    assert "10 classes of 174 to 183 rows" in capsys.readouterr().out
    assert main(["data", str(npz(tmp_path, x=np.ones((9, 2))))]) == THEIRS
    assert "all 9 rows are equal" in capsys.readouterr().err
    assert main(["data", str(csv(tmp_path, label=Y)), "--size", "big"]) == THEIRS
    assert "--size must be a number of pixels" in capsys.readouterr().err

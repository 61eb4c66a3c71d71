"""Files as people have them: the groups in them are found, or what may be meant otherwise is said. Nothing is misread without a word."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tuner.data.datasets import DatasetSpec, load, read_raw
from tuner.data.examine import Findings, examine
from tuner.data.labels import labelled_of
from tuner.data.raw import Columns
from tuner.errors import UserError
from tuner.metrics import METRICS, evaluate
from tuner.model import load_model
from tuner.training.loop import train

N = 240
R = np.random.default_rng(0)
Y = np.arange(N) % 3
X = R.normal(size=(3, 6))[Y] * 8 + R.normal(size=(N, 6))
U = ((X - X.min()) / (X.max() - X.min())).astype(np.float32)
FRAME = pd.DataFrame(U, columns=[f"f{i}" for i in range(6)])
WORDS = np.array(["dog", "cat", "eel"])[Y]
SOME = np.arange(N) % 5 == 0


def looked(path: Path, scale: str | None = None, **columns) -> Findings:
    return examine(DatasetSpec(name=str(path), scale=scale, columns=Columns(**columns)))


def accuracy(found: Findings, model: str = "kmeans") -> float:
    """Of three clusters."""
    trained = load_model(model)
    *_, last = train(trained, trained.hyper({"n_clusters": 3, "epochs": 3, "n_init": 8}), found.data, seed=0)
    return last.metrics["acc"]


def csv(folder: Path, frame: pd.DataFrame | None = None, *, text: str = "", **more) -> Path:
    (folder / "own.csv").write_text(text or (FRAME if frame is None else frame).assign(**more).to_csv(index=False))
    return folder / "own.csv"


def npz(folder: Path, **arrays) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


# --- labels ------------------------------------------------------------------------------------------------------------

LIKE_LABELS = ["label", "labels", "y", "target", "class", "gnd", "species", "cluster", "Category", "ground_truth", "cell_type"]


@pytest.mark.parametrize("name", LIKE_LABELS)
@pytest.mark.parametrize("words", [True, False])
def test_a_column_of_labels_is_taken_or_a_doubt_and_never_a_feature_without_a_word(name: str, words: bool, tmp_path: Path) -> None:
    path = csv(tmp_path, **{name: WORDS if words else Y})
    if name.lower() in ("label", "y"):
        assert looked(path).data.spec.n_classes == 3
    elif words:
        with pytest.raises(UserError, match=f"say label: {name}; drop: "):
            looked(path)
    else:
        assert any(doubt.startswith(f"column '{name}' looks like labels") for doubt in looked(path).doubts)
    assert accuracy(looked(path, label=name)) == 1


def test_the_second_column_of_labels_is_a_doubt(tmp_path: Path) -> None:
    path = csv(tmp_path, target=Y, label=WORDS)
    assert any(doubt.startswith("column 'target' looks like labels") for doubt in looked(path).doubts)
    assert accuracy(looked(path, drop=("target",))) == 1


SPELLINGS = {
    "leading zeros": ["01", "1", "2"],
    "exponents": ["3E2", "300", "301"],
    "underscores": ["1_0", "10", "2"],
    "beyond 53 bits": [str(2**53), str(2**53 + 1), str(2**53 + 2)],
    "eighteen digits": ["900000000000000001", "900000000000000002", "900000000000000003"],
    "beyond 64 bits": [str(2**70), str(2**70 + 1), str(2**70 + 2)],
    "signs": ["+1", "1", "-2"],
    "blanks within": ["a b", "a  b", "ab"],
    "capitals": ["Cat", "cat", "CAT"],
    "accents": ["café", "cafe", "naïve"],
}


@pytest.mark.parametrize("how", list(SPELLINGS))
def test_labels_are_as_they_are_written(how: str, tmp_path: Path) -> None:
    labels = np.array(SPELLINGS[how])[Y]
    found = looked(csv(tmp_path, label=labels))
    assert found.data.spec.n_classes == 3
    assert accuracy(found) == 1
    np.savez(tmp_path / "own.npz", x=U, y=labels)
    assert looked(tmp_path / "own.npz").data.spec.n_classes == 3


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64, np.float32, np.float64, bool])
def test_whole_numbers_of_any_type_are_labels(kind: type, tmp_path: Path) -> None:
    y = (Y > 0 if kind is bool else Y).astype(kind)
    found = load(DatasetSpec(name=str(npz(tmp_path, x=U, y=y))))
    assert found.y_N.tolist() == y.astype(int).tolist()
    big = np.iinfo(kind).max if issubclass(kind, np.integer) else 0
    if big:
        found = load(DatasetSpec(name=str(npz(tmp_path, x=U, y=(big - Y.astype(kind))))))
        assert found.y_N.tolist() == (2 - Y).tolist()


def test_one_hot_rows_are_labels_and_a_row_of_zeros_is_not_known(tmp_path: Path) -> None:
    y = np.eye(3)[Y]
    assert load(DatasetSpec(name=str(npz(tmp_path, x=U, y=y)))).y_N.tolist() == Y.tolist()
    y[::5] = 0
    assert load(DatasetSpec(name=str(npz(tmp_path, x=U, y=y)))).y_N.tolist() == np.where(SOME, -1, Y).tolist()


NOT_KNOWN = {
    "empty cells": lambda folder: csv(folder, label=np.where(SOME, None, WORDS)),
    "NA": lambda folder: csv(folder, label=np.where(SOME, "NA", WORDS)),
    "nan": lambda folder: csv(folder, label=np.where(SOME, "nan", WORDS)),
    "question marks": lambda folder: csv(folder, label=np.where(SOME, "?", WORDS)),
    "-1 in a csv": lambda folder: csv(folder, label=np.where(SOME, -1, Y)),
    "-1.0 in a csv": lambda folder: csv(folder, label=np.where(SOME, -1.0, Y)),
    "NaN": lambda folder: npz(folder, x=U, y=np.where(SOME, np.nan, Y)),
    "-1": lambda folder: npz(folder, x=U, y=np.where(SOME, -1, Y)),
    "empty words": lambda folder: npz(folder, x=U, y=np.where(SOME, "", WORDS)),
}


@pytest.mark.parametrize("how", list(NOT_KNOWN))
def test_rows_whose_label_is_not_known_are_clustered_and_not_scored(how: str, tmp_path: Path) -> None:
    found = looked(NOT_KNOWN[how](tmp_path))
    assert found.notes[-1].startswith("48 of 240 rows have no label (")
    assert (found.data.spec.n_classes, found.data.spec.n_unknown, found.data.n_samples) == (3, 48, N)
    assert found.data.y_N[SOME].tolist() == [-1] * 48
    assert accuracy(found) == 1


WRITTEN_FOR_NONE = ["unknown", "Unlabelled", "na", "n/a", "--", ".", "Missing", "unassigned"]


@pytest.mark.parametrize("word", WRITTEN_FOR_NONE)
@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
def test_words_for_labels_that_are_not_known(word: str, kind: str, tmp_path: Path) -> None:
    labels = np.where(SOME, word, WORDS)
    if kind == "parquet":
        FRAME.assign(label=labels).to_parquet(tmp_path / "own.parquet")
    path = {"csv": lambda: csv(tmp_path, label=labels), "npz": lambda: npz(tmp_path, x=U, y=labels)}.get(
        kind, lambda: tmp_path / "own.parquet"
    )()
    found = looked(path)
    assert found.notes[-1].startswith(f"48 of 240 rows have no label ({word})") and found.data.spec.n_classes == 3


@pytest.mark.parametrize("code", [-9, -999, 255, 999, np.iinfo(np.int64).min])
def test_a_class_far_from_the_others_may_be_no_label_and_is_said(code: int, tmp_path: Path) -> None:
    labels = np.where(SOME, code, Y)
    for path in (csv(tmp_path, label=labels), npz(tmp_path, x=U, y=labels)):
        assert any(doubt.startswith(f"label {code} is taken as a class, but may stand for") for doubt in looked(path).doubts)
    assert not looked(csv(tmp_path, label=Y * 100)).doubts  # these are all far from each other


def test_a_class_that_is_called_none_is_said_and_the_strands_are_two(tmp_path: Path) -> None:
    found = looked(csv(tmp_path, label=np.array(["none", "scratch", "edge"])[Y]))
    assert found.data.spec.n_classes == 3 and found.doubts[0].startswith("label none is taken as a class")
    assert looked(csv(tmp_path, label=np.array(["+", "-"])[Y % 2])).data.spec.n_classes == 2


def test_no_metric_and_no_labelled_draw_sees_what_is_not_known() -> None:
    import torch

    p_NK = torch.tensor(R.dirichlet([1, 1, 1], N))
    y_N = torch.tensor(np.where(SOME, -1, Y))
    some, known = evaluate(p_NK, y_N), evaluate(p_NK[~SOME], y_N[~SOME])
    of_labels = [name for name in some if METRICS[name].needs == "labels"]
    assert {"acc", "nmi", "ari"} <= set(of_labels)
    for name in of_labels:
        assert some[name] == known[name], name
    assert some["n_used"] == 3


def test_semi_supervised_models_are_given_known_labels_alone(tmp_path: Path) -> None:
    data = load(DatasetSpec(name=str(npz(tmp_path, x=U, y=np.where(SOME, -1, Y)))))
    labelled = labelled_of(data, SimpleNamespace(n_labels=60, label_seed=0, n_clusters=3))
    assert not set(labelled.rows_M.tolist()) & set(np.flatnonzero(SOME).tolist())
    assert labelled.sizes_C.tolist() == [20, 20, 20]


def test_two_signs_are_two_classes(tmp_path: Path) -> None:
    found = looked(npz(tmp_path, x=U, y=np.where(Y > 0, 1, -1)))
    assert found.data.spec.n_classes == 2
    assert found.notes == ("labels -1 and 1 are two classes: only beside other classes does -1 mean not known",)


def test_labels_none_of_which_is_known_are_none(tmp_path: Path) -> None:
    found = looked(npz(tmp_path, x=U, y=np.full(N, -1)))
    assert found.data.y_N is None
    assert found.notes == ("no label is known (-1): the data have none",)


# --- csv ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", ["# exported by hand\n", "# one\n# two\n", "% of MATLAB\n", "\n\n"])
def test_comments_and_blank_lines_above_the_header(comment: str, tmp_path: Path) -> None:
    assert accuracy(looked(csv(tmp_path, text=comment + FRAME.assign(label=Y).to_csv(index=False)))) == 1


def test_a_file_without_a_header_whose_words_are_the_labels(tmp_path: Path) -> None:
    found = looked(csv(tmp_path, text=FRAME.assign(label=WORDS).to_csv(index=False, header=False)))
    assert found.notes == ("without a header", "column 7 holds words: they are the labels")
    assert found.data.n_samples == N
    assert accuracy(found) == 1
    first = looked(csv(tmp_path, text=FRAME.assign(label=WORDS)[["label", *FRAME]].to_csv(index=False, header=False)))
    assert (first.data.n_samples, accuracy(first)) == (N, 1)


def test_columns_are_left_out_and_named_by_number(tmp_path: Path) -> None:
    path = csv(tmp_path, text=FRAME.assign(id=np.arange(N), site="x", label=Y).to_csv(index=False, header=False))
    found = looked(path, drop=("7", "8"), label="9")
    assert (found.data.spec.shape, accuracy(found)) == ((6,), 1)
    named = looked(csv(tmp_path, id=np.arange(N), site="x", label=Y), id="id", drop=("site",))
    assert (named.data.spec.shape, accuracy(named)) == ((6,), 1)


@pytest.mark.parametrize(("key", "columns"), [("label", {"label": "lable"}), ("drop", {"drop": ("lable",)}), ("id", {"id": "lable"})])
def test_a_column_that_is_not_there_is_named_with_the_nearest(key: str, columns: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"there is no column 'lable' for '{key}'. Did you mean 'label'"):
        looked(csv(tmp_path, label=Y), **columns)


LAID_OUT = {
    "an Excel line that names the separator": "sep=;\n" + FRAME.assign(label=WORDS).to_csv(index=False, sep=";"),
    "columns aligned by blanks": FRAME.assign(label=WORDS).to_string(index=False) + "\n",
    "R without names of rows": FRAME.assign(label=WORDS).to_csv(index=False, sep=" ", quoting=2),
}


@pytest.mark.parametrize("how", list(LAID_OUT))
def test_a_csv_as_other_programs_lay_it_out(how: str, tmp_path: Path) -> None:
    found = looked(csv(tmp_path, text=LAID_OUT[how]))
    assert (found.data.n_samples, found.data.spec.shape, accuracy(found)) == (N, (6,), 1)


ROWS = "".join(f"{i % 3}.5,{i % 7}.25\n" for i in range(30))
REFUSED = {
    "thousands": ('a,b\n"1,000.5",2\n' + ROWS, "Write numbers without separators between thousands."),
    "both decimal signs": ("a;b\n" + "".join(f"{i}.5;0,25\n" for i in range(30)), "a decimal comma, and other numbers have decimal points"),
    "another minus": ("a,b\n\u22121.5,2\n" + ROWS, "Its minus is another sign than -."),
    "units": ("a,b\n15 %,2\n" + ROWS, "Write numbers without units."),
    "truth": ("a,b\nTrue,2\n" + ROWS, "Write 1 for true and 0 for false"),
    "colons": ("a:b\n1.5:2\n" * 3, "none of them is found here"),
    "R's names of rows": ("a b\n" + "".join(f'"{i}" {i}.5 2\n' for i in range(30)), "row.names = FALSE leaves it out"),
    "a title": ("My table\na,b\n" + ROWS, "If line 1 is a title, begin it with #"),
    "separators at the ends": ("a,b,\n" + ROWS.replace("\n", ",\n"), "Does every line end in a separator?"),
    "separators at the ends of the rows": ("a,b\n" + ROWS.replace("\n", ",\n"), "Does every line but the header end in a separator?"),
    "ARFF": ("@relation x\n@attribute a real\n@data\n1\n", "it is an ARFF file"),
    "Matrix Market": ("%%MatrixMarket matrix coordinate real general\n3 3 1\n1 1 1.5\n", "it is a matrix of Matrix Market"),
}


@pytest.mark.parametrize("how", list(REFUSED))
def test_what_a_csv_is_not_read_for_is_named(how: str, tmp_path: Path) -> None:
    text, said = REFUSED[how]
    with pytest.raises(UserError) as error:
        looked(csv(tmp_path, text=text))
    assert said in str(error.value)


def test_headers_that_are_numbers_and_thousands_that_look_like_decimals_are_doubts(tmp_path: Path) -> None:
    waves = pd.DataFrame(U, columns=[f"{400.5 + 2.5 * i}" for i in range(6)])
    assert looked(csv(tmp_path, waves)).doubts[0].startswith("the first row, 400.5, 403.0, …, looks like a header")
    found = looked(csv(tmp_path, text="a;b\n" + "".join(f"{1 + i % 9},{i + 100};2\n" for i in range(30))))
    assert found.doubts[0].startswith("'1,100' is read as a decimal comma. If it separates thousands")


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("customer", R.permutation(10**6)[:N], "never holds a number twice"),
        ("patient", np.arange(N) // 3, "never falls from row to row"),
        ("time", np.arange(N)[::-1] * 2, "falls from row to row"),
        ("seconds", 0.1 + np.arange(N) / 7, "rises from row to row"),
        ("fine_label", Y, "looks like labels"),
        ("label2", Y, "looks like labels"),
        ("true class", Y, "looks like labels"),
    ],
)
def test_columns_that_name_rows_or_classes_are_doubts_whatever_they_are_called(
    name: str, values: np.ndarray, says: str, tmp_path: Path
) -> None:
    found = looked(csv(tmp_path, **{name: values}, tail=U[:, 0]))
    assert any(doubt.startswith(f"column '{name}' {says}") for doubt in found.doubts), found.doubts
    assert not looked(csv(tmp_path, **{name: values}, tail=U[:, 0]), drop=(name,)).doubts


def test_values_too_small_for_float32_and_a_column_flattened_by_one_value(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"whose square is beyond float32\. Say 'scale: standard'"):
        looked(npz(tmp_path, x=U * 1e-30, y=Y))
    assert accuracy(looked(npz(tmp_path, x=U * 1e-30, y=Y), "standard")) == 1
    found = looked(npz(tmp_path, x=np.r_[X, [[1e6] * 6]]), "minmax")
    assert any("flattened by few large values" in doubt and "scale: robust" in doubt for doubt in found.doubts)


# --- arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [{"x": U, "y": WORDS.astype(object)}, {"x": np.array(sp.csr_matrix(U), dtype=object)}])
def test_pickled_objects_are_refused_with_the_way_out(arrays: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not opened. Write words with y.astype\(str\), and a sparse matrix with scipy.sparse.save_npz"):
        looked(npz(tmp_path, **arrays))


def test_columns_of_an_array_are_left_out_by_their_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.c_[np.arange(N), U, R.normal(size=N)])
    found = looked(tmp_path / "own.npy", drop=("8",), id="1")
    np.testing.assert_array_equal(np.asarray(found.data.x_ND), U)
    for drop in (("9",), ("0",), ("f0",)):
        with pytest.raises(UserError, match=f"to leave out are given by their numbers, from 1 to 8, but got {drop[0]}"):
            looked(tmp_path / "own.npy", drop=drop)
    with pytest.raises(UserError, match="to leave out are given by their numbers"):
        looked(npz(tmp_path, x=U.reshape(N, 2, 3)), drop=("1",))


def test_an_archive_that_is_called_an_array_and_an_array_that_is_called_an_archive(tmp_path: Path) -> None:
    npz(tmp_path, x=U).rename(tmp_path / "own.npy")
    with pytest.raises(UserError, match=r"own\.npy is an npz archive\. Say npz:"):
        looked(tmp_path / "own.npy")
    np.save(tmp_path / "one.npy", U)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(UserError, match=r"one\.npz holds a single array, not an npz archive\. .* or say npy:"):
        looked(tmp_path / "one.npz")


def test_parts_of_a_published_split_are_put_together_and_one_without_labels_takes_all_of_them(tmp_path: Path) -> None:
    train, test = slice(200), slice(200, N)
    found = looked(npz(tmp_path, x_train=U[train], y_train=Y[train], x_test=U[test], y_test=Y[test]))
    assert accuracy(found) == 1 and any("the last 40 are the test split" in note for note in found.notes)
    some = looked(npz(tmp_path, train_images=U[train], train_labels=Y[train], test_images=U[test]))
    assert some.data.y_N is None and any("not all of them have labels, so that none are used" in note for note in some.notes)
    with pytest.raises(
        UserError, match=r"samples of all parts must have one shape, but there are 'x_train' \(200, 6\), 'x_test' \(40, 5\)"
    ):
        looked(npz(tmp_path, x_train=U[train], x_test=U[test, :5]))


def test_an_array_that_is_named_is_taken_and_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    path = npz(tmp_path, x=R.normal(size=(N, 6)), codes=U, truth_of_codes=Y)
    assert accuracy(looked(path, samples="codes", label="truth_of_codes")) == 1
    with pytest.raises(UserError, match=r"there is no array 'code' for 'samples'\. Did you mean 'codes'\?"):
        looked(path, samples="code")
    with pytest.raises(UserError, match=r"there is no array 'truth_of_code' for 'label'\. Did you mean 'truth_of_codes'\?"):
        looked(path, label="truth_of_code")


def test_records_are_refused_with_the_function_that_makes_columns_of_them(tmp_path: Path) -> None:
    records = np.zeros(N, dtype=[("width", "f4"), ("height", "f4")])
    with pytest.raises(
        UserError, match=r"x must hold numbers, but its type is .*numpy\.lib\.recfunctions\.structured_to_unstructured\(x\)"
    ):
        looked(npz(tmp_path, x=records))


def test_a_sparse_matrix_is_read_unless_the_memory_does_not_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sp.save_npz(tmp_path / "own.npz", sp.csr_matrix(U.astype(np.float32)))
    found = looked(tmp_path / "own.npz")
    np.testing.assert_array_equal(np.asarray(found.data.x_ND), U)
    assert any(note.startswith("a sparse matrix, ") for note in found.notes)
    monkeypatch.setattr("tuner.data.arrays._free_bytes", lambda: 5000)
    with pytest.raises(UserError, match=r"240 x 6 values need 0\.0 GB as a dense array, .* Reduce the columns first, with TruncatedSVD"):
        looked(tmp_path / "own.npz")


SCALED = {
    "metres": ({"x": 5.4e6 + X * 0.1}, "standard"),
    "large offsets": ({"x": 5e8 + X}, "standard"),
    "large offsets, minmax": ({"x": 5e8 + X}, "minmax"),
    "small deviations": ({"x": 1e6 + U.astype(np.float64)}, "standard"),
    "64-bit integers": ({"x": 10**15 + (X * 1000).astype(np.int64)}, "minmax"),
    "seconds": ({"x": np.c_[U.astype(float), 1.7e9 + Y * 3600.0 + R.normal(size=N)]}, "standard"),
    "columns of other sizes": ({"x": np.c_[X, R.uniform(0, 1e5, N)]}, "minmax"),
    "near the end of float32": ({"x": (U * 2 - 1) * np.float32(3e38)}, "minmax"),
    "near the end of float32, standard": ({"x": (U * 2 - 1) * np.float32(3e38)}, "standard"),
    "robust": ({"x": np.c_[X, 1e6 + X[:, :1]]}, "robust"),
}


@pytest.mark.parametrize("how", list(SCALED))
def test_scaling_in_float64_keeps_the_groups(how: str, tmp_path: Path) -> None:
    arrays, scale = SCALED[how]
    assert accuracy(looked(npz(tmp_path, y=Y, **arrays), scale)) == 1


@pytest.mark.parametrize("how", [how for how, (_, scale) in SCALED.items() if scale == "standard"])
def test_what_is_lost_without_a_scale_is_said(how: str, tmp_path: Path) -> None:
    path = npz(tmp_path, y=Y, **SCALED[how][0])
    try:
        said = " ".join(looked(path).doubts)
    except UserError as error:
        said = str(error)
    assert "scale: standard" in said


@pytest.mark.parametrize("shape", [(40, 3, 8, 8), (40, 8, 8, 3), (40, 1, 8, 8), (40, 8, 8, 1), (40, 8, 8)])
def test_images_of_any_order_of_axes_train_with_convolutions(shape: tuple, tmp_path: Path) -> None:
    path = npz(tmp_path, x=R.random(shape, dtype=np.float32), y=np.arange(40) % 2)
    data = load(DatasetSpec(name=str(path)))
    assert data.shape == ((3, 8, 8) if 3 in shape else (8, 8))
    model = load_model("ae")
    h = model.hyper(dict(model.tiny) | {"network": "conv", "batch_size": 20, "epochs": 1, "n_clusters": 2})
    assert [epoch.ended for epoch in train(model, h, data, seed=0)] == ["complete"]


def test_what_was_read_is_what_is_kept(tmp_path: Path) -> None:
    """The keys of a file's content are a part of what a run writes down."""
    spec = DatasetSpec(name="csv:own.csv", columns=Columns(label="a", drop=("b",), id="c", header=True))
    written = spec.written()
    assert written == {"name": "csv:own.csv", "limit": None, "scale": None, "label": "a", "drop": ["b"], "id": "c", "header": True}
    said = {key: value for key, value in written.items() if key not in ("name", "limit", "scale")}
    assert DatasetSpec(name=written["name"], columns=Columns.of(said)) == spec
    assert read_raw(DatasetSpec(name=str(csv(tmp_path)))).names_D == tuple(FRAME)

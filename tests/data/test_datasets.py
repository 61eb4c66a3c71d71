"""What data sets hold, and what is said of those that cannot be used."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.data.datasets import Data, DatasetSpec, describe, load
from tuner.data.published import KNOWN, PUBLISHED, MissingData
from tuner.data.raw import data_root
from tuner.errors import UserError
from tuner.model import DataSpec

needs_images = pytest.mark.skipif(not os.environ.get("TUNER_DATA"), reason="TUNER_DATA names no folder with the real MNIST and USPS")


def spec(name: object, **more: object) -> DatasetSpec:
    return DatasetSpec(name=str(name), **more)  # type: ignore[arg-type]


def npz(folder: Path, **arrays: object) -> str:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def csv(folder: Path, text: str) -> str:
    path = folder / "own.csv"
    path.write_text(text)
    return f"csv:{path}"


def error_of(name: str, folder: Path | None = None, **more: object) -> str:
    """The message, the same from `load` and from `describe`, with the folder of the test taken out."""
    messages = []
    for act in (load, describe):
        with pytest.raises(UserError) as caught:
            act(spec(name, **more), folder)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    return messages[0].replace(f"{folder}/", "") if folder else messages[0]


X = np.arange(12, dtype=np.float64).reshape(6, 2)


# --- the published sets ------------------------------------------------------------------------------------------------


def test_digits_are_1797_images_in_the_unit_range() -> None:
    digits = load(spec("digits"))
    assert digits.x_ND.shape == (1797, 64)
    assert digits.x_ND.dtype == torch.float32
    assert digits.shape == (8, 8)
    assert digits.test is None
    assert digits.spec == DataSpec(1797, (8, 8), 10, unit_range=True)
    assert (float(digits.x_ND.min()), float(digits.x_ND.max())) == (0.0, 1.0)
    assert digits.y_N is not None
    assert digits.y_N.dtype == torch.int64
    assert digits.y_N.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@needs_images
def test_mnist_is_both_splits_with_the_test_rows_kept() -> None:
    mnist = load(spec("mnist"))
    assert mnist.spec == DataSpec(70_000, (28, 28), 10, unit_range=True, n_test=10_000)
    assert mnist.test == slice(60_000, 70_000)
    assert mnist.y_N is not None
    assert mnist.y_N.bincount().tolist() == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert int((mnist.y_N[mnist.test] == 1).sum()) == 1135  # collapse scores 0.1135 on the test split
    assert float(mnist.x_ND[:60_000].mean()) == pytest.approx(0.1307, abs=5e-5)
    assert float(mnist.x_ND[:60_000].std()) == pytest.approx(0.3081, abs=5e-5)


@needs_images
def test_usps_is_both_splits_in_the_unit_range() -> None:
    usps = load(spec("usps"))
    assert usps.spec == DataSpec(9298, (16, 16), 10, unit_range=True, n_test=2007)
    assert usps.test == slice(7291, 9298)
    assert usps.y_N is not None
    assert int(usps.y_N.bincount()[0]) == 1553
    assert (float(usps.x_ND.min()), float(usps.x_ND.max())) == (0.0, 1.0)


@needs_images
@pytest.mark.parametrize("name", ["mnist", "usps"])
def test_images_and_labels_are_torchvisions(name: str) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    kind = {"mnist": datasets.MNIST, "usps": datasets.USPS}[name]
    ours = load(spec(name))
    theirs = [kind(os.environ["TUNER_DATA"], train=train) for train in (True, False)]
    x_N = torch.cat([torch.as_tensor(part.data) for part in theirs]).flatten(1) / 255
    assert float((ours.x_ND - x_N).abs().max()) <= (0 if name == "mnist" else 1 / 255)  # torchvision rounds USPS to 8 bits
    assert torch.equal(ours.y_N, torch.cat([torch.as_tensor(part.targets) for part in theirs]))


@needs_images
@pytest.mark.parametrize("name", ["mnist", "usps"])
@pytest.mark.parametrize("more", [{}, {"limit": 500}, {"limit": 500, "scale": "standard"}, {"scale": "minmax"}])
def test_describe_says_what_load_gives(name: str, more: dict[str, object]) -> None:
    assert describe(spec(name, **more)) == load(spec(name, **more)).spec


@pytest.mark.parametrize("more", [{}, {"limit": 500}, {"limit": 500, "scale": "standard"}, {"scale": "minmax"}])
def test_describe_says_of_digits_what_load_gives(more: dict[str, object]) -> None:
    assert describe(spec("digits", **more)) == load(spec("digits", **more)).spec


def test_absent_files_are_named_with_their_folder_when_the_download_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(folder: Path) -> None:
        raise OSError("no network")

    for name in ("mnist", "usps"):
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], download=no_network))
    assert error_of("usps", tmp_path).replace(str(tmp_path), "DATA") == (
        "usps is not in DATA (looked for usps.bz2, usps.t.bz2), and the download failed: no network. "
        "Put the files there, or say with --data-root or TUNER_DATA where they are."
    )
    assert "looked for MNIST/raw/train-images-idx3-ubyte, MNIST/raw/train-labels-idx1-ubyte, MNIST/raw/t10k" in error_of("mnist", tmp_path)
    with pytest.raises(MissingData):
        describe(spec("mnist"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(folder: Path) -> None:
        (folder / "usps.bz2").write_bytes(b"half")
        raise OSError("connection lost")

    monkeypatch.setitem(PUBLISHED, "usps", replace(PUBLISHED["usps"], download=breaks_off))
    with pytest.raises(MissingData, match=r"connection lost"):
        load(spec("usps"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_not_fetched_and_absent_ones_are_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def mirror(folder: Path) -> None:
        fetched.append("usps")
        for file in PUBLISHED["usps"].files:
            (folder / file).write_bytes(b"new")

    monkeypatch.setitem(PUBLISHED, "usps", replace(PUBLISHED["usps"], download=mirror))
    (tmp_path / "usps.bz2").write_bytes(b"old")
    describe(spec("usps"), tmp_path)
    describe(spec("usps"), tmp_path)
    assert fetched == ["usps"]
    assert [(tmp_path / file).read_bytes() for file in PUBLISHED["usps"].files] == [b"old", b"new"]


def test_a_data_root_that_cannot_be_made_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        MissingData, match=r"usps is not in .*file/data \(looked for usps.bz2, usps.t.bz2\), and the download failed: .*Not a dir"
    ):
        load(spec("usps"), tmp_path / "file" / "data")


@pytest.mark.parametrize("name", ["mnist", "usps", "svhn", "rcv1_4"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    for file in PUBLISHED[name].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"not what it should be")
    with pytest.raises(UserError) as caught:
        load(spec(name), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name} cannot be read: ")
    assert "Delete its files, and the next run fetches them again: " in message
    assert all(str(tmp_path / file) in message for file in PUBLISHED[name].files)


def test_the_data_root_is_the_argument_or_the_variable_or_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_DATA", str(tmp_path / "variable"))
    assert data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data_root() == tmp_path / "variable"
    monkeypatch.setenv("TUNER_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "tuner"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "tuner"


# --- names, subsets, scales --------------------------------------------------------------------------------------------


def test_an_unknown_data_set_is_answered_with_the_nearest() -> None:
    known = KNOWN
    assert known.startswith("Known are digits, mnist, usps, svhn, rcv1_4, rcv1_4_first, ")
    assert "stl10, moving_digits, moving_mnist, openml:NAME and the path of a file (npz:PATH, npy:PATH, " in known
    assert error_of("minst") == f"There is no data set 'minst'. Did you mean 'mnist'? {known}"
    assert error_of("imagenet21k") == f"There is no data set 'imagenet21k'. {known}"
    assert error_of("mine/x.npz").startswith("There is no file mine/x.npz (looked for ")
    assert error_of("mine/x").startswith("There is no file mine/x (looked for ")
    assert error_of("excel:x") == f"There is no data set 'excel:x'. {known}"
    assert error_of("npz:") == "'npz:' names no file. Write npz:PATH."


def test_an_unknown_scale_is_answered_with_the_nearest() -> None:
    assert (
        error_of("digits", scale="min_max")
        == "'scale' must be one of minmax | minmax_all | standard | robust | log1p | lognorm | none, but is 'min_max'. "
        "Did you mean 'minmax'?"
    )


@pytest.mark.parametrize("limit", [-1, 0, 1, 1798])
def test_a_limit_that_cannot_be_is_refused(limit: int) -> None:
    assert error_of("digits", limit=limit) == f"'limit' must stay within [2, 1797], the samples that digits has, but is {limit}."


def test_a_limit_takes_the_same_rows_in_the_files_order_every_time(tmp_path: Path) -> None:
    name = npz(tmp_path, x=np.arange(100.0)[:, None])
    torch.manual_seed(1)
    np.random.seed(1)
    first = load(spec(name, limit=6)).x_ND.flatten().tolist()
    assert first == [2, 26, 55, 75, 86, 93]  # what numpy's frozen RandomState(0) draws; another answer would move every limited result
    assert load(spec(name, limit=6)).x_ND.flatten().tolist() == first


def test_a_larger_subset_holds_the_smaller_one(tmp_path: Path) -> None:
    name = npz(tmp_path, x=np.arange(100.0)[:, None])
    rows = [set(load(spec(name, limit=limit)).x_ND.flatten().tolist()) for limit in (10, 50, 100)]
    assert rows[0] < rows[1] < rows[2] == set(range(100))


def test_a_limit_keeps_samples_and_labels_together_and_classes_about_in_their_shares() -> None:
    digits, some = load(spec("digits")), load(spec("digits", limit=600))
    assert digits.y_N is not None
    assert some.y_N is not None
    label_of = {tuple(x.tolist()): int(y) for x, y in zip(digits.x_ND, digits.y_N, strict=True)}
    assert [label_of[tuple(x.tolist())] for x in some.x_ND] == some.y_N.tolist()
    assert some.y_N.bincount().tolist() == pytest.approx([60] * 10, abs=20)


def test_a_subset_keeps_the_names_and_the_number_of_the_classes(tmp_path: Path) -> None:
    name = npz(tmp_path, x=np.arange(100.0)[:, None], y=np.arange(100) // 10)
    few = load(spec(name, limit=3))
    assert few.y_N is not None
    assert few.y_N.tolist() == (few.x_ND.flatten() // 10).tolist()
    assert few.spec.n_classes == 10


@needs_images
def test_the_test_rows_of_a_subset_are_test_rows_of_the_whole() -> None:
    usps, some = load(spec("usps")), load(spec("usps", limit=1000))
    assert usps.test is not None
    assert some.test is not None
    test_rows = {x.numpy().tobytes() for x in usps.x_ND[usps.test]}
    assert all(x.numpy().tobytes() in test_rows for x in some.x_ND[some.test])
    assert some.test.stop - some.test.start == pytest.approx(1000 * 2007 / 9298, abs=40)


@pytest.mark.parametrize(("shape", "scale"), [((2, 2), "minmax_all"), ((2, 1, 2), "minmax_all"), ((2, 1, 2), "minmax")])
def test_minmax_moves_all_values_of_images_by_one_rule_and_minmax_all_those_of_tables(shape: tuple, scale: str, tmp_path: Path) -> None:
    name = npz(tmp_path, x=np.array([[0.0, -10.0], [5.0, 10.0]]).reshape(shape))
    assert load(spec(name)).spec.unit_range is False
    scaled = load(spec(name, scale=scale))
    assert scaled.x_ND.tolist() == [[0.5, 0.0], [0.75, 1.0]]
    assert scaled.spec.unit_range is True


def test_minmax_moves_every_column_of_a_table_by_itself(tmp_path: Path) -> None:
    name = npz(tmp_path, x=np.array([[0.0, -10.0], [5.0, 10.0], [1.0, 0.0]]))
    scaled = load(spec(name, scale="minmax"))
    assert scaled.x_ND.tolist() == [[0.0, 0.0], [1.0, 1.0], [pytest.approx(0.2), 0.5]]
    assert scaled.spec.unit_range is True


def test_standard_gives_every_feature_mean_0_and_deviation_1(tmp_path: Path) -> None:
    x_ND = np.random.default_rng(0).normal([5.0, -300.0], [0.1, 20.0], (1000, 2))
    scaled = load(spec(npz(tmp_path, x=x_ND), scale="standard"))
    assert scaled.x_ND.dtype == torch.float32
    assert scaled.x_ND.mean(dim=0).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert scaled.x_ND.std(dim=0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-3)
    assert scaled.spec.unit_range is False


@pytest.mark.parametrize("scale", ["minmax", "standard"])
def test_what_never_varies_becomes_0(scale: str, tmp_path: Path) -> None:
    assert load(spec(npz(tmp_path, x=np.full((100, 3), 0.1)), scale=scale)).x_ND.count_nonzero() == 0


def test_none_leaves_values_as_they_are(tmp_path: Path) -> None:
    assert load(spec(npz(tmp_path, x=X), scale="none")).x_ND.tolist() == X.tolist()


def test_moving_to_another_precision_keeps_the_rest() -> None:
    digits = load(spec("digits", limit=20))
    moved = digits.to("cpu", torch.float64)
    assert moved.x_ND.dtype == torch.float64
    assert moved.y_N is digits.y_N
    assert moved.spec == digits.spec


def test_data_made_in_memory_counts_its_classes() -> None:
    made = Data(name="blobs", x_ND=torch.rand(4, 2), y_N=torch.tensor([0, 1, 2, 1]), shape=(2,))
    assert made.spec == DataSpec(4, (2,), 3, unit_range=True)


# --- npz ---------------------------------------------------------------------------------------------------------------


def test_an_npz_without_labels_has_none(tmp_path: Path) -> None:
    own = load(spec(npz(tmp_path, x=X)))
    assert own.y_N is None
    assert own.spec == DataSpec(6, (2,), None, unit_range=False)


def test_npz_images_keep_their_shape(tmp_path: Path) -> None:
    own = load(spec(npz(tmp_path, x=np.zeros((5, 4, 3), dtype=np.uint8), y=np.arange(5))))
    assert own.shape == (4, 3)
    assert own.x_ND.shape == (5, 12)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([7, -2, 7, 300, -2, 7]), [1, 0, 1, 2, 0, 1]),
        (np.array(["cat", "ant", "cat", "dog", "ant", "cat"]), [1, 0, 1, 2, 0, 1]),
        (np.array([1.0, 0.0, 1.0, 2.0, 0.0, 1.0]), [1, 0, 1, 2, 0, 1]),
        (np.array([True, False, True, True, False, True]), [1, 0, 1, 1, 0, 1]),
    ],
)
def test_labels_of_any_kind_become_0_to_c_minus_1(y: np.ndarray, classes: list[int], tmp_path: Path) -> None:
    own = load(spec(npz(tmp_path, x=X, y=y)))
    assert own.y_N is not None
    assert own.y_N.dtype == torch.int64
    assert own.y_N.tolist() == classes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": np.arange(5)}, "own.npz: y must hold one label for each of the 6 rows of x, but holds 5."),
        (
            {"x": X, "y": np.eye(6) * 2},
            "own.npz: y must hold one label for each row, shape (N,), or be one-hot, but has the shape (6, 6).",
        ),
        (
            {"x": X, "y": np.linspace(0, 1, 6)},
            "own.npz: y must hold whole numbers or words, but holds 0.2. Leave y out where there are no labels.",
        ),
        (
            {"x": X, "y": np.full(6, np.inf)},
            "own.npz: y must hold whole numbers or words, but holds inf. Leave y out where there are no labels.",
        ),
        ({"x": X, "y": np.zeros(6, dtype="datetime64[s]")}, "own.npz: y must hold whole numbers or words, but its type is datetime64[s]."),
        ({"one": X, "two": X}, "own.npz: an array 'x' is needed, but the file holds 'one', 'two'. Say samples: one, or another."),
        ({}, "own.npz: an array 'x' is needed, but the file holds nothing."),
        ({"x": np.arange(6.0)}, "own.npz: x must have the shape (N, D), (N, h, w), (N, 3, h, w) or the like, but has (6,)."),
        (
            {"x": np.zeros((6, 2, 0, 3))},
            "own.npz: x must have the shape (N, D), (N, h, w), (N, 3, h, w) or the like, but has (6, 2, 0, 3).",
        ),
        ({"x": np.zeros((6, 0))}, "own.npz: x must have the shape (N, D), (N, h, w), (N, 3, h, w) or the like, but has (6, 0)."),
        ({"x": np.array([["a", "b"]])}, "own.npz: x must hold numbers, but its type is <U1."),
        (
            {"x": np.where(X > 8, np.nan, X)},
            "own.npz: x must be finite in float32, but 3 of its values are not, the first x[4, 1] = nan.",
        ),
        (
            {"x": np.where(X > 10, 1e300, X)},
            "own.npz: x must be finite in float32, but 1 of its values are not, the first x[5, 1] = 1e+300.",
        ),
        ({"x": X[:1]}, "own.npz: at least 2 samples are needed, but it holds 1."),
        ({"x": np.zeros((0, 3))}, "own.npz: at least 2 samples are needed, but it holds 0."),
        (
            {"x": X, "y": np.array([{}] * 6)},
            "own.npz: x and y must be plain arrays, but the file holds pickled objects, which are not opened. Write words with "
            "y.astype(str), and a sparse matrix with scipy.sparse.save_npz or as x.toarray().",
        ),
    ],
)
def test_an_npz_that_cannot_be_used_is_answered_with_the_rule(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    assert error_of(npz(tmp_path, **arrays), tmp_path) == message


def test_other_arrays_of_an_npz_are_not_read(tmp_path: Path) -> None:
    assert load(spec(npz(tmp_path, x=X, notes=np.array([{}])))).x_ND.shape == (6, 2)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"some text, no archive"])
def test_a_file_that_is_no_npz_is_said_to_be_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    message = error_of(f"npz:{tmp_path}/own.npz", tmp_path)
    assert re.fullmatch(
        r"own\.npz is no npz archive, or is damaged: .+[^.]\. Write it with np\.savez\(path, x=\.\.\., y=\.\.\.\)\.", message
    ), message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_cut_off_or_with_flipped_bytes_is_said_to_be_damaged(save: object, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    save(path, x=np.random.default_rng(0).normal(size=(200, 20)))  # type: ignore[operator]
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:5000] + bytes(64) + whole[5064:]):
        path.write_bytes(content)
        assert error_of(f"npz:{path}", tmp_path).startswith("own.npz is no npz archive, or is damaged: ")


def test_a_single_array_is_told_how_to_become_an_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", X)
    message = error_of(f"npz:{tmp_path}/own.npy", tmp_path)
    assert message == "own.npy holds a single array, not an npz archive. Write it with np.savez(path, x=..., y=...), or say npy:own.npy."


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_an_absent_file_is_named_with_the_place_looked_at(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = f"There is no file own.{kind} (looked for {tmp_path}/own.{kind}, and in the data folder: --data-root or TUNER_DATA)."
    assert error_of(f"{kind}:own.{kind}") == message
    assert error_of(f"{kind}:{tmp_path}", tmp_path) == f"{tmp_path} cannot be read: Is a directory."


def test_a_relative_path_is_looked_for_here_and_then_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    npz(there, x=X)
    assert load(spec("npz:own.npz"), there).x_ND.shape == (6, 2)
    assert spec("npz:own.npz").located(there) == spec(f"npz:{there}/own.npz")
    npz(here, x=X[:4])
    assert load(spec("npz:own.npz"), there).x_ND.shape == (4, 2)
    assert spec("npz:own.npz", limit=3).located(there) == spec(f"npz:{here}/own.npz", limit=3)
    assert spec("digits").located(there) == spec("digits")


# --- csv ---------------------------------------------------------------------------------------------------------------


def test_a_csv_without_a_header_is_features_only(tmp_path: Path) -> None:
    own = load(spec(csv(tmp_path, "1,2,3\n4,5,1e-4\n\n")))
    assert own.x_ND.tolist() == [[1, 2, 3], [4, 5, pytest.approx(1e-4)]]
    assert own.y_N is None


@pytest.mark.parametrize("column", ["y", "label", "Label", " y "])
def test_a_column_of_labels_is_found_by_its_name(column: str, tmp_path: Path) -> None:
    own = load(spec(csv(tmp_path, f"a,{column},b\n1,red,2\n3,blue,4\n5,red,6\n")))
    assert own.x_ND.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert own.y_N is not None
    assert own.y_N.tolist() == [1, 0, 1]


def test_label_goes_before_y_which_is_then_a_feature(tmp_path: Path) -> None:
    own = load(spec(csv(tmp_path, "x,y,label\n0.1,0.2,0\n0.3,0.4,1\n")))
    assert own.x_ND.tolist() == [pytest.approx([0.1, 0.2]), pytest.approx([0.3, 0.4])]
    assert own.y_N is not None
    assert own.y_N.tolist() == [0, 1]


def test_numbered_labels_of_a_csv_are_sorted_as_numbers(tmp_path: Path) -> None:
    own = load(spec(csv(tmp_path, "a,y\n0,10\n0,9\n0,10\n")))
    assert own.y_N is not None
    assert own.y_N.tolist() == [1, 0, 1]


def test_a_header_without_labels_is_features_only(tmp_path: Path) -> None:
    own = load(spec(csv(tmp_path, "﻿width,height\n1,2\n3,4\n")))
    assert own.y_N is None
    assert own.shape == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n3,x\n",
            "own.csv:3: column 'b' must hold finite numbers, but holds 'x'. Labels belong in a column named 'label' or 'y', "
            "or say label: b; drop: [b] leaves the column out.",
        ),
        (
            "a,y,b\n1,0,2\n3,0,nan\n",
            "own.csv:3: column 'b' must hold finite numbers, but holds 'nan', a missing value. Fill missing values in, or "
            "leave such rows out, before; drop: [b] leaves the column out.",
        ),
        (
            "1,2\n3,\n",
            "own.csv:2: column 2 must hold finite numbers, but holds '', a missing value. Fill missing values in, or "
            "leave such rows out, before; drop: [2] leaves the column out.",
        ),
        (
            "1,2\n3,1e300\n",
            "own.csv:2: column 2 must hold finite numbers, but holds '1e300'. Labels belong in a column named 'label' or 'y', "
            "or say label: 2; drop: [2] leaves the column out.",
        ),
        ("1,2\n3\n", "own.csv:2: every row must have as many values as the first, 2, but this one has 1."),
        (",a\n0,1\n", "own.csv:1: a header must name every column, but column 1 has no name. (pandas: to_csv(path, index=False).)"),
        ("y\n0\n1\n", "own.csv: at least one column must be a feature, but 'y' holds the labels and there is no other."),
        ("a,y\n1,0.5\n2,1\n", "own.csv: y must hold whole numbers or words, but holds 0.5. Leave y out where there are no labels."),
        ("a,b\n1,2\n", "own.csv: at least 2 samples are needed, but it holds 1."),
        ("a,y\n", "own.csv: at least 2 samples are needed, but it holds 0."),
        ("", "own.csv: at least 2 samples are needed, but it holds 0."),
    ],
)
def test_a_csv_that_cannot_be_used_is_answered_with_line_and_column(text: str, message: str, tmp_path: Path) -> None:
    assert error_of(csv(tmp_path, text), tmp_path) == message


def test_a_csv_that_is_no_text_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(b"\xff\xfe\x00binary")
    assert error_of(f"csv:{tmp_path}/own.csv", tmp_path).startswith("own.csv is not UTF-8 text: ")

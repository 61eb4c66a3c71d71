"""Every format: a real file by its own writer gives the array that its own library reads of it."""

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse as sp
from PIL import Image

from tuner.data.cache import load_once
from tuner.data.datasets import DatasetSpec, load, read_raw
from tuner.data.files import READERS
from tuner.data.raw import Columns
from tuner.errors import UserError
from tuner.inference.csv_samples import csv_samples
from tuner.inference.sources import samples

N, D = 60, 4
R = np.random.default_rng(0)
Y = np.arange(N) % 3
X = R.normal(size=(N, D)) * 10.0 ** np.arange(-2, 2) + Y[:, None] * 3
WORDS = np.array(["dog", "cat", "eel"])[Y]
OF_WORDS = np.array([1, 0, 2])[Y]  # in the order of the alphabet
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])
LABELLED = FRAME.assign(label=WORDS)


def read(path: Path | str, **columns):
    return read_raw(DatasetSpec(name=str(path), columns=Columns(**columns)))


def refusal(path: Path | str, **columns) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **columns)
    return str(caught.value).replace(f"{Path(path).parent}/", "")


def same(raw, x, y=None) -> None:
    """To the last bit."""
    assert raw.x_N.shape == np.shape(x)
    np.testing.assert_array_equal(raw.x_N, x)
    assert (raw.y_N is None) == (y is None)
    if y is not None:
        assert raw.classes()[0].tolist() == list(y)


# --- arrays ------------------------------------------------------------------------------------------------------------

SHAPES = [(N, 5), (N, 6, 5), (N, 3, 8, 8), (N, 4, 6, 5), (N, 2, 3, 4, 5)]


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64", "bool"])
def test_npy_and_npz_of_every_type_are_what_numpy_reads(kind: str, tmp_path: Path) -> None:
    x = (R.integers(0, 2, (N, 5)) if kind == "bool" else R.integers(-100 if kind[0] != "u" else 0, 100, (N, 5))).astype(kind)
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", x=x, y=Y)
    same(read(tmp_path / "x.npy"), np.load(tmp_path / "x.npy"))
    same(read(tmp_path / "x.npz"), np.load(tmp_path / "x.npz")["x"], Y)
    assert np.array_equal(load(DatasetSpec(name=str(tmp_path / "x.npy"))).x_ND.numpy(), x.astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_npz_of_any_number_of_axes(shape: tuple, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=(x := R.normal(size=shape)))
    same(read(tmp_path / "x.npz"), x)
    assert load(DatasetSpec(name=str(tmp_path / "x.npz"))).shape == shape[1:]


@pytest.mark.parametrize(
    ("x", "y"),
    [("x", "y"), ("X", "Y"), ("data", "labels"), ("data", "target"), ("features", "gnd"), ("fea", "gnd"), ("arr_0", "arr_1"),
     ("images", "label"), ("samples", "classes")],
)  # fmt: skip
def test_npz_knows_the_names_that_people_give(x: str, y: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", **{x: X, y: WORDS})
    found = read(tmp_path / "own.npz")
    same(found, X, OF_WORDS)
    assert found.notes == (() if (x, y) == ("x", "y") else (f"samples from '{x}', labels from '{y}'",))


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("X_{}", "Y_{}"), ("{}_images", "{}_labels"), ("{}_x", "{}_y")])
def test_npz_in_parts_keeps_the_split(names: tuple, tmp_path: Path) -> None:
    x, y = names
    parts = {x.format("train"): X[:40], y.format("train"): Y[:40], x.format("test"): X[40:], y.format("test"): Y[40:]}
    np.savez(tmp_path / "own.npz", **parts)
    found = read(tmp_path / "own.npz")
    same(found, X, Y)
    assert found.n_train == 40
    assert "the last 20 are the test split" in found.notes[0]


def test_what_is_left_out_of_an_npz_is_said_and_samples_names_another(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=X, z=X[:, :2], y=Y)
    assert read(tmp_path / "own.npz").notes == ("left out: 'z'",)
    same(read(tmp_path / "own.npz", samples="z"), X[:, :2], Y)
    assert refusal(tmp_path / "own.npz", samples="zz").startswith("own.npz: there is no array 'zz' for 'samples'. Did you mean 'z'?")


def test_colours_come_first(tmp_path: Path) -> None:
    images = R.integers(0, 256, (20, 8, 9, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x=images)
    found = read(tmp_path / "own.npz")
    same(found, images.transpose(0, 3, 1, 2))
    assert found.notes == ("colours are the last axis of (20, 8, 9, 3)",)
    np.savez(tmp_path / "own.npz", x=images[..., :1])
    same(read(tmp_path / "own.npz"), images[..., 0])


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_a_sparse_npz_is_what_scipy_reads(kind: str, tmp_path: Path) -> None:
    x = sp.random(N, 30, density=0.1, format=kind, random_state=0)
    sp.save_npz(tmp_path / "x.npz", x)
    found = read(tmp_path / "x.npz")
    same(found, sp.load_npz(tmp_path / "x.npz").toarray())
    assert "10.0% of it set" in found.notes[0]


def test_a_sparse_matrix_that_no_memory_holds_is_refused_with_the_figure(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "x.npz", sp.csr_matrix(([1.0], ([0], [0])), shape=(3_000_000, 100_000)))
    assert refusal(tmp_path / "x.npz").startswith("x.npz: 3,000,000 x 100,000 values need 1,200.0 GB as a dense array")


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize(("x", "y"), [("fea", "gnd"), ("X", "Y"), ("data", "labels"), ("X", "y")])
def test_matlab_is_what_scipy_reads(version: str, x: str, y: str, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "m.mat", {x: X, y: (Y + 1.0)[:, None]}, format=version)
    same(read(tmp_path / "m.mat"), scipy.io.loadmat(tmp_path / "m.mat")[x], Y)


def test_matlab_s_cells_of_words_are_labels(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "t.mat", {"fea": X, "gnd": np.array([str(word) for word in WORDS], dtype=object)[:, None]})
    same(read(tmp_path / "t.mat"), X, OF_WORDS)


def test_matlab_with_samples_in_columns_and_sparse_matrices(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "m.mat", {"X": X.T, "gnd": Y[None]})
    found = read(tmp_path / "m.mat")
    same(found, X, Y)
    assert "samples are the columns" in found.notes
    scipy.io.savemat(tmp_path / "s.mat", {"fea": sp.csc_matrix(np.where(X > 1, X, 0)), "gnd": Y[:, None]})
    same(read(tmp_path / "s.mat"), np.where(X > 1, X, 0), Y)


def test_matlab_73_is_read_as_matlab_has_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:  # as MATLAB writes: HDF5 behind a head, axes reversed
        file["fea"], file["gnd"] = X.T, Y[None].astype(np.float64)
        file["#refs#/a"] = np.arange(3)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    (tmp_path / "m.mat").write_bytes(head.ljust(512, b"\0") + (tmp_path / "m.mat").read_bytes()[512:])
    same(read(tmp_path / "m.mat"), X, Y)


def test_hdf5_is_what_h5py_reads(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", data=X, compression="gzip", chunks=True)
        file["labels"] = [str(word) for word in WORDS]
    same(read(tmp_path / "x.h5"), h5py.File(tmp_path / "x.h5")["data"][()], OF_WORDS)
    with h5py.File(tmp_path / "parts.hdf5", "w") as file:
        file["train/x"], file["train/y"], file["test/x"], file["test/y"] = X[:40], Y[:40], X[40:], Y[40:]
    found = read(tmp_path / "parts.hdf5")
    same(found, X, Y)
    assert found.n_train == 40


def test_hdf5_needs_an_extra_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py.File(tmp_path / "x.h5", "w").close()
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert refusal(tmp_path / "x.h5") == "x.h5 is an HDF5 file, which needs h5py: pip install h5py."


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "feather", "mat", "h5", "h5ad", "csv"])
@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 40], ids=["empty", "noise"])
def test_what_is_no_such_file_is_said_to_be_none(kind: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"own.{kind}").write_bytes(content)
    assert refusal(tmp_path / f"own.{kind}").startswith("own.")


# --- AnnData -----------------------------------------------------------------------------------------------------------


def annotated(x):
    anndata = pytest.importorskip("anndata")
    obs = pd.DataFrame({"cell_type": pd.Categorical(WORDS), "depth": X[:, 0], "label": pd.array(Y, dtype="Int64")})
    obs.index = [f"cell{i}" for i in range(N)]
    made = anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(x.shape[1])]))
    made.layers["counts"] = made.X * 2
    made.obsm["X_pca"] = X[:, :2]
    return made


@pytest.mark.parametrize("of", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_h5ad_is_what_anndata_reads(of: Callable, tmp_path: Path) -> None:
    made = annotated(of(R.poisson(0.5, (N, 7)).astype(np.float32)))
    made.raw = made.copy()
    made.write_h5ad(tmp_path / "a.h5ad")
    theirs = pytest.importorskip("anndata").read_h5ad(tmp_path / "a.h5ad")
    x = np.asarray(theirs.X.todense() if sp.issparse(theirs.X) else theirs.X)
    same(read(tmp_path / "a.h5ad"), x, Y)
    same(read(tmp_path / "a.h5ad", label="cell_type"), x, OF_WORDS)
    same(read(tmp_path / "a.h5ad", label="none", samples="counts"), 2 * x)
    same(read(tmp_path / "a.h5ad", label="none", samples="X_pca"), theirs.obsm["X_pca"])
    same(read(tmp_path / "a.h5ad", label="none", samples="raw/X"), x)
    same(read(tmp_path / "a.h5ad", label="none", drop=("gene1", "gene6")), np.delete(x, [1, 6], axis=1))
    found = read(tmp_path / "a.h5ad")
    assert "labels from obs['label']" in found.notes
    assert "there is layers/counts, too: samples: layers/counts takes it" in found.notes
    assert refusal(tmp_path / "a.h5ad", label="cell_typ").startswith(
        "a.h5ad: obs has no column 'cell_typ' for 'label'. Did you mean 'cell_type'?"
    )
    assert refusal(tmp_path / "a.h5ad", samples="cunts").startswith("a.h5ad: there is no matrix 'cunts' for 'samples'. Did you mean ")


def test_labels_of_cells_that_are_not_known_and_those_that_nobody_named(tmp_path: Path) -> None:
    made = annotated(np.ones((N, 3), dtype=np.float32) * Y[:, None])
    del made.obs["label"]
    made.obs["cell_type"] = made.obs["cell_type"].where(np.arange(N) % 5 > 0)
    made.obs["some"] = pd.array(np.where(np.arange(N) % 4 > 0, Y, 0), dtype="Int64")
    made.obs.loc[made.obs_names[::4], "some"] = pd.NA
    made.write_h5ad(tmp_path / "a.h5ad")
    found = read(tmp_path / "a.h5ad")
    assert found.y_N is None
    assert found.doubts == ("obs holds cell_type, which may be labels. Say label: cell_type to score against it; label: none if not",)
    assert read(tmp_path / "a.h5ad", label="none").doubts == ()
    assert read(tmp_path / "a.h5ad", label="cell_type").classes()[0].tolist() == np.where(np.arange(N) % 5 > 0, OF_WORDS, -1).tolist()
    assert read(tmp_path / "a.h5ad", label="some").classes()[0].tolist() == np.where(np.arange(N) % 4 > 0, Y, -1).tolist()


def test_lognorm_is_what_scanpys_users_do_to_counts(tmp_path: Path) -> None:
    x = R.poisson(2, (N, 7)).astype(np.float32)
    x[3] = 0
    np.save(tmp_path / "x.npy", x)
    with np.errstate(invalid="ignore"):
        theirs = np.log1p(np.nan_to_num(x / x.sum(axis=1, keepdims=True, dtype=np.float64) * 1e4))
    np.testing.assert_allclose(load(DatasetSpec(name=str(tmp_path / "x.npy"), scale="lognorm")).x_ND, theirs, rtol=1e-6)


# --- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float64", "float32", "int16", "int64", "bool", "Int64", "Float32"])
def test_parquet_and_feather_are_what_pandas_reads(kind: str, tmp_path: Path) -> None:
    frame = (FRAME if "loat" in kind else FRAME.round() > 0 if kind == "bool" else FRAME.round()).astype(kind).assign(label=WORDS)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    same(read(tmp_path / "t.parquet"), pd.read_parquet(tmp_path / "t.parquet")[list("abcd")].to_numpy(np.float64), OF_WORDS)
    same(read(tmp_path / "t.feather"), pd.read_feather(tmp_path / "t.feather")[list("abcd")].to_numpy(np.float64), OF_WORDS)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64(), 3)], ids=str)
@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_columns_of_lists_are_features(suffix: str, kind: pa.DataType, tmp_path: Path) -> None:
    path, lists = tmp_path / f"t.{suffix}", (10 * X[:, :3]).round()
    table = pa.table({"a": X[:, 3], "embedding": pa.array(lists.tolist()).cast(kind), "label": WORDS})
    pq.write_table(table, path) if suffix == "parquet" else feather.write_feather(table, path)
    raw = read(path)
    same(raw, np.column_stack([X[:, 3], lists]), OF_WORDS)
    assert raw.names_D == ("a", "embedding[0]", "embedding[1]", "embedding[2]")
    assert raw.notes == ("column 'embedding' holds lists: their 3 entries are features",)
    assert read(path, drop=("embedding",)).names_D == ("a",)
    pieces = list(samples(str(path), 40, columns=Columns(label="label")))
    np.testing.assert_array_equal(np.concatenate([piece.x_B for piece in pieces]), raw.x_N)


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ([[1.0, 2.0], [3.0], [4.0, 5.0]], "lists of one length, but the first has 2 entries and that of row 2 has 1"),
        ([[1.0, 2.0], None, [4.0, 5.0]], "a list in every row, but 1 are missing"),
        ([[1.0, 2.0], [3.0, None], [4.0, 5.0]], "finite numbers, but 1 entries are missing"),
        ([[1.0, 2.0], [3.0, float("nan")], [4.0, 5.0]], "'e[1]' must hold finite numbers, but holds nan in row 2"),
        ([["a", "b"], ["c", "d"], ["e", "f"]], "must hold numbers, but its type is list<"),
    ],
)
def test_lists_that_are_no_features_are_refused(lists: list[object], said: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0], "e": lists}), tmp_path / "t.parquet")
    assert said in refusal(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", drop=("e",)).names_D == ("a",)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(X[:, 0]), pa.array(X[:, 1]), pa.array(Y)], names=["a", "a", "label"])
    pq.write_table(table, tmp_path / "t.parquet")
    assert refusal(tmp_path / "t.parquet") == "t.parquet: 2 columns are called 'a'. Rename them."
    with pytest.raises(UserError, match=r"2 columns are called 'a'\."):
        list(samples(str(tmp_path / "t.parquet"), 40))


@pytest.mark.parametrize("words", [pd.Categorical(WORDS), WORDS, pd.array(WORDS, dtype="string"), Y, pd.array(Y, dtype="Int64"), Y + 2**62])
def test_labels_of_a_parquet_in_every_type(words: object, tmp_path: Path) -> None:
    FRAME.assign(label=words).to_parquet(tmp_path / "t.parquet")
    same(read(tmp_path / "t.parquet"), FRAME.to_numpy(), Y if "int" in str(getattr(words, "dtype", "")).lower() else OF_WORDS)


def test_labels_of_a_parquet_that_are_not_known(tmp_path: Path) -> None:
    known_N = np.arange(N) % 5 > 0
    FRAME.assign(label=pd.Series(WORDS).where(known_N)).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").classes()[0].tolist() == np.where(known_N, OF_WORDS, -1).tolist()
    FRAME.assign(label=pd.array(Y, dtype="Int64")).assign(label=lambda f: f.label.where(known_N)).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").classes()[0].tolist() == np.where(known_N, Y, -1).tolist()


def test_an_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    LABELLED.set_index(pd.Index([f"r{i}" for i in range(N)])).to_parquet(tmp_path / "t.parquet")
    same(read(tmp_path / "t.parquet"), X, OF_WORDS)


def test_openml_is_what_scikit_learn_fetches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sklearn.datasets
    from sklearn.utils import Bunch

    asked = {}

    def fetch_openml(**how):  # the network alone is not there
        asked.update(how)
        frame = FRAME.assign(species=pd.Categorical(WORDS))
        return Bunch(frame=frame, target=frame["species"])

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    same(read_raw(DatasetSpec(name="openml:61"), tmp_path), X, OF_WORDS)
    assert asked == {"data_id": 61, "data_home": str(tmp_path), "as_frame": True, "parser": "auto"}
    same(read_raw(DatasetSpec(name="openml:iris"), tmp_path), X, OF_WORDS)
    assert asked["name"] == "iris"


# --- text --------------------------------------------------------------------------------------------------------------

WRITTEN = {
    "commas": {},
    "semicolons": {"sep": ";"},
    "tabs": {"sep": "\t"},
    "bars": {"sep": "|"},
    "decimal commas": {"sep": ";", "decimal": ","},
    "tabs with decimal commas": {"sep": "\t", "decimal": ","},
    "all quoted": {"quoting": 1},
    "CRLF": {"lineterminator": "\r\n"},
    "a mark in front": {"encoding": "utf-8-sig"},
    "UTF-16": {"encoding": "utf-16"},
    "UTF-16 without a mark": {"encoding": "utf-16-le"},
    "UTF-32": {"encoding": "utf-32"},
    "three digits": {"float_format": "%.3f"},
    "exponents": {"float_format": "%.6E"},
}


@pytest.mark.parametrize("how", list(WRITTEN))
@pytest.mark.parametrize("ending", ["csv", "tsv", "txt"])
def test_a_csv_of_any_layout_is_what_pandas_reads_when_it_is_told(how: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{ending}"
    LABELLED.to_csv(path, index=False, **WRITTEN[how])
    told = {key: value for key, value in WRITTEN[how].items() if key in ("sep", "decimal", "encoding")}
    same(read(path), pd.read_csv(path, **told, float_precision="round_trip")[list("abcd")].to_numpy(), OF_WORDS)


@pytest.mark.parametrize(("ending", "pressed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_pressed_csv_is_read(ending: str, pressed: Callable, tmp_path: Path) -> None:
    (tmp_path / f"t.csv.{ending}").write_bytes(pressed(LABELLED.to_csv(index=False).encode()))
    found = read(tmp_path / f"t.csv.{ending}")
    same(found, X, OF_WORDS)
    assert found.notes[0].startswith("compressed by ")


def test_numpys_own_text_is_read(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "t.txt", X)
    same(read(tmp_path / "t.txt"), np.loadtxt(tmp_path / "t.txt"))
    np.savetxt(tmp_path / "t.txt", np.c_[X, Y], header="a b c d label")
    found = read(tmp_path / "t.txt")
    same(found, X, Y)
    assert "the header is a comment" in found.notes


CITIES = np.array(["Köln", "Zürich", "Nîmes – “ouest”"])


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "iso8859_2", "gbk"])
@pytest.mark.parametrize("above", [0, 400_000], ids=["from the first row on", "late in the file"])
def test_words_are_told_apart_in_whatever_encoding_they_are(encoding: str, above: int, tmp_path: Path) -> None:
    """Where they are not UTF-8 this is said, and the table of assignments reads the same features."""
    words = {"gbk": np.array(["北京", "上海", "广州"]), "iso8859_2": np.array(["Łódź", "Kraków", "Gdańsk"])}.get(encoding, CITIES)
    words = np.array(["Köln", "Zürich", "Nîmes \x81"]) if encoding == "latin-1" else words
    first = "".join(f"{i},0.5,Bern\n" for i in range(above // 10))
    rows = "".join(f"{i},0.25,{words[i % 3]}\n" for i in range(30))
    (tmp_path / "t.csv").write_bytes(f"a,b,label\n{first}{rows}".encode(encoding))
    found = read(tmp_path / "t.csv")
    y_N, n_classes = found.classes()
    assert n_classes == 3 + bool(above)
    assert len({tuple(np.flatnonzero(y_N[-30:] == c)) for c in set(y_N[-30:].tolist())}) == 3
    assert any(note.startswith("not in UTF-8: read as ") for note in found.notes) == (encoding != "utf-8")
    samples = [sample.values_D for sample in csv_samples(tmp_path / "t.csv", None, Columns(), ",")]
    assert np.array_equal(np.stack(samples), found.x_N)


def test_a_header_longer_than_the_first_reading_is_read(tmp_path: Path) -> None:
    """Tens of thousands of genes."""
    names = [f"ENSG{i:011}.gene" for i in range(20_000)]
    values = R.integers(0, 9, (3, len(names)))
    pd.DataFrame(values, columns=names).assign(label=["a", "b", "a"]).to_csv(tmp_path / "t.csv", index=False)
    found = read(tmp_path / "t.csv")
    assert found.names_D == tuple(names) and found.classes()[0].tolist() == [0, 1, 0]
    assert np.array_equal(found.x_N, values)


def test_pyarrow_and_the_rows_one_by_one_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.data import csv_files

    LABELLED.to_csv(tmp_path / "t.csv", index=False)
    fast = read(tmp_path / "t.csv")
    monkeypatch.setattr(csv_files, "_by_arrow", lambda *of: None)
    slow = read(tmp_path / "t.csv")
    assert fast.x_N.tobytes() == slow.x_N.tobytes()
    assert fast.classes()[0].tolist() == slow.classes()[0].tolist()


# --- images ------------------------------------------------------------------------------------------------------------


def images(folder: Path, mode: str = "L", size: tuple[int, int] = (9, 8)) -> np.ndarray:
    """Twelve in three folders."""
    found = []
    for i in range(12):
        place = folder / ("cat", "dog", "eel")[i // 4] / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = R.integers(0, 256, (*size[::-1], *({"L": (), "RGB": (3,), "RGBA": (4,)}[mode])), dtype=np.uint8)
        Image.fromarray(pixels, mode=None).save(place)
        found.append(np.asarray(Image.open(place)))
    return np.stack(found)


def test_a_folder_of_images_is_what_pillow_reads(tmp_path: Path) -> None:
    grey, colours = images(tmp_path / "grey"), images(tmp_path / "rgb", "RGB")
    found = read(tmp_path / "grey")
    same(found, grey, np.repeat([0, 1, 2], 4))
    assert found.notes == ("12 grey images of 8x9, the folders are the classes",)
    same(read(tmp_path / "rgb"), colours.transpose(0, 3, 1, 2), np.repeat([0, 1, 2], 4))
    loaded = load(DatasetSpec(name=f"images:{tmp_path / 'grey'}"))
    assert (loaded.shape, loaded.spec.unit_range) == ((8, 9), True)
    assert load_once(DatasetSpec(name=f"images:{tmp_path / 'grey'}"), tmp_path).x_ND.equal(loaded.x_ND)
    (tmp_path / "grey/notes.txt").write_text("here")
    assert read(tmp_path / "grey").notes[-1] == "1 other files are left out"


def test_images_are_brought_to_a_size_and_to_grey(tmp_path: Path) -> None:
    images(tmp_path, "RGB")
    Image.new("RGB", (20, 30)).save(tmp_path / "eel/large.jpg")
    assert refusal(tmp_path).endswith("Say size: 32 or size: [height, width].")
    assert read(tmp_path, size=4).x_N.shape == (13, 3, 4, 4)
    assert read(tmp_path, size=(5, 6), colours="grey").x_N.shape == (13, 5, 6)
    first = Image.open(tmp_path / "cat/00.png").resize((6, 5), Image.Resampling.BILINEAR).convert("L")
    assert np.array_equal(read(tmp_path, size=(5, 6), colours="grey").x_N[0], np.asarray(first))


# --- which kind a path is ----------------------------------------------------------------------------------------------


def test_a_path_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.savez("archive", x=X)
    Path("archive.npz").rename("archive")
    FRAME.to_parquet("table")
    FRAME.to_csv("numbers", index=False)
    for name, kind in {"x.npy": "npy", "./x.npy": "npy", "archive": "npz", "table": "parquet", "numbers": "csv"}.items():
        assert DatasetSpec(name=name).name == f"{kind}:{name}"
        same(read(name), X)
    assert set(READERS) >= {"npz", "npy", "csv", "tsv", "parquet", "feather", "mat", "h5", "h5ad", "images"}


@pytest.mark.parametrize("ending", ["xlsx", "pkl", "pt", "rds", "arff", "zarr", "zip"])
def test_other_files_are_refused_with_a_way_out(ending: str, tmp_path: Path) -> None:
    message = refusal(tmp_path / f"own.{ending}")
    assert message.startswith(f"own.{ending}: files of the kind .{ending} are not read. ")
    assert message.endswith(".")

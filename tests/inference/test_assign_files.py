"""`tuner assign`: files of samples become files of clusters, with their names, in pieces; what does not fit is refused."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit.trained import winner
from scipy.io import savemat

from tuner.data.datasets import DatasetSpec, load, read_raw
from tuner.data.raw import Columns
from tuner.inference import assign as core
from tuner.inference.load import load_assigner
from tuner.inference.sources import samples

X = read_raw(DatasetSpec(name="digits")).values(slice(1200))
NAMES = np.array([f"sample {i}, a" for i in range(len(X))])


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return winner(tmp_path_factory.mktemp("kmeans"), scale="standard")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_PIECE", 1)  # as many samples as a network sees at a time


def write(path: Path, kind: str) -> Path:
    """The samples, and `id` beside them."""
    path = path / f"in.{kind}"
    if kind == "npz":
        np.savez_compressed(path, x=X.astype(np.float64).reshape(-1, 8, 8), id=NAMES, y=np.zeros(len(X)))
    elif kind == "npy":
        np.save(path, X)
    elif kind == "parquet":
        columns = {f"f{i}": X[:, i] for i in range(64)}
        pq.write_table(pa.table(columns | {"id": NAMES, "label": np.zeros(len(X))}), path, row_group_size=350)
    else:
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow([*(f"f{i}" for i in range(20)), "id", *(f"f{i}" for i in range(20, 64)), "label"])
            out.writerows([*map(str, x[:20]), name, *map(str, x[20:]), "7"] for x, name in zip(X, NAMES, strict=True))
    return path


def read(path: Path) -> dict[str, list]:
    if path.suffix == ".npz":
        return {name: column.tolist() for name, column in np.load(path).items()}
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    with path.open() as file:
        rows = list(csv.reader(file))
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    return {name: list(cells) if name == "id" else [float(cell) for cell in cells] for name, cells in columns.items()}


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "parquet"])
def test_every_format_gives_the_clusters_of_its_samples(kind, best, tmp_path, tuner, small_pieces):
    ids = [] if kind == "npy" else ["--id", "id"]
    output = tmp_path / f"out.{'csv' if kind == 'npy' else kind}"
    code, out, err = tuner("assign", str(best), "--input", str(write(tmp_path, kind)), "--output", str(output), *ids)
    assert (code, err) == (0, "") and "1,200 samples in 3 clusters" in out
    found, expected = read(output), load_assigner(best, device="cpu").assign(X)
    assert found["row" if kind == "npy" else "id"] == (list(range(1200)) if kind == "npy" else NAMES.tolist())
    assert found["cluster"] == expected.cluster_N.tolist()
    for name in ("confidence", "margin", "distance", "next_distance"):
        assert np.array(found[name], dtype=np.float32).tolist() == getattr(expected, f"{name}_N").tolist(), name


@pytest.mark.parametrize("kind", ["semicolons", "words without a header", "pressed", "feather", "mat", "another name"])
def test_what_training_reads_is_read_for_its_clusters_too(kind, best, tmp_path, tuner):
    frame = pd.DataFrame(X[:300].astype(np.float64), columns=[f"f{i}" for i in range(64)])
    if kind == "semicolons":
        frame.to_csv(path := tmp_path / "in.csv", sep=";", decimal=",", index=False)
    elif kind == "words without a header":
        frame.assign(of="a").to_csv(path := tmp_path / "in.csv", header=False, index=False)
    elif kind == "pressed":
        frame.to_csv(path := tmp_path / "in.csv.gz", index=False)
    elif kind == "feather":
        frame.to_feather(path := tmp_path / "in.feather")
    elif kind == "mat":
        savemat(path := tmp_path / "in.mat", {"fea": X[:300].astype(np.float64)})
    else:
        np.savez(path := tmp_path / "in.npz", data=X[:300], labels=np.arange(300))
    code, _, err = tuner("assign", str(best), "--input", str(path), "--output", str(tmp_path / "out.csv"))
    assert (code, err) == (0, "")
    assert read(tmp_path / "out.csv")["cluster"] == load_assigner(best, device="cpu").assign(X[:300]).cluster_N.tolist()


def test_names_stand_beside_the_samples_of_every_kind_of_table(best, tmp_path, tuner, small_pieces):
    frame = pd.DataFrame(X.astype(np.float64), columns=[f"f{i}" for i in range(64)]).assign(id=NAMES)
    frame.to_csv(tmp_path / "semicolons.csv", sep=";", decimal=",", index=False)
    frame.to_csv(tmp_path / "tabs.tsv", sep="\t", index=False, encoding="utf-16")
    (tmp_path / "lines.csv").write_text("# a comment\r\n" + frame.to_csv(index=False, lineterminator="\r\n"), newline="")
    for ending in ("gz", "bz2", "xz"):
        frame.to_csv(tmp_path / f"pressed.csv.{ending}", index=False)
    frame.to_feather(tmp_path / "table.feather", chunksize=350)
    expected = load_assigner(best, device="cpu").assign(X).cluster_N.tolist()
    for path in sorted(tmp_path.iterdir()):
        code, _, err = tuner("assign", str(best), "--input", str(path), "--id", "id", "--output", str(tmp_path / "out.npz"), "--overwrite")
        assert (code, err) == (0, ""), path
        assert read(tmp_path / "out.npz") | {"cluster": expected, "id": NAMES.tolist()} == read(tmp_path / "out.npz"), path


def test_columns_that_training_left_out_are_left_out_of_new_samples(tmp_path):
    known = Columns(label="species", drop=("site",), id="nr")
    frame = pd.DataFrame(X[:50, :3].astype(np.float64), columns=["a", "b", "c"]).assign(nr=range(50), site="north", species="elm")
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_parquet(tmp_path / "in.parquet")
    frame.drop(columns="species").to_csv(tmp_path / "in.tsv", sep="\t", index=False)
    for kind in ("csv", "parquet", "tsv"):
        (piece,) = samples(str(tmp_path / f"in.{kind}"), 50, columns=known)
        assert piece.x_B.tolist() == X[:50, :3].tolist(), kind


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_without_an_input_it_is_what_the_model_was_trained_on(suffix, best, tmp_path, tuner):
    assert tuner("assign", str(best), "-o", str(tmp_path / f"out.{suffix}"), "--code")[0] == 0
    found, raw = read(tmp_path / f"out.{suffix}"), read_raw(DatasetSpec(name="digits"))
    rows_N = np.array(found["row"], dtype=np.int64)
    assert len(rows_N) == 700 and len(set(rows_N)) == 700
    expected = load_assigner(best, device="cpu").assign(raw.values(rows_N), code=True)
    assert found["cluster"] == expected.cluster_N.tolist()
    code = found["code"] if suffix == "npz" else np.stack([found[f"code_{i}"] for i in range(64)], axis=1).tolist()
    assert np.array(code, dtype=np.float32).tolist() == expected.code_NZ.tolist()
    assert np.array(code, dtype=np.float32).tolist() == load(DatasetSpec(name="digits", limit=700, scale="standard")).x_ND.tolist()


def test_names_that_grow_longer_are_kept_whole(best, tmp_path, tuner, small_pieces):
    names = np.array(["a" * (1 + i // 100) for i in range(1200)])
    pq.write_table(pa.table({f"f{i}": X[:, i] for i in range(64)} | {"id": names}), tmp_path / "in.parquet")
    assert tuner("assign", str(best), "-i", str(tmp_path / "in.parquet"), "--id", "id", "-o", str(tmp_path / "out.npz"))[0] == 0
    assert read(tmp_path / "out.npz")["id"] == names.tolist()


@pytest.mark.parametrize("ids", [np.arange(1200) + 2**60, np.linspace(0, 1, 1200) / 3, np.array([f"{i:05d}" for i in range(1200)])])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_names_are_carried_through_as_they_are(suffix, ids, best, tmp_path, tuner, small_pieces):
    np.savez(tmp_path / "in.npz", x=X, id=ids)
    assert tuner("assign", str(best), "-i", str(tmp_path / "in.npz"), "--id", "id", "-o", str(tmp_path / f"out.{suffix}"))[0] == 0
    found = read(tmp_path / f"out.{suffix}")["id"]
    assert found == (list(map(str, ids.tolist())) if suffix == "csv" else ids.tolist())


def test_a_file_that_the_model_was_trained_on_has_names_too(tmp_path, tuner, small_pieces):
    np.savez(tmp_path / "own.npz", x=X[:700], id=NAMES[:700])
    best = winner(tmp_path / "own", dataset=f"npz:{tmp_path}/own.npz", limit=None)
    assert tuner("assign", str(best), "--id", "id", "-o", str(tmp_path / "named.npz"))[0] == 0
    assert tuner("assign", str(best), "-o", str(tmp_path / "plain.npz"))[0] == 0
    named, plain = read(tmp_path / "named.npz"), read(tmp_path / "plain.npz")
    assert named["id"] == NAMES[:700].tolist() and plain["row"] == list(range(700))
    assert named["cluster"] == plain["cluster"] == load_assigner(best, device="cpu").assign(X[:700]).cluster_N.tolist()


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_training_s_own_file_given_as_input_is_scaled_to_the_last_bit_as_training_scaled_it(kind, tmp_path, tuner):
    x_ND = X[:700].astype(np.float64) / 3 + 1000.1  # float32 does not hold these
    if kind == "npz":
        np.savez(tmp_path / "own.npz", x=x_ND)
    else:
        np.savetxt(tmp_path / "own.csv", x_ND, fmt="%.17g", delimiter=",")
    best = winner(tmp_path / "own", dataset=f"{kind}:{tmp_path}/own.{kind}", limit=None, scale="standard")
    assert tuner("assign", str(best), "--code", "-o", str(tmp_path / "own.parquet"))[0] == 0
    assert tuner("assign", str(best), "--code", "-i", str(tmp_path / f"own.{kind}"), "-o", str(tmp_path / "given.parquet"))[0] == 0
    assert read(tmp_path / "own.parquet") == read(tmp_path / "given.parquet")


def test_training_data_that_have_changed_are_not_passed_off_as_training_s(tmp_path, tuner):
    np.savez(tmp_path / "own.npz", x=X[:700])
    best = winner(tmp_path / "own", dataset=f"npz:{tmp_path}/own.npz", limit=None)
    np.savez(tmp_path / "own.npz", x=X[:600])
    code, _, err = tuner("assign", str(best), "-o", str(tmp_path / "out.csv"))
    assert code == 2 and "kmeans was trained on other data" in err and "600 rows instead of 700" in err and "--input FILE" in err
    (tmp_path / "own.npz").unlink()
    code, _, err = tuner("assign", str(best), "-o", str(tmp_path / "out.csv"))
    assert code == 2 and "There is no file" in err and "--input FILE" in err


# --- what is refused ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "WIDE.npy"], "kmeans was trained on samples with 64 features or the shape (8, 8), but these have 65 features."),
        (["--input", "LOUD.npy"], "kmeans's training data lie within [0, 1], but row"),
        (["--input", "none.npz"], "There is no file none.npz"),
        (["--input", "usp"], "There is no data set 'usp'. Did you mean 'usps'?"),
        (["--input", "best.yaml"], "is of no known format. Known are npz, npy, csv, tsv, parquet, feather"),
        (["--input", "torn.npz"], "torn.npz cannot be read, or is damaged"),
        (["--input", "torn.npy"], "torn.npy cannot be read, or is damaged: it ends within row"),
        (["--input", "torn.parquet"], "torn.parquet cannot be read, or is damaged"),
        (["--input", "words.npz"], "samples must be numbers, but their type is <U1"),
        (["--input", "in.npz", "--id", "ids"], "an array 'ids' is needed, but the file holds 'x', 'id', 'y'. Did you mean 'id'?"),
        (["--input", "in.csv", "--id", "idd"], "in.csv:1: there is no column 'idd'. Did you mean 'id'? Its columns are f0, f1, f2"),
        (["--input", "in.csv"], "in.csv:2: column 'id' must hold numbers, but holds 'sample 0, a'. A column of names needs --id id."),
        (["--input", "in.parquet"], "column 'id' must hold numbers, but its type is string. A column of names needs --id id."),
        (["--input", "in.parquet", "--id", "idd"], "in.parquet: there is no column 'idd'. Did you mean 'id'?"),
        (["--input", "holes.parquet", "--id", "id"], "holes.parquet: column 'id' must name every sample, but 1 of its values are missing."),
        (["--input", "plain.csv", "--id", "id"], "there is no column 'id'. Its first row is a sample, so its columns have no names."),
        (["--input", "ragged.csv"], "ragged.csv:2: every row must have as many values as the first, 64, but this one has 63."),
        (["--input", "index.csv"], "index.csv:1: a header must name every column, but column 1 has no name."),
        (["--input", "gap.csv"], "gap.csv:2: column 'b' must hold numbers, but holds ''."),
        (["--input", "only.csv", "--id", "id"], "only.csv:1: at least one column must be a feature, but there is only id, label."),
        (["--input", "noise.csv"], "noise.csv is not UTF-8 text"),
        (["--input", "empty.csv"], "empty.csv holds no samples."),
        (["--input", "empty.npy"], "empty.npy holds no samples."),
        (["--input", "flat.npy"], "samples must have the shape (N, D), (N, h, w) or the like, but have (3,)."),
        (["--input", "turned.npy"], "lies column by column in the file. Write it with np.ascontiguousarray(x)."),
        (["--input", "pickled.npz"], "x holds pickled objects, which are not opened."),
        (["--input", "in.npz", "--id", "cluster"], "--id cluster cannot be: the output has a column of that name itself."),
        (["--id", "id"], "kmeans was trained on a part of digits. For its names: --input FILE."),
        (["--input", "digits", "--id", "id"], "digits has no column 'id': only files have names for their samples."),
        (["--input", "in.npy", "--id", "id"], "in.npy has no array 'id': an npy file holds one array. Use npz, csv or parquet."),
        (["--input", "few.npz", "--id", "id"], "few.npz: 'id' must hold one name for each of the 1,200 rows of x, but is (3,)."),
        (["--input", "h5:in.h5", "--id", "id"], "is read as a whole, without names for its samples. Write it as csv, parquet, or npz"),
        (["--input", "names.parquet", "--id", "id"], "at least one column must be a feature, but there is only id."),
        (["--output", "out.xlsx"], "must end in .csv, .parquet, .npz: that says the format."),
        (["--output", "nowhere/out.csv"], "cannot be written: there is no folder nowhere."),
    ],
)
def test_what_does_not_fit_is_one_message_and_no_file(words, message, best, tmp_path, tuner, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("WIDE.npy", np.zeros((5, 65)))
    np.save("LOUD.npy", 16 * X)
    np.save("empty.npy", X[:0])
    np.savez("words.npz", x=np.array([["a", "b"]]))
    np.savez("pickled.npz", x=np.array([[object()]]))
    np.save("flat.npy", np.zeros(3))
    np.save("turned.npy", np.asfortranarray(X))
    rows = [",".join(map(str, x)) + "\n" for x in X[:2].tolist()]
    Path("plain.csv").write_text("".join(rows))
    Path("ragged.csv").write_text(rows[0] + rows[1].partition(",")[2])
    Path("index.csv").write_text(",a,b\n0,1,2\n")
    Path("gap.csv").write_text("a,b\n1,\n")
    Path("only.csv").write_text("id,label\nx,1\n")
    Path("noise.csv").write_bytes(b"a,b\n1,\0\xff\n")
    Path("empty.csv").write_text("a,b\n")
    pq.write_table(pa.table({f"f{i}": X[:3, i] for i in range(64)} | {"id": [1, None, 3]}), "holes.parquet")
    Path("best.yaml").write_bytes(best.read_bytes())
    for kind in ("npz", "csv", "parquet"):
        write(tmp_path, kind)
    np.savez("few.npz", x=X, id=NAMES[:3])
    pq.write_table(pa.table({"id": NAMES}), "names.parquet")
    with h5py.File("in.h5", "w") as file:
        file["x"] = X
    np.save("in.npy", X)
    np.save("whole.npy", X)
    for torn, whole in (("torn.npy", "whole.npy"), ("torn.npz", "in.npz"), ("torn.parquet", "in.parquet")):
        Path(torn).write_bytes(Path(whole).read_bytes()[:-1000])
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, err = tuner("assign", str(best), *([] if "--output" in words else ["--output", "out.csv"]), *words)
    assert code == 2 and message in err and "Traceback" not in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_that_is_there_is_not_replaced_unless_one_says_so(best, tmp_path, tuner):
    (tmp_path / "out.csv").write_text("mine")
    words = ["assign", str(best), "-o", str(tmp_path / "out.csv")]
    code, _, err = tuner(*words)
    assert code == 2 and "is there already. Write to another file, or replace it: --overwrite." in err
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert tuner(*words, "--overwrite")[0] == 0 and len(read(tmp_path / "out.csv")["cluster"]) == 700


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
def test_an_interrupted_one_leaves_what_was_there(suffix, best, tmp_path, tuner, small_pieces, monkeypatch):
    """As Ctrl-C would, in the second piece."""
    pieces = []
    assign = core.Assigner._of

    def interrupted(*args, **more):
        if pieces:
            raise KeyboardInterrupt
        pieces.append(assign(*args, **more))
        return pieces[0]

    monkeypatch.setattr(core.Assigner, "_of", interrupted)
    output = tmp_path / f"out.{suffix}"
    output.write_text("mine")
    assert tuner("assign", str(best), "-o", str(output), "--overwrite") == (130, "", "Interrupted. Nothing was written.\n")
    assert [path.name for path in tmp_path.iterdir()] == [output.name] and output.read_text() == "mine" and len(pieces) == 1


def test_the_range_may_be_any_where_one_says_so(best, tmp_path, tuner):
    np.save(tmp_path / "loud.npy", 16 * X)
    words = ["assign", str(best), "--input", str(tmp_path / "loud.npy"), "--output", str(tmp_path / "out.csv")]
    assert tuner(*words)[0] == 2 and tuner(*words, "--any-range")[0] == 0

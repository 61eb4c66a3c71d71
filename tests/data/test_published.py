"""SVHN and RCV1 through the real readers, from small files of their own formats; no network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.io import savemat

from tuner.cli import options
from tuner.data import rcv1 as rcv1_file
from tuner.data.datasets import DATASETS, DatasetSpec, describe, load
from tuner.data.names import FORMATS, NEAR
from tuner.data.published import MissingData
from tuner.errors import UserError
from tuner.model import load_model
from tuner.training.loop import train

# --- svhn --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def svhn(tmp_path: Path) -> Path:
    """Its two files, of 60 and 20 images."""
    r = np.random.default_rng(0)
    for part, n in (("train", 60), ("test", 20)):
        x = r.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        savemat(tmp_path / f"{part}_32x32.mat", {"X": x, "y": (np.arange(n) % 10 + 1).astype(np.uint8)[:, None]})
    return tmp_path


def test_svhn_is_read_as_torchvision_reads_it(svhn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pytest.importorskip("torchvision.datasets").SVHN
    monkeypatch.setattr(theirs, "_check_integrity", lambda self: True)  # of a file that is not the published one
    ours = load(DatasetSpec(name="svhn"), svhn)
    parts = [theirs(svhn, split=split) for split in ("train", "test")]
    assert ours.shape == (3, 32, 32)
    assert torch.equal(ours.x_ND, torch.cat([torch.from_numpy(part.data) for part in parts]).flatten(1) / 255)
    assert ours.y_N.tolist() == [int(y) for part in parts for y in part.labels]
    assert ours.test == slice(60, 80)
    assert (float(ours.x_ND.min()), float(ours.x_ND.max())) == (0.0, 1.0)
    assert ours.spec.n_classes == describe(DatasetSpec(name="svhn"), svhn).n_classes == 10


@pytest.mark.parametrize("left", [lambda b: b[: len(b) // 2], lambda b: bytes(200), lambda b: b[:50] + bytes(100) + b[150:]])
def test_a_damaged_file_of_svhn_is_named(svhn: Path, left: Callable[[bytes], bytes]) -> None:
    path = svhn / "train_32x32.mat"
    path.write_bytes(left(path.read_bytes()))
    with pytest.raises(UserError, match=r"svhn cannot be read: .*Delete its files, and the next run fetches them again"):
        load(DatasetSpec(name="svhn"), svhn)


def test_convolutions_see_the_three_colours(svhn: Path) -> None:
    model, data = load_model("ae"), load(DatasetSpec(name="svhn"), svhn)
    h = model.hyper(dict(model.tiny) | {"network": "conv", "batch_size": 20, "epochs": 1, "n_clusters": 10})
    networks = model.networks(h, data.spec)
    assert networks["encoder"][1].weight.shape[1] == 3
    assert networks["decoder"](torch.zeros(2, h.latent_dim)).shape == (2, 3 * 32 * 32)
    image_BP = torch.zeros(1, 3 * 32 * 32)
    image_BP[0, 32 * 32 + 5] = 1.0
    assert networks["encoder"][0](image_BP)[0].nonzero().tolist() == [[1, 0, 5]]
    assert [epoch.ended for epoch in train(model, h, data, seed=0)] == ["complete"]


# --- rcv1_4 ------------------------------------------------------------------------------------------------------------

TOPICS = ["C11", "CCAT", "ECAT", "GCAT", "MCAT"]
N_TRAINING, N, N_DRAWN = 60, 700, 300


def plant(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's files in its data folder, of a small corpus: words, topics and identifiers, dense."""
    r = np.random.default_rng(1)
    x_NV = sp.random(N, 2300, density=0.02, random_state=2, format="csr", dtype=np.float64)
    topics_NT = np.zeros((N, 5), dtype=np.uint8)
    topics_NT[np.arange(N), r.integers(1, 5, N)] = 1
    topics_NT[:, 0] = r.integers(0, 2, N)  # a topic below a root: it does not count
    topics_NT[::40, 1:] = r.integers(0, 2, (len(topics_NT[::40]), 4))  # of several roots, or of none
    id_N = np.concatenate([2286 + np.arange(N_TRAINING), 26_151 + np.arange(N - N_TRAINING)]).astype(np.uint32)
    (folder / "RCV1").mkdir(parents=True)
    names = ("samples", "sample_id", "sample_topics", "topics_names")
    for name, values in zip(names, (x_NV, id_N, sp.csr_matrix(topics_NT), np.array(TOPICS, dtype=object)), strict=True):
        joblib.dump(values, folder / "RCV1" / f"{name}_py3.pkl")
    return x_NV.toarray(), topics_NT, id_N


@pytest.fixture
def rcv1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    monkeypatch.setattr(rcv1_file, "N_DOCUMENTS", N_DRAWN)
    return tmp_path, plant(tmp_path)


def expected(planted: tuple[np.ndarray, np.ndarray, np.ndarray], order: list[int]) -> tuple[np.ndarray, list[str]]:
    """What the first documents of an order come to, document after document."""
    x_NV, topics_NT, _ = planted
    kept = [i for i in range(N) if topics_NT[i, 1:].sum() == 1]
    count_V = (x_NV[kept] > 0).sum(axis=0)
    commonest = sorted(sorted(range(2300), key=lambda v: (-count_V[v], v))[:2000])
    rows = []
    for i in order[:N_DRAWN]:
        row = x_NV[i, commonest]
        rows.append(row / np.linalg.norm(row) * np.sqrt(2000) if row.any() else row)
    return np.array(rows), [TOPICS[1 + int(topics_NT[i, 1:].argmax())] for i in order[:N_DRAWN]]


@pytest.mark.parametrize("name", ["rcv1_4", "rcv1_4_first"])
def test_rcv1_is_the_documents_of_one_root_in_either_sampling(name: str, rcv1: tuple) -> None:
    folder, planted = rcv1
    found = load(DatasetSpec(name=name), folder)
    kept = [i for i in range(N) if planted[1][i, 1:].sum() == 1]
    if name == "rcv1_4":
        order = [kept[j] for j in np.random.RandomState(1234).permutation(len(kept))]
    else:
        order = [i for i in kept if i >= N_TRAINING] + [i for i in kept if i < N_TRAINING]
    x_ND, classes = expected(planted, order)
    assert found.shape == (2000,)
    assert np.allclose(found.x_ND.numpy(), x_ND, atol=1e-4)
    assert [rcv1_file.ROOTS[y] for y in found.y_N.tolist()] == classes
    lengths = found.x_ND.norm(dim=1)
    assert lengths[lengths > 0].numpy() == pytest.approx(np.sqrt(2000), rel=1e-5)
    assert replace(describe(DatasetSpec(name=name), folder), n_samples=N_DRAWN) == found.spec
    assert describe(DatasetSpec(name=name, scale="minmax"), folder).unit_range is True


def test_rcv1_is_made_once(rcv1: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = rcv1
    load(DatasetSpec(name="rcv1_4"), folder)
    monkeypatch.setattr(rcv1_file, "fetch", None)
    monkeypatch.setattr("sklearn.datasets.fetch_rcv1", None)
    assert len(load(DatasetSpec(name="rcv1_4", limit=50), folder).x_ND) == 50


def test_without_a_network_a_message_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **more: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("sklearn.datasets._rcv1._fetch_remote", offline)
    monkeypatch.setattr("torchvision.datasets.svhn.download_url", offline)
    for name, file in (("rcv1_4", "RCV1/rcv1_4.npz"), ("svhn", "train_32x32.mat")):
        with pytest.raises(MissingData) as caught:
            describe(DatasetSpec(name=name), tmp_path)
        assert str(caught.value).startswith(f"{name} is not in {tmp_path} (looked for {file}")
        assert "the download failed: <urlopen error no route to host>. Put the files there" in str(caught.value)


def test_damaged_files_of_scikit_learn_are_named(tmp_path: Path) -> None:
    (tmp_path / "RCV1").mkdir()
    for name in ("samples", "sample_id", "sample_topics", "topics_names"):
        (tmp_path / "RCV1" / f"{name}_py3.pkl").write_bytes(b"no pickle")
    with pytest.raises(UserError, match=rf"scikit-learn's files in {tmp_path}/RCV1 are damaged, delete them"):
        load(DatasetSpec(name="rcv1_4_first"), tmp_path)


def test_the_shell_completes_every_data_set() -> None:
    assert (*DATASETS, *(f"{kind}:" for kind in FORMATS)) == options.DATASETS


def test_every_table_says_that_rcv1_4_is_not_the_papers_set() -> None:
    assert set(NEAR) == {name for name in DATASETS if name.startswith("rcv1")}


# --- any width ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_features", [3, 5000])
@pytest.mark.parametrize("name", ["kmeans", "ae", "idec", "vade", "dac"])
def test_data_of_any_width_and_range_are_trained_on(name: str, n_features: int, tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    y_N = np.arange(90) % 3
    x_ND = (20 * r.normal(size=(3, n_features)))[y_N] + r.normal(size=(90, n_features))
    np.savez(tmp_path / "own.npz", x=x_ND, y=y_N)
    model, data = load_model(name), load(DatasetSpec(name=f"npz:{tmp_path / 'own.npz'}", scale="standard"))
    mse = {"recon_loss": "mse"} if "recon_loss" in model.parameters() else {}
    *_, last = train(model, model.hyper(dict(model.tiny) | mse), data, seed=0)
    assert last.ended == "complete"
    assert last.metrics["acc"] > 0.6  # of three blobs; `tiny` trains for a dozen steps

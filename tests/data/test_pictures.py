"""The sets of images of torchvision through our readers, from small files of their own formats, beside torchvision's own; no network."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tuner.data import pictures
from tuner.data.published import PUBLISHED
from tuner.errors import UserError
from tuner.model import DataSpec

R = np.random.default_rng(0)


@pytest.fixture(scope="module")
def datasets():
    """torchvision's, which takes two seconds to import."""
    return pytest.importorskip("torchvision.datasets")


def idx(path: Path, values: np.ndarray) -> None:
    head = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + values.tobytes())


def read(name: str, folder: Path):
    return PUBLISHED[name].read([folder / file for file in PUBLISHED[name].files])


@pytest.mark.parametrize(
    ("name", "theirs"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST"), ("emnist", "EMNIST")]
)
def test_sets_in_mnists_format_are_what_torchvision_reads(name: str, theirs: str, tmp_path: Path, datasets) -> None:
    n = {"train": 30, "test": 10}
    files = PUBLISHED[name].files
    for file in files:
        count = n["train" if "train" in Path(file).name else "test"]
        images = R.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        idx(tmp_path / file, images if "images" in file else images[:, 0, 0] % 10)
    found = read(name, tmp_path)
    more = {"split": "balanced"} if name == "emnist" else {}
    parts = [getattr(datasets, theirs)(tmp_path, train=train, **more) for train in (True, False)]
    assert np.array_equal(found.x_N, torch.cat([part.data for part in parts]).numpy())
    assert found.y_N.tolist() == torch.cat([part.targets for part in parts]).tolist()
    assert (found.n_train, found.peak) == (30, 255.0)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_what_torchvision_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, datasets) -> None:
    theirs = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    for file in PUBLISHED[name].files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        labels = "labels" if name == "cifar10" else "fine_labels"
        batch = {"data": R.integers(0, 256, (7, 3072), dtype=np.uint8), labels: R.integers(0, 10, 7).tolist()}
        (tmp_path / file).write_bytes(pickle.dumps(batch, protocol=2))
    monkeypatch.setattr(theirs, "_check_integrity", lambda self: True)  # of files that are not the published ones
    monkeypatch.setattr(theirs, "_load_meta", lambda self: None)
    found = read(name, tmp_path)
    parts = [theirs(tmp_path, train=train) for train in (True, False)]
    assert np.array_equal(found.x_N, np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2))
    assert found.y_N.tolist() == [y for part in parts for y in part.targets]
    assert found.n_train == len(parts[0])


def test_stl10_is_what_torchvision_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, datasets) -> None:
    (tmp_path / "stl10_binary").mkdir()
    for part, n in (("train", 5), ("test", 8)):
        (tmp_path / f"stl10_binary/{part}_X.bin").write_bytes(R.integers(0, 256, n * 3 * 96 * 96, dtype=np.uint8).tobytes())
        (tmp_path / f"stl10_binary/{part}_y.bin").write_bytes(R.integers(1, 11, n, dtype=np.uint8).tobytes())
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    found = read("stl10", tmp_path)
    parts = [datasets.STL10(tmp_path, split=split) for split in ("train", "test")]
    assert np.array_equal(found.x_N, np.concatenate([part.data for part in parts]))
    assert found.y_N.tolist() == [int(y) for part in parts for y in part.labels]


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


def test_a_pickle_of_cifar_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("batch").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(ValueError, match="which is no array"):
        pictures.read_cifar([tmp_path / "batch"])
    assert not Path("evil").exists()


def test_what_is_said_of_each_set_is_what_its_files_hold(datasets) -> None:
    """As they are published."""
    specs = {name: PUBLISHED[name].spec for name in ("fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100", "stl10")}
    assert specs["fashion_mnist"] == specs["kmnist"] == PUBLISHED["mnist"].spec == DataSpec(70_000, (28, 28), 10, n_test=10_000)
    assert specs["emnist"] == DataSpec(112_800 + 18_800, (28, 28), 47, n_test=18_800)
    assert len(datasets.EMNIST.classes_split_dict["balanced"]) == 47
    assert specs["cifar10"] == DataSpec(60_000, (3, 32, 32), 10, n_test=10_000)
    assert specs["cifar100"] == DataSpec(60_000, (3, 32, 32), 100, n_test=10_000)
    assert specs["stl10"] == DataSpec(5000 + 8000, (3, 96, 96), 10, n_test=8000)


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "stl10"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    from tuner.data.published import read_published

    for file in PUBLISHED[name].files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"\x80\x02garbage" * 5)
    with pytest.raises(UserError, match=f"{name} cannot be read: .*Delete its files, and the next run fetches them again"):
        read_published(name, tmp_path)

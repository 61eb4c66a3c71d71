"""The published sets of images that torchvision fetches, read from its files without torchvision: importing it costs each worker two
seconds, these lines a tenth of one. `download` functions use it: it knows the mirrors and the checksums."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raw import Raw

IDX_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
CIFAR10_FILES = tuple(f"cifar-10-batches-py/{part}" for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))
CIFAR100_FILES = ("cifar-100-python/train", "cifar-100-python/test")
EMNIST_FILES = tuple(f"EMNIST/raw/emnist-balanced-{part}-ubyte" for part in
                     ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1"))  # fmt: skip
STL10_FILES = tuple(f"stl10_binary/{part}.bin" for part in ("train_X", "train_y", "test_X", "test_y"))


def idx_files(folder: str) -> tuple[str, ...]:
    """Of a set in MNIST's format."""
    return tuple(f"{folder}/raw/{part}-ubyte" for part in IDX_PARTS)


def read_idx(paths: list[Path]) -> Raw:
    """Images of the training and the test set, each followed by its labels, in MNIST's format."""
    train_x, train_y, test_x, test_y = (np.fromfile(path, dtype=np.uint8) for path in paths)
    parts = [(_values(x, 16).reshape(-1, 28, 28), _values(y, 8)) for x, y in ((train_x, train_y), (test_x, test_y))]
    if any(len(x_N) != len(y_N) for x_N, y_N in parts):
        raise ValueError("there are not as many labels as images")
    x_N, y_N = (np.concatenate(both) for both in zip(*parts, strict=True))
    return Raw(x_N=x_N, y_N=y_N, n_train=len(parts[0][1]), peak=255.0)


def _values(content: NDArray[np.uint8], start: int) -> NDArray[np.uint8]:
    """What follows the head, which says how many values there are."""
    sizes = content[4:start].view(">u4")
    if not len(content) > start or len(content) - start != int(np.prod(sizes, dtype=np.int64)):
        raise ValueError(f"{len(content):,} bytes are not what their head says")
    return content[start:]


def read_cifar(paths: list[Path]) -> Raw:
    """CIFAR's batches, the last of them the test set. Of CIFAR-100 the hundred fine labels."""
    batches = [_batch(path) for path in paths]
    x_N = np.concatenate([x_N for x_N, _ in batches]).reshape(-1, 3, 32, 32)
    y_N = np.concatenate([y_N for _, y_N in batches])
    return Raw(x_N=x_N, y_N=y_N, n_train=len(y_N) - len(batches[-1][1]), peak=255.0)


def read_stl10(paths: list[Path]) -> Raw:
    """The labelled images alone: 5,000 of training, 8,000 of the test set."""
    train_x, train_y, test_x, test_y = (np.fromfile(path, dtype=np.uint8) for path in paths)
    x_N = np.concatenate([part.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2) for part in (train_x, test_x)])
    return Raw(x_N=x_N, y_N=np.concatenate([train_y, test_y]) - 1, n_train=len(train_y), peak=255.0)


class _Arrays(pickle.Unpickler):
    """A pickle runs whatever code is in it: of these files nothing is built but arrays."""

    _KNOWN = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
                        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise ValueError(f"it holds {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with path.open("rb") as file:
        try:
            found = _Arrays(file, encoding="latin1").load()
        except (pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
            raise ValueError(f"{path.name} is damaged: {error}") from error
    if not isinstance(found, dict) or not {"labels", "fine_labels"} & found.keys() or "data" not in found:
        raise ValueError(f"{path.name} holds no images with labels")
    labels = found["labels"] if "labels" in found else found["fine_labels"]
    return np.asarray(found["data"], dtype=np.uint8), np.asarray(labels, dtype=np.int64)


def download(name: str, folder: Path) -> None:
    """`name`: torchvision's class of a set that is fetched whole."""
    import torchvision.datasets

    getattr(torchvision.datasets, name)(folder, download=True)


def download_emnist(folder: Path) -> None:
    from torchvision.datasets import EMNIST

    EMNIST(folder, split="balanced", download=True)


def download_stl10(folder: Path) -> None:
    from torchvision.datasets import STL10

    STL10(folder, download=True)

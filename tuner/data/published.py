"""The published data sets: what they are, their files, and how these are fetched and read."""

from __future__ import annotations

import shutil
import socket
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, first_line
from tuner.model import DataSpec

from . import pictures, rcv1
from .moving import films
from .names import FORMATS, NAMES
from .raw import Raw, data_root


class MissingData(UserError):
    """The files of a published data set are not there and cannot be had."""


def read_published(name: str, root: Path | None) -> Raw:
    """A data set by its name, fetched where its files are absent.

    Raises:
        MissingData: its files are absent, and the download failed.
        UserError: they are damaged.
    """
    folder, published = data_root(root), PUBLISHED[name]
    fetch(name, folder)
    paths = [folder / file for file in published.files]
    try:
        return published.read(paths)
    except (ValueError, OSError, EOFError, LookupError, zlib.error, zipfile.BadZipFile) as error:
        files = ", ".join(str(path) for path in paths)
        raise UserError(
            f"{name} cannot be read: {first_line(error)}. Delete its files, and the next run fetches them again: {files}"
        ) from error


def _read_digits(paths: list[Path]) -> Raw:
    x_N, y_N = _digits()
    return Raw(x_N=x_N.copy(), y_N=y_N.copy(), peak=16.0)


@cache
def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """From scikit-learn, as text, of which 115,000 numbers are read: once in a process."""
    from sklearn.datasets import load_digits  # here and below: a second to import, and most trials need one of them at most

    digits = load_digits()
    return digits.images, digits.target


def _read_moving_digits(paths: list[Path]) -> Raw:
    raw = _read_digits(paths)
    return replace(raw, x_N=films(raw.x_N.astype(np.uint8), side=16, n_frames=10))


def _read_moving_mnist(paths: list[Path]) -> Raw:
    raw = pictures.read_idx(paths)  # of which the test set's images move
    assert raw.y_N is not None and raw.n_train is not None
    return Raw(x_N=films(raw.x_N[raw.n_train :], side=64, n_frames=10), y_N=raw.y_N[raw.n_train :], peak=raw.peak)


def _read_usps(paths: list[Path]) -> Raw:
    from sklearn.datasets import load_svmlight_files

    # The text's own values, -1 to 1 in steps of 0.001; torchvision rounds them to 8 bits, and takes twice as long.
    train_x, train_y, test_x, test_y = load_svmlight_files(
        [str(path) for path in paths], n_features=256, dtype=np.float32, zero_based=False
    )
    x_N = np.concatenate([train_x.toarray(), test_x.toarray()]).reshape(9298, 16, 16)
    return Raw(x_N=(x_N + 1) / 2, y_N=np.concatenate([train_y, test_y]), n_train=len(train_y))


def _read_svhn(paths: list[Path]) -> Raw:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        train, test = (loadmat(str(path)) for path in paths)
    except MatReadError as error:  # of no kind that others raise, too
        raise ValueError(str(error)) from error
    x_N = np.concatenate([part["X"].transpose(3, 2, 0, 1) for part in (train, test)])
    y_N = np.concatenate([part["y"].ravel() for part in (train, test)]) % 10  # there the digit 0 is class 10
    return Raw(x_N=x_N, y_N=y_N, n_train=len(train["y"]), peak=255.0)


def fetch(name: str, folder: Path) -> None:
    """Sees to it that a published data set's files lie in `folder`; no network is touched where they do.

    Raises:
        MissingData: they are absent, and the download failed.
    """
    absent = [file for file in PUBLISHED[name].files if not (folder / file).is_file()]
    if not absent:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside their place first: a download that is interrupted, or done by two processes at once, leaves no half file there.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as beside:
            with _socket_timeout(30.0):  # who downloads sets none: behind a firewall that drops packets it would wait for ever
                PUBLISHED[name].download(Path(beside))
            for file in absent:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(beside) / file, folder / file)
    except (ImportError, RuntimeError, OSError, HTTPException) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MissingData(
            f"{name} is not in {folder} (looked for {', '.join(absent)}), and the download failed: {reason}. "
            f"Put the files there, or say with --data-root or TUNER_DATA where they are."
        ) from error


def _download_usps(folder: Path) -> None:
    from torchvision.datasets import USPS

    USPS(folder, train=True, download=True)
    USPS(folder, train=False, download=True)


def _download_svhn(folder: Path) -> None:
    from torchvision.datasets import SVHN

    SVHN(folder, split="train", download=True)
    SVHN(folder, split="test", download=True)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published data set. `files`: in the data folder. `download` puts them into a folder, `read` takes their paths."""

    spec: DataSpec
    files: tuple[str, ...] = ()
    download: Callable[[Path], None] = lambda folder: None
    read: Callable[[list[Path]], Raw]


def _rcv1(file: str, first: bool) -> Published:
    spec = DataSpec(rcv1.N_DOCUMENTS, (rcv1.N_FEATURES,), len(rcv1.ROOTS), unit_range=False)
    return Published(spec=spec, files=(file,), download=partial(rcv1.fetch, file, first), read=rcv1.read)


def _like_mnist(theirs: str) -> Published:
    """`theirs`: torchvision's class, whose files lie in a folder of this name."""
    spec = DataSpec(70_000, (28, 28), 10, n_test=10_000)
    return Published(spec=spec, files=pictures.idx_files(theirs), download=partial(pictures.download, theirs), read=pictures.read_idx)


PUBLISHED: dict[str, Published] = {
    "digits": Published(spec=DataSpec(1797, (8, 8), 10), read=_read_digits),
    "mnist": _like_mnist("MNIST"),
    "usps": Published(
        spec=DataSpec(9298, (16, 16), 10, n_test=2007),
        files=("usps.bz2", "usps.t.bz2"),
        download=_download_usps,
        read=_read_usps,
    ),
    "svhn": Published(
        spec=DataSpec(99_289, (3, 32, 32), 10, n_test=26_032),
        files=("train_32x32.mat", "test_32x32.mat"),
        download=_download_svhn,
        read=_read_svhn,
    ),
    "rcv1_4": _rcv1("RCV1/rcv1_4.npz", first=False),
    "rcv1_4_first": _rcv1("RCV1/rcv1_4_first.npz", first=True),
    "fashion_mnist": _like_mnist("FashionMNIST"),
    "kmnist": _like_mnist("KMNIST"),
    "emnist": Published(
        spec=DataSpec(131_600, (28, 28), 47, n_test=18_800),
        files=pictures.EMNIST_FILES,
        download=pictures.download_emnist,
        read=pictures.read_idx,
    ),
    "cifar10": Published(
        spec=DataSpec(60_000, (3, 32, 32), 10, n_test=10_000),
        files=pictures.CIFAR10_FILES,
        download=partial(pictures.download, "CIFAR10"),
        read=pictures.read_cifar,
    ),
    "cifar100": Published(
        spec=DataSpec(60_000, (3, 32, 32), 100, n_test=10_000),
        files=pictures.CIFAR100_FILES,
        download=partial(pictures.download, "CIFAR100"),
        read=pictures.read_cifar,
    ),
    "stl10": Published(
        spec=DataSpec(13_000, (3, 96, 96), 10, n_test=8000),
        files=pictures.STL10_FILES,
        download=pictures.download_stl10,
        read=pictures.read_stl10,
    ),
    "moving_digits": Published(spec=DataSpec(1797, (10, 16, 16), 10), read=_read_moving_digits),
    "moving_mnist": replace(_like_mnist("MNIST"), spec=DataSpec(10_000, (10, 64, 64), 10), read=_read_moving_mnist),
}
assert PUBLISHED.keys() == NAMES.keys()
KNOWN = f"Known are {', '.join(PUBLISHED)}, openml:NAME and the path of a file ({', '.join(f'{kind}:PATH' for kind in FORMATS)})."

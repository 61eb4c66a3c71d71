"""Data sets as tensors: the published ones of tuner/data/published.py, and the files of a user's own (tuner/data/files.py).

npz     an array `x`, one sample for each entry of its first axis, and optionally `y` of shape (N,). Samples may have any shape:
        (N, D), (N, h, w) for grey images, (N, 3, h, w) for coloured ones, (N, T, h, w) for sequences of T frames.
csv     numbers. A first row that is not all numbers is a header; its column `label`, or else `y`, holds the labels, every other
        column is a feature, unless `columns` says otherwise. Without a header every column is a feature, one of words the labels.
labels  whole numbers or words, numbered 0..C-1 in sorted order; -1 where the label is not known. They are only scored against; the
        semi-supervised models train on `n_labels` of them, and then on no row of the published test split.
limit   the same rows whatever the seed: the first of one fixed permutation, in the file's order. A larger subset holds the
        smaller one, classes keep about their shares, and the test rows are those of the published test split that were drawn.
scale   after `limit`, in float64. minmax: every column of a table to [0, 1]; of images one minimum and one maximum for all values,
        so that they keep their contrast. minmax_all: so for tables, too. standard: mean 0 and deviation 1 for every feature, 0 for
        one that never varies. robust: median 0 and interquartile range 1. log1p: log(1 + x). none: as they are (published images:
        in [0, 1]).

Relative paths are looked for in the current folder, then in the data folder: `--data-root`, or the environment variable
TUNER_DATA, or ~/.cache/tuner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.errors import UserError, did_you_mean
from tuner.model import DataSpec
from tuner.nn import by_slices, slice_of

from .files import OPENML, READERS, check_path, find, full_name, read_file
from .fingerprint import Fingerprint, digest
from .published import KNOWN, PUBLISHED, fetch, read_published
from .raw import WHATEVER, Columns, Raw, data_root
from .scaling import AS_IT_IS, SCALES, Intake, Scaling

DATASETS = tuple(PUBLISHED)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Which data set, and what is done to it. `name`: a path alone becomes `KIND:PATH`. `scale` is one of `SCALES`; None: nobody said,
    and values stay as they are."""

    name: str
    limit: int | None = None
    scale: str | None = None
    columns: Columns = WHATEVER

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", full_name(self.name))

    def located(self, root: Path | None = None) -> DatasetSpec:
        """The same with an absolute path, for a process whose current folder may be another."""
        kind, _, path = self.name.partition(":")
        return replace(self, name=f"{kind}:{find(path, root).absolute()}") if path and kind != OPENML else self

    def written(self) -> dict[str, Any]:
        """As JSON and YAML hold it: of `columns` only what somebody said."""
        return {"name": self.name, "limit": self.limit, "scale": self.scale} | self.columns.written()


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set in memory.

    `x_ND`: (N, D) floating point, flat. `y_N`: (N,) int64 on the CPU, classes 0..C-1, -1 where it is not known; None without labels.
    `shape`: one sample's natural shape. `test`: the rows of the published test split; None where there is none.
    `n_classes`: C of the whole where this is a subset of it; None: as many as `y_N` holds.
    `scaling`: how `x_ND` was made of the values before.
    """

    name: str
    x_ND: Tensor
    y_N: Tensor | None
    shape: tuple[int, ...]
    test: slice | None = None
    n_classes: int | None = None
    scaling: Scaling = AS_IT_IS

    @cached_property
    def spec(self) -> DataSpec:
        """What a model may know of it."""
        low, high = self.x_ND.aminmax()
        n_classes = self.n_classes
        if n_classes is None and self.y_N is not None:
            n_classes = int(self.y_N.max()) + 1
        n_test = self.n_samples - self.n_train
        n_unknown = 0 if self.y_N is None else int((self.y_N < 0).sum())
        unit_range = bool(low >= 0) and bool(high <= 1)
        return DataSpec(self.n_samples, self.shape, n_classes, unit_range=unit_range, n_test=n_test, n_unknown=n_unknown)

    @property
    def intake(self) -> Intake:
        """What weights that were trained on it need to know of it."""
        return Intake(spec=self.spec, scaling=self.scaling)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the samples, and of which of them are the test split's."""
        return digest({"x_ND": self.x_ND, "n_train": torch.tensor(self.n_train)})

    @cached_property
    def identity(self) -> Fingerprint:
        """What a run remembers of its data."""
        labels = None if self.y_N is None else digest({"y_N": self.y_N})
        return Fingerprint(rows=len(self.x_ND), columns=self.x_ND.shape[1], values=self.fingerprint, labels=labels)

    @cached_property
    def without_labels(self) -> Data:
        """The same samples, their classes and the number of them not known."""
        return self if self.y_N is None and self.n_classes is None else replace(self, y_N=None, n_classes=None)

    @property
    def n_train(self) -> int:
        """The rows that come before the published test split; all where there is none."""
        return len(range(self.n_samples)[: self.test.start]) if self.test else self.n_samples

    @property
    def n_samples(self) -> int:
        return len(self.x_ND)

    def batch(self, rows: Tensor | slice) -> Tensor:
        """(..., D): the samples at `rows` of the data set, of a tensor of any shape (...). Whoever trains, evaluates or runs over all
        samples gathers them here: a data set whose samples lie otherwise in memory, as the windows of a film, overrides this and
        `n_samples`."""
        return self.x_ND[rows]

    def by_rows(self, f: Callable[[Tensor], Tensor], rows: int | None = None) -> Tensor:
        """`f` over all samples, a slice of rows at a time, as `nn.by_rows`."""
        return by_slices(lambda part: f(self.batch(part)), self.n_samples, rows or slice_of(self.x_ND))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Data:
        """The same with `x_ND` on a device and in a precision."""
        return replace(self, x_ND=self.x_ND.to(device=device, dtype=dtype))


def describe(dataset: DatasetSpec, root: Path | None = None) -> DataSpec:
    """What `load` would give. A published data set is not read for it, but fetched where its files are absent.

    Raises:
        UserError: as `load`.
    """
    check_named(dataset)
    if dataset.name not in DATASETS:
        return load(dataset, root).spec
    spec = PUBLISHED[dataset.name].spec
    n_samples = _checked_limit(dataset, spec.n_samples)
    fetch(dataset.name, data_root(root))
    unit_range = dataset.scale in ("minmax", "minmax_all") or (spec.unit_range and dataset.scale not in ("standard", "robust"))
    n_test = int((_subset(spec.n_samples, n_samples) >= spec.n_samples - spec.n_test).sum())
    return replace(spec, n_samples=n_samples, unit_range=unit_range, n_test=n_test)


def load(dataset: DatasetSpec, root: Path | None = None, raw: Raw | None = None) -> Data:
    """The data set, float32, on the CPU. `raw`: what `read_raw` gave of it, where somebody has it.

    Raises:
        UserError: no such data set, files that are absent, damaged or hold what cannot be used, a limit that cannot be.
    """
    raw = raw or read_raw(dataset, root)
    rows_L = rows_of(dataset, len(raw.x_N))
    x_LD = raw.values(rows_L)
    scaling = Scaling.fit(dataset.scale, x_LD, table=raw.x_N.ndim == 2)
    y_L, n_classes = None, None
    if raw.y_N is not None:
        y_N, n_classes = raw.classes()
        y_L = torch.from_numpy(y_N[rows_L]) if (y_N[rows_L] >= 0).any() else None
    n_before_test = None if raw.n_train is None else int(np.searchsorted(rows_L, raw.n_train))
    return Data(
        name=dataset.name,
        x_ND=torch.from_numpy(scaling.apply(x_LD)),
        y_N=y_L,
        shape=raw.x_N.shape[1:],
        test=None if n_before_test is None else slice(n_before_test, len(rows_L)),
        n_classes=n_classes if y_L is not None else None,
        scaling=scaling,
    )


def read_raw(dataset: DatasetSpec, root: Path | None = None) -> Raw:
    """All samples as the files hold them: before `limit` and `scale`.

    Raises:
        UserError: as `load`.
    """
    check_named(dataset)
    return read_file(dataset.name, root, dataset.columns) if ":" in dataset.name else read_published(dataset.name, root)


# --- names, subsets --------------------------------------------------------------------------------------------


def check_named(dataset: DatasetSpec) -> None:
    """Raises UserError where there can be no such data set, whatever files there are."""
    kind, colon, path = dataset.name.partition(":")
    if colon and kind in (*READERS, OPENML) and path:
        pass
    elif colon and kind in (*READERS, OPENML):
        raise UserError(f"'{dataset.name}' names no file. Write {kind}:PATH.")
    elif dataset.name not in DATASETS:
        check_path(dataset.name)
        raise UserError(f"There is no data set '{dataset.name}'.{did_you_mean(dataset.name, DATASETS)} {KNOWN}")
    elif dataset.columns != WHATEVER:
        raise UserError(f"'label', 'drop', 'id' and the like are of files, but '{dataset.name}' is a published data set. Leave them out.")
    if dataset.scale is not None and dataset.scale not in SCALES:
        raise UserError(f"'scale' must be one of {' | '.join(SCALES)}, but is '{dataset.scale}'.{did_you_mean(dataset.scale, SCALES)}")


def _checked_limit(dataset: DatasetSpec, n_samples: int) -> int:
    if dataset.limit is None:
        return n_samples
    if not 2 <= dataset.limit <= n_samples:
        raise UserError(f"'limit' must stay within [2, {n_samples}], the samples that {dataset.name} has, but is {dataset.limit}.")
    return dataset.limit


def rows_of(dataset: DatasetSpec, n_samples: int) -> NDArray[np.int64]:
    """Which rows of the whole, `n_samples` of them, a data set is made of, in their order. Raises UserError where its limit is beyond."""
    return _subset(n_samples, _checked_limit(dataset, n_samples))


def _subset(n_samples: int, limit: int) -> NDArray[np.int64]:
    # RandomState: numpy promises that its streams never change, and does not for default_rng.
    permutation_N = np.random.RandomState(0).permutation(n_samples)
    return np.sort(permutation_N[:limit])

"""What a trained model makes of the data that it was trained on, as arrays: its pictures are made of them.

Shapes: N samples, S those of the subsample, D features, Z code, K clusters, C classes, R samples of each cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tuner.data.datasets import Data, DatasetSpec, read_raw
from tuner.metrics import contingency
from tuner.runs.course import BEST_COURSE, Moment, read_course
from tuner.training.codes import subsample_rows

from .assign import Assigner, joined
from .load import Trained, training_data

MAPPED = 5000  # samples of a map


@dataclass(frozen=True, kw_only=True, eq=False)
class Clustered:
    """`cluster_N`, `code_NZ`: of every sample; `rank_N`: the smaller, the nearer a sample lies to its cluster's centre; `by_distance`:
    whether that is the distance from a centre. `epoch`: after how many clustering epochs; `moments`: of the training before, earliest
    first. `names_D`: of the columns; `names_C`: of the classes; empty where they have none."""

    assigner: Assigner
    data: Data
    cluster_N: NDArray[np.int64]
    code_NZ: NDArray[np.float32]
    rank_N: NDArray[np.float64]
    by_distance: bool
    epoch: int | None = None
    moments: Sequence[Moment] = ()
    names_D: Sequence[str] = ()
    names_C: Sequence[str] = ()

    @property
    def n_clusters(self) -> int:
        return int(getattr(self.assigner.h, "n_clusters", int(self.cluster_N.max()) + 1))

    @cached_property
    def size_K(self) -> NDArray[np.int64]:
        """How many samples each cluster has."""
        return np.bincount(self.cluster_N, minlength=self.n_clusters)

    @property
    def class_N(self) -> NDArray[np.int64] | None:
        """-1 where the class is not known; None where no class is."""
        return None if self.data.y_N is None else self.data.y_N.numpy()

    def class_name(self, number: int) -> str:
        return str(self.names_C[number]) if number < len(self.names_C) else str(number)

    @cached_property
    def confusion_KC(self) -> NDArray[np.int64] | None:
        """How many samples of each class each cluster holds; None where no class is known."""
        y_N = self.data.y_N
        if y_N is None or self.data.spec.n_classes is None:
            return None
        found: NDArray[np.int64] = contingency(torch.from_numpy(self.cluster_N), y_N, self.n_clusters, self.data.spec.n_classes).numpy()
        return found

    @cached_property
    def matched(self) -> dict[int, int]:
        """The class that each cluster is matched with, one to one, as ACC does; empty where no class is known."""
        from scipy.optimize import linear_sum_assignment

        n_KC = self.confusion_KC
        if n_KC is None:
            return {}
        return dict(zip(*(side.tolist() for side in linear_sum_assignment(n_KC, maximize=True)), strict=True))

    def nearest(self, cluster: int, n: int) -> NDArray[np.int64]:
        """(R,) rows of the samples nearest to the centre of a cluster, at most `n`, nearest first."""
        rows_M = np.flatnonzero(self.cluster_N == cluster)
        return rows_M[np.argsort(self.rank_N[rows_M], kind="stable")[:n]]

    def mapped(self, most: int = MAPPED) -> NDArray[np.int64]:
        """(S,) the rows that a map shows: those of the moments are among them."""
        rows_S: NDArray[np.int64] = subsample_rows(len(self.cluster_N), most).numpy()
        return rows_S

    def samples(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(R, D), as the model sees them."""
        found: NDArray[np.float32] = self.data.batch(torch.from_numpy(rows)).float().cpu().numpy()
        return found

    def means(self) -> NDArray[np.float64]:
        """(K, D): the mean sample of each cluster; NaN of an empty one."""
        sum_KD = np.zeros((self.n_clusters, self.data.spec.n_features))
        for i in range(0, len(self.cluster_N), 4096):
            rows = np.arange(i, min(i + 4096, len(self.cluster_N)))
            np.add.at(sum_KD, self.cluster_N[rows], self.samples(rows))
        with np.errstate(invalid="ignore"):
            return sum_KD / np.where(self.size_K > 0, self.size_K, np.nan)[:, None]


def clustered(assigner: Assigner, data: Data, moments: Sequence[Moment] = ()) -> Clustered:
    """`data`: that the model was trained on, scaled."""
    found = joined(assigner.known(data, code=True), assigner, code=True)
    assert found.code_NZ is not None
    code_NZ = found.code_NZ.reshape(len(found), -1)
    by_distance = found.distance_N is not None
    rank_N = (
        found.distance_N.astype(np.float64)
        if found.distance_N is not None
        else _by_confidence(code_NZ, found.cluster_N, found.confidence_N)
    )
    return Clustered(
        assigner=assigner, data=data, cluster_N=found.cluster_N, code_NZ=code_NZ, rank_N=rank_N, by_distance=by_distance, moments=moments,
    )  # fmt: skip


def _by_confidence(code_NZ: NDArray[np.float32], cluster_N: NDArray[np.int64], confidence_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """The surest first, to three digits; among them the nearest to the mean code of their cluster."""
    distance_N = np.zeros(len(cluster_N))
    for cluster in np.unique(cluster_N):
        rows_M = np.flatnonzero(cluster_N == cluster)
        distance_N[rows_M] = np.linalg.norm(code_NZ[rows_M] - code_NZ[rows_M].mean(axis=0), axis=1)
    most = distance_N.max(initial=0.0)
    return np.round(1 - confidence_N.astype(np.float64), 3) * 1e3 + distance_N / (most or 1.0)


def clustered_of(trained: Trained, data_root: Path | None = None) -> Clustered:
    """Of a run's best model, or the one beside a `best.yaml`, with what was kept of its training.

    Raises:
        UserError: the data are absent, or others by now.
    """
    last = trained.snapshot.cluster_epoch
    moments = [one for one in read_course(trained.folder / BEST_COURSE) if one.epoch < last]
    found = replace(clustered(trained.assigner, training_data(trained, data_root), moments), epoch=last)
    names_D, names_C = names_of(trained.dataset, data_root)
    return replace(found, names_D=names_D, names_C=names_C)


def names_of(dataset: DatasetSpec, data_root: Path | None = None) -> tuple[Sequence[str], Sequence[str]]:
    """The names of a file's columns and of its classes; empty where it has none, and for published data."""
    if ":" not in dataset.name:
        return (), ()
    raw = read_raw(dataset, data_root)
    return raw.names_D, raw.class_names()

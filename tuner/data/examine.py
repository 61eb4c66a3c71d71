"""Looks at a data set before anyone trains on it: what it holds, and what in it may be meant otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError

from .datasets import Data, DatasetSpec, load, read_raw
from .raw import COUNTS, Raw

_SHOWN = 5  # names in one line
_OUTWEIGHS = 100.0  # a column so many times as wide as the middle one decides every distance
_ROUGH = 1e-3  # of a column's deviation: what rounding to float32 may move
_NEARLY = 0.999  # of the rows that hold one value
_MANY_CLASSES = 200
_MANY_TIMES = 5  # as many clusters as classes
_LEAST = 1e-18  # a deviation whose square float32 does not hold
_SLIVER = 0.01  # of a column's range
_MOST = 1e18  # its square, which every distance and loss takes, is about the largest that float32 holds


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """`facts`: label and text of each line. `doubts`: what may be meant otherwise, each with the key that settles it. `distinct`: rows that
    differ from each other. `names_D`, `names_C`: of the columns and of the classes of a file; empty where they have none."""

    data: Data
    facts: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    distinct: int
    names_D: tuple[str, ...] = ()
    names_C: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{name:<10}{text}" for name, text in self.facts] + [f"Found out: {note}." for note in self.notes]
        return "\n".join([*lines, *(f"Doubt: {doubt}." for doubt in self.doubts)])

    __repr__ = __str__

    def of_clusters(self, n_clusters: int) -> list[str]:
        """Doubts about a number of clusters."""
        n_classes = self.data.spec.n_classes
        if n_clusters > self.distinct:
            rows = f"there are only {self.distinct:,} distinct rows"
            return [f"{n_clusters} clusters are asked for, but {rows}. Set n_clusters={self.distinct} or less"]
        if n_classes is not None and n_clusters > _MANY_TIMES * n_classes:
            classes = f"there {'is' if n_classes == 1 else 'are'} {_classes(n_classes)}"
            return [f"{n_clusters} clusters are asked for, but {classes}: acc counts what the clusters left over hold as errors"]
        return []

    def lines(self, n_clusters: int = 1) -> list[str]:
        """What is said before a training: what was found out and what is doubtful or, in one line, that all is well."""
        found = [*self.notes, *self.doubts, *self.of_clusters(n_clusters)]
        return found or (["nothing in it may be meant otherwise"] if ":" in self.data.name else [])


def examine(dataset: DatasetSpec, root: Path | None = None) -> Findings:
    """Raises UserError: as `load`, and for data that no training can do anything with."""
    raw = read_raw(dataset, root)
    data = load(dataset, root, raw)
    most = max(abs(data.scaling.low), abs(data.scaling.high))
    if data.scaling.kind == "none" and most > _MOST:
        raise UserError(f"{dataset.name} holds values of up to {most:.3g}, whose squares are beyond float32. Say 'scale: standard'.")
    if data.scaling.kind == "none" and 0 < data.scaling.deviation < _LEAST:
        deviation = f"{data.scaling.deviation:.3g}"
        raise UserError(f"{dataset.name} has a deviation of {deviation}, whose square is beyond float32. Say 'scale: standard'.")
    distinct = _distinct(data.x_ND.numpy())
    if distinct == 1 and data.scaling.low < data.scaling.high:
        sizes = f"values of {data.scaling.low:g} to {data.scaling.high:g}, with a deviation of {data.scaling.deviation:.3g}"
        raise UserError(f"{dataset.name}: in float32 all {data.n_samples:,} rows are equal ({sizes}). Say 'scale: standard'.")
    if distinct == 1:
        raise UserError(f"{dataset.name}: all {data.n_samples:,} rows are equal, so that there is nothing to cluster.")
    own = ":" in dataset.name  # of published data all is known
    doubts = (*raw.doubts, *_doubts(raw, data, dataset, distinct)) if own else ()
    names = {"names_D": raw.names_D, "names_C": raw.class_names()} if own else {}
    return Findings(data=data, facts=tuple(_facts(raw, data, distinct)), doubts=doubts, notes=raw.notes, distinct=distinct, **names)


def _facts(raw: Raw, data: Data, distinct: int) -> Iterator[tuple[str, str]]:
    spec, x_ND = data.spec, data.x_ND
    shape = f"{spec.shape[0]} columns" if len(spec.shape) == 1 else f"samples of {'x'.join(map(str, spec.shape))}"
    split = f", the last {spec.n_test:,} the test split" if spec.n_test else ""
    yield "rows", f"{spec.n_samples:,} rows, {shape}, {raw.x_N.dtype}{split}"
    yield "distinct", f"{distinct:,} of the rows" if distinct < spec.n_samples else "all rows"
    yield (
        "values",
        f"{float(x_ND.min()):g} to {float(x_ND.max()):g}" + (f" after scale: {data.scaling.kind}" if data.scaling.kind != "none" else ""),
    )
    yield "memory", f"{x_ND.numel() * 4 / 1e6:,.1f} MB on the device"
    if data.y_N is None:
        yield "labels", "none"
        return
    sizes_C = _sizes(data)
    unknown = f", {spec.n_unknown:,} rows without one" if spec.n_unknown else ""
    yield "labels", f"{_classes(spec.n_classes or 0)} of {int(np.min(sizes_C)):,} to {int(np.max(sizes_C)):,} rows{unknown}"


def _classes(n: int) -> str:
    return f"{n:,} class" + "es" * (n != 1)


def _sizes(data: Data) -> NDArray[np.int64]:
    """How many rows each class has."""
    if data.y_N is None:
        return np.zeros(0, dtype=np.int64)
    return np.bincount(data.y_N.numpy()[data.y_N.numpy() >= 0], minlength=data.spec.n_classes or 0)


def _whole(raw: Raw) -> bool:
    some = raw.x_N[:1000]
    return bool((some == np.round(some)).all() and (some >= 0).all() and (some > 1).any())


def _doubts(raw: Raw, data: Data, dataset: DatasetSpec, distinct: int) -> Iterator[str]:
    n_samples, n_classes = data.n_samples, data.spec.n_classes
    if distinct < n_samples:
        repeated = n_samples - distinct
        yield f"{repeated:,} of {n_samples:,} rows {'repeats' if repeated == 1 else 'repeat'} another one, as they are in float32"
    if raw.kind == COUNTS and dataset.scale is None and _whole(raw):
        yield "the values are counts. Say scale: lognorm for log(1 + 10,000 x / the row's sum), or scale: none for the counts as they are"
    if n_classes is not None and n_classes > _MANY_CLASSES:
        yield f"the labels have {n_classes:,} classes. If they are no classes, say label: none"
    elif n_classes is not None and 2 * n_classes > n_samples:
        yield f"the labels have {n_classes:,} classes for {n_samples:,} rows. If they are no classes, say label: none"
    sizes_C = _sizes(data)
    single = int((sizes_C == 1).sum())
    if single and len(sizes_C) <= _MANY_CLASSES and 2 * len(sizes_C) <= n_samples:
        yield f"{single} of {_classes(len(sizes_C))} {'has' if single == 1 else 'have'} a single row"
    if n_classes == 1:
        yield "all labels are the same: scores against them say nothing"
    if raw.x_N.ndim == 2:
        yield from _doubts_of_columns(raw, data, dataset)


def _doubts_of_columns(raw: Raw, data: Data, dataset: DatasetSpec) -> Iterator[str]:
    x_ND = raw.values(slice(None))
    low_D, high_D = x_ND.min(axis=0).astype(np.float64), x_ND.max(axis=0).astype(np.float64)
    deviation_D = x_ND.std(axis=0, dtype=np.float64)
    constant = np.flatnonzero(low_D == high_D)
    if len(constant):
        one = len(constant) == 1
        said = (
            ("becomes", "become")[not one] + " 0"
            if data.scaling.kind in ("minmax", "standard", "robust")
            else ("says", "say")[not one] + " nothing"
        )
        yield f"{_named(raw, constant)} never {'varies' if len(constant) == 1 else 'vary'}, and {said}. Leave out with drop: [...]"
    nearly = [i for i in np.flatnonzero(low_D < high_D) if len(x_ND) >= 1000 and _commonest(x_ND[:, i]) >= _NEARLY]
    if nearly and len(nearly) < x_ND.shape[1] // 2 + 1:  # of counts and pixels most columns are such
        yield f"{_named(raw, np.array(nearly))} nearly never {'varies' if len(nearly) == 1 else 'vary'}"
    largest_D = np.maximum(np.abs(low_D), np.abs(high_D))
    unscaled = data.scaling.kind in ("none", "minmax_all", "log1p")
    rough = np.flatnonzero((largest_D * 2.0**-24 > _ROUGH * deviation_D) & (low_D < high_D))
    if unscaled and len(rough):
        at = rough[0]
        about = f"values around {largest_D[at]:.3g} with a deviation of {deviation_D[at]:.3g}"
        yield f"{_named(raw, rough)} lose{'' if len(rough) > 1 else 's'} differences in float32 ({about}). Say scale: standard"
    elif not unscaled and len(rough):
        differs = "differ" if len(rough) > 1 else "differs"
        yield f"{_named(raw, rough)} {differs} little beside the size of the values. Scaled in float64, nothing is lost"
    if data.scaling.kind == "minmax":
        low99_D, high99_D = np.percentile(x_ND[:: max(1, len(x_ND) // 2000)], (1, 99), axis=0)
        flat = np.flatnonzero((high99_D - low99_D < _SLIVER * (high_D - low_D)) & (high99_D > low99_D))
        if len(flat):
            sliver = f"98 % of the values lie within {_SLIVER:.0%} of the range"
            yield f"{_named(raw, flat)} {'is' if len(flat) == 1 else 'are'} flattened by few large values ({sliver}). Say scale: robust"
    varies_D = deviation_D[deviation_D > 0]
    if unscaled and len(varies_D) > 1:
        wide = np.flatnonzero(deviation_D > _OUTWEIGHS * np.median(varies_D))
        if len(wide):
            at = wide[np.argmax(deviation_D[wide])]
            sizes = f"a deviation of {deviation_D[at]:.3g}, the middle column {np.median(varies_D):.3g}"
            outweighs = "outweigh" if len(wide) > 1 else "outweighs"
            yield f"{_named(raw, wide)} {outweighs} all others ({sizes}; largest value {largest_D[at]:.3g}). Say scale: standard"


def _commonest(x_N: NDArray[Any]) -> float:
    """The share of the middle value, which is the commonest where its share is more than half."""
    for part in (x_N[:1000], x_N):  # most columns vary among the first rows already
        share = float((part == np.median(part)).mean())
        if share < _NEARLY - 0.05:
            break
    return share


def _named(raw: Raw, at: NDArray[Any]) -> str:
    names = [repr(raw.names_D[i].strip()) if raw.names_D else str(i + 1) for i in at[:_SHOWN]]
    more = f" and {len(at) - _SHOWN:,} more" if len(at) > _SHOWN else ""
    return f"column{'s' if len(at) > 1 else ''} {', '.join(names)}{more}"


def _distinct(x_ND: NDArray[np.float32]) -> int:
    """How many rows differ from each other, by a hash of each."""
    x_ND = np.ascontiguousarray(x_ND) + np.float32(0)  # -0 is 0
    return len({hashlib.blake2b(row.data, digest_size=12).digest() for row in x_ND})

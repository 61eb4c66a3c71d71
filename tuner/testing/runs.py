"""Solo and packed runs of the same trials, and how far apart they lie."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.model import Hyper, Model
from tuner.training.loop import Epoch, train
from tuner.training.pool import Pool, Widths


@dataclass
class Run:
    """What one epoch left: metrics that do not depend on the clock, weights, and how it ended."""

    metrics: dict[str, float]
    state: Mapping[str, Tensor]
    ended: str | None


def record(epoch: Epoch) -> Run:
    """What is compared of an epoch."""
    metrics = {name: value for name, value in epoch.metrics.items() if name != "samples_per_s"}
    if index := metrics.get("calinski_harabasz"):  # has no upper bound: by its logarithm, so that a difference is relative
        metrics["calinski_harabasz"] = math.log(index)
    return Run(metrics, epoch.snapshot().weights(), epoch.ended)


def run_again(model: Model, h: Hyper, data: Data, seed: int, **more: Any) -> list[Run]:
    """A solo run, trained now."""
    return [record(epoch) for epoch in train(model, h, data, seed=seed, **more)]


_KEPT: OrderedDict[tuple[Any, ...], tuple[Data, list[Run]]] = OrderedDict()  # solo runs that were compared last
_MOST = 64


def solo(model: Model, h: Hyper, data: Data, seed: int, **more: Any) -> list[Run]:
    """A solo run. What is asked for again is not trained again; its tensors are for reading."""
    if more:
        return run_again(model, h, data, seed, **more)
    # The class: a variant in a test has its model's name. The data themselves are kept, so that no others get their id.
    key = (type(model), type(h), tuple(h.flat().items()), id(data), seed)
    if key not in _KEPT:
        _KEPT[key] = (data, run_again(model, h, data, seed))
    _KEPT.move_to_end(key)
    while len(_KEPT) > _MOST:
        _KEPT.popitem(last=False)
    return _KEPT[key][1]


def packed(  # six: the trials are given as columns, as they are compared
    model: Model, hs: Sequence[Hyper], data: Data, seeds: Sequence[int], joins: Sequence[int] | None = None, metric: str | None = None
) -> list[list[Run]]:
    """One list of epochs for each trial, all in packs, none alone; trial i joins in round `joins[i]`."""
    joins = joins or [0] * len(hs)
    pool, round_ = Pool(model, data, Widths(most=max(2, len(hs)), least=1, exact=False), metric), 0
    runs: dict[Any, list[Run]] = {i: [] for i in range(len(hs))}
    while pool.members or round_ <= max(joins):
        for i, join in enumerate(joins):
            if join == round_:
                pool.join(i, hs[i], seed=seeds[i])
        for key, epoch in pool.round():
            runs[key].append(record(epoch))
        round_ += 1
    return list(runs.values())


Visit = tuple[Hyper, int, int, int | None]  # of a trial: h, seed, the round it joins in, the round it is taken out in


def crowded(model: Model, crowd: Sequence[Visit], data: Data, width: int) -> list[list[Run]]:
    """Packs of one width in which trials come and go. One list of epochs for each trial."""
    pool, round_ = Pool(model, data, Widths(most=width, least=1, exact=False)), 0
    runs: dict[Any, list[Run]] = {i: [] for i in range(len(crowd))}
    while pool.members or round_ <= max(join for _, _, join, _ in crowd):
        for i, (h, seed, join, leave) in enumerate(crowd):
            if round_ == join:
                pool.join(i, h, seed=seed)
            elif round_ == leave and i in pool.members:
                pool.leave(i)
        for key, epoch in pool.round():
            runs[key].append(record(epoch))
        round_ += 1
    return list(runs.values())


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The largest difference; infinite where only one side is NaN."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    worst = 0.0
    for name in a:
        p, q = torch.as_tensor(a[name], dtype=torch.float64), torch.as_tensor(b[name], dtype=torch.float64)
        same = (p == q) | (p.isnan() & q.isnan())
        gap = torch.where(same, 0.0, (p - q).abs()).nan_to_num(nan=math.inf)
        worst = max(worst, float(gap.max())) if gap.numel() else worst
    return worst


def apart(run: Sequence[Run], other: Sequence[Run]) -> float:
    """The largest difference of weights and metrics over all epochs."""
    assert len(run) == len(other), (len(run), len(other))
    assert [r.ended for r in run] == [r.ended for r in other]
    return max(max(distance(a.state, b.state), distance(a.metrics, b.metrics)) for a, b in zip(run, other, strict=True))

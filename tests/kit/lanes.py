"""Solo and packed runs of the same trials, and how far apart they lie."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch

from tuner.training.loop import train
from tuner.training.pool import Pool, Widths


@dataclass
class Run:
    """What one epoch left: metrics that do not depend on the clock, weights, and how it ended."""

    metrics: dict
    state: dict
    ended: str | None


def record(epoch):
    metrics = {name: value for name, value in epoch.metrics.items() if name != "samples_per_s"}
    if index := metrics.get("calinski_harabasz"):  # has no upper bound: by its logarithm, so that a difference is relative
        metrics["calinski_harabasz"] = math.log(index)
    return Run(metrics, epoch.snapshot().weights(), epoch.ended)


def run_again(model, h, data, seed, **more):
    """A solo run, trained now."""
    return [record(epoch) for epoch in train(model, h, data, seed=seed, **more)]


_KEPT, _MOST = OrderedDict(), 64  # solo runs that were compared last


def solo(model, h, data, seed, **more):
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


def packed(model, hs, data, seeds, joins=None, metric=None):
    """One list of epochs for each trial, all in packs, none alone; trial i joins in round `joins[i]`."""
    joins = joins or [0] * len(hs)
    pool, runs, round_ = Pool(model, data, Widths(most=max(2, len(hs)), least=1, exact=False), metric), [[] for _ in hs], 0
    while pool.members or round_ <= max(joins):
        for i, join in enumerate(joins):
            if join == round_:
                pool.join(i, hs[i], seed=seeds[i])
        for i, epoch in pool.round():
            runs[i].append(record(epoch))
        round_ += 1
    return runs


def crowded(model, crowd, data, width):
    """Packs of one width in which trials come and go. `crowd`: for each trial (h, seed, the round it joins in, the round it is taken
    out in or None). One list of epochs for each trial."""
    pool, runs, round_ = Pool(model, data, Widths(most=width, least=1, exact=False)), [[] for _ in crowd], 0
    while pool.members or round_ <= max(join for _, _, join, _ in crowd):
        for i, (h, seed, join, leave) in enumerate(crowd):
            if round_ == join:
                pool.join(i, h, seed=seed)
            elif round_ == leave and i in pool.members:
                pool.leave(i)
        for i, epoch in pool.round():
            runs[i].append(record(epoch))
        round_ += 1
    return runs


def distance(a, b):
    """The largest difference; infinite where only one side is NaN."""
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    worst = 0.0
    for name in a:
        p, q = torch.as_tensor(a[name], dtype=torch.float64), torch.as_tensor(b[name], dtype=torch.float64)
        same = (p == q) | (p.isnan() & q.isnan())
        gap = torch.where(same, 0.0, (p - q).abs()).nan_to_num(nan=math.inf)
        worst = max(worst, float(gap.max())) if gap.numel() else worst
    return worst


def apart(run, other):
    """The largest difference of weights and metrics over all epochs."""
    assert len(run) == len(other), (len(run), len(other))
    assert [r.ended for r in run] == [r.ended for r in other]
    return max(max(distance(a.state, b.state), distance(a.metrics, b.metrics)) for a, b in zip(run, other, strict=True))

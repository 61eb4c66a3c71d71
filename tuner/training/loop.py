"""The only training loop: one epoch of one engine, whose slots hold one trial (`Solo`) or many (`Pack`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.data.labels import labelled_of
from tuner.metrics import errors, evaluate
from tuner.model import Hyper, Model, Phase, Values
from tuner.nn import by_rows, by_slices, slice_of

from .batches import SEEDED_BY, Around, run_batches
from .checkpoint import Snapshot
from .engine import Engine, Settings, tensors_of
from .neighbours import NEIGHBOURHOODS, neighbourhoods
from .solo import Solo
from .trial import Trial, check_fits, initial_seed, start_trial

COLLAPSED_AFTER = 3  # clustering epochs in a row that use one cluster only


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of one trial came to.

    `epoch` counts from 1 through all phases, `cluster_epoch` from 1 through the clustering ones (None in pre-training).
    `metrics` are finite: acc, acc_vote, acc_aae, nmi, ari, ami where there are labels, error and error_test of models that are given some
    labels, n_used, largest_share, balance, confidence, `loss/<term>` as the epoch's unweighted mean, samples_per_s; in the last epoch
    silhouette, davies_bouldin, calinski_harabasz and description_length, and knn_error_<k> where there are labels. `ended` is None while
    the trial goes on, else `complete`, `collapsed` or `diverged`, with the `reason` of the latter two. `ends_phase`: the next epoch, if
    there is one, is of another phase.
    """

    epoch: int
    phase: str
    cluster_epoch: int | None
    metrics: dict[str, float]
    ended: str | None = None
    reason: str | None = None
    ends_phase: bool = False
    _snapshot: Callable[[], Snapshot] = field(repr=False, compare=False)

    def snapshot(self) -> Snapshot:
        """A copy of the trial's state. To be asked for before the next epoch."""
        return self._snapshot()


def train(
    model: Model,
    h: Hyper,
    data: Data,
    *,
    seed: int,
    pretrain_seed: int | None = None,
    start: Snapshot | None = None,
    device: str = "cpu",
    metric: str | Sequence[str] | None = None,
) -> Iterator[Epoch]:
    """Trains one trial and yields after every epoch; who no longer wants it ceases to iterate. `metric`: as `run_epoch`.

    Raises:
        UserError: the configuration does not fit the data, or the snapshot does not fit the configuration.
    """
    check_fits(model, h, data)
    data, phases = data.to(device), model.phases(h)
    trial = start_trial(model, h, seed=seed, pretrain_seed=pretrain_seed, start=start)
    engine = Solo(model, h, data.spec, data.x_ND, seed=initial_seed(model, trial))
    opened = None
    if start is not None and trial.phase < len(phases):  # else it is the last state of a trial that a condition ended
        opened = trial.phase
        engine.open(phases[opened])
        engine.load(0, start.tensors)
    while trial.advance(phases):
        if opened != trial.phase:
            opened = trial.phase
            engine.open(phases[opened])
        epoch = run_epoch(engine, model, [trial], data, metric)[0]
        yield epoch
        if epoch.ended:
            return


def run_epoch(
    engine: Engine, model: Model, trials: Sequence[Trial | None], data: Data, metric: str | Sequence[str] | None = None
) -> dict[int, Epoch]:
    """One epoch of every slot that holds a trial, all of the same phase. Batches go all at once, the rest slot by slot.

    `metric`: what a search goes by, one name or several; measured in every clustering epoch, also where it otherwise is in the last one
    only.
    """
    began = time.perf_counter()
    busy = {slot: trial for slot, trial in enumerate(trials) if trial}
    some = next(iter(busy.values()))
    phase = model.phases(some.h)[some.phase]
    settings = [Settings(model, t.h, t.on, phase.schedule(t.h, t.phase_epoch + 1) if phase.schedule else {}) if t else None for t in trials]
    values = {slot: s.values(data.x_ND) for slot, s in enumerate(settings) if s}
    labelled = {slot: labelled_of(data, trial.h) for slot, trial in busy.items()} if model.labels == "partial" else {}
    seen = hooks_see(model, data)

    def whole(hook: Callable[..., dict[str, Any]], slot: int, purpose: str, kept: frozenset[str] = frozenset()) -> None:
        """Runs a hook on the whole data set and overwrites what it returns, unless all of that is `kept`."""
        draws = busy[slot].draws(phase, purpose, data.x_ND)
        with engine.view(slot) as net:
            replaced = hook(net, seen, values[slot], draws)
        if not kept or not tensors_of(replaced) <= kept:
            engine.put(slot, replaced)

    due = (metric,) if metric is None or isinstance(metric, str) else tuple(metric)
    engine.begin(settings)
    for slot, trial in busy.items():
        if trial.phase_epoch == 0 and phase.start:
            whole(phase.start, slot, SEEDED_BY["start"], trial.warm)
        if phase.before_epoch and not phase.every_batches:
            whole(phase.before_epoch, slot, SEEDED_BY["before_epoch"])
    if phase.updates:
        run_batches(engine, phase, trials, data, Around(settings, values, whole, labelled))
    epochs = {}
    for slot, trial in busy.items():
        if phase.after_epoch:
            whole(phase.after_epoch, slot, SEEDED_BY["after_epoch"])
        trial.phase_epoch, trial.epoch = trial.phase_epoch + 1, trial.epoch + 1
        trial.cluster_epoch += phase.clusters
        trained = Trained(phase, data, values[slot], time.perf_counter() - began, due)
        epochs[slot] = _finish(engine, model, slot, trial, trained)
    return epochs


def hooks_see(model: Model, data: Data) -> Data:
    """What a model's hooks are handed: no label, unless the model trains on some."""
    return data if model.labels == "partial" else data.without_labels


@dataclass(frozen=True)
class Trained:
    """An epoch of one trial that has been trained and is to be measured. `due`: the neighbourhood metrics that it is measured by, if
    they are such."""

    phase: Phase
    data: Data
    values: Values
    seconds: float
    due: tuple[str | None, ...]


def _finish(engine: Engine, model: Model, slot: int, trial: Trial, trained: Trained) -> Epoch:
    """Measures a trial after its epoch and says whether, and how, it ended."""
    phase, over, last = trained.phase, False, False
    metrics = {f"loss/{term}": loss for term, loss in engine.measured(slot).items()}
    ended, reason = None, None
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if not bad and not _finite(engine.state(slot)):
        bad = ["a parameter"]
    if bad:  # tested before the evaluation, which has no meaning then
        ended, reason = "diverged", f"{' and '.join(bad)} is not finite after epoch {trial.epoch} ({phase.name})"
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
    else:
        over = _over(engine, model, slot, trial, trained)
        last = over and all(getattr(trial.h, later.epochs) == 0 for later in model.phases(trial.h)[trial.phase + 1 :])
        if phase.clusters:
            metrics |= _scored(engine, model, slot, trial, replace(trained, due=NEIGHBOURHOODS) if last else trained)
            trial.one_cluster_epochs = trial.one_cluster_epochs + 1 if metrics["n_used"] <= 1 else 0
    if ended is None and (trial.one_cluster_epochs >= COLLAPSED_AFTER or (last and trial.one_cluster_epochs)):
        ended, reason = (
            "collapsed",
            f"all samples lie in one cluster since clustering epoch {trial.cluster_epoch - trial.one_cluster_epochs + 1}",
        )
    if ended is None and last:
        ended = "complete"
    metrics["samples_per_s"] = trained.data.spec.n_samples / trained.seconds
    if over and trial.phase_epoch < getattr(trial.h, phase.epochs):  # by its condition, which nobody asks again
        trial.next_phase()
    return Epoch(
        epoch=trial.epoch,
        phase=phase.name,
        cluster_epoch=trial.cluster_epoch if phase.clusters else None,
        metrics=metrics,
        ended=ended,
        reason=reason,
        ends_phase=over,
        _snapshot=partial(_snapshot, engine, model, slot, Trial(**vars(trial)), trained.data),
    )


def _scored(engine: Engine, model: Model, slot: int, trial: Trial, trained: Trained) -> dict[str, float]:
    """The metrics of a trial's clusters as they now are."""
    data, values = trained.data, trained.values
    size = model.eval_rows or slice_of(data.x_ND)
    rows_N = torch.arange(data.n_samples, device=data.x_ND.device)
    y_N, rows_M = data.y_N, None
    if model.labels == "partial":
        assert y_N is not None
        rows_M = labelled_of(data, trial.h).rows_M
        y_N = y_N.index_fill(0, rows_M, -1)  # the classes that the model was given are no answers of its own
    with engine.view(slot) as net:

        def assign(part: slice) -> Tensor:
            return model.assign_rows(net, data.batch(part), rows_N[part], values)

        def embed(rows_R: Tensor) -> Tensor:
            return by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), values), rows_R.to(data.x_ND.device), size)

        p_NK = by_slices(assign, data.n_samples, size)
        metrics = evaluate(p_NK, y_N)
        metrics |= neighbourhoods(embed, data, p_NK.argmax(dim=1), trained.due)
    if rows_M is not None and data.y_N is not None:
        metrics |= errors(p_NK, data.y_N, rows_M, data.test)
    return metrics


def _over(engine: Engine, model: Model, slot: int, trial: Trial, trained: Trained) -> bool:
    """Whether the epoch that just ended was its phase's last, by its length or its condition."""
    if trial.phase_epoch >= getattr(trial.h, trained.phase.epochs):
        return True
    if trained.phase.until is None:
        return False
    with engine.view(slot) as net:
        return bool(trained.phase.until(net, hooks_see(model, trained.data), trained.values, trial.phase_epoch))


def _finite(state: Mapping[str, Tensor]) -> bool:
    checks = [t.isfinite().all() for t in state.values() if t.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())


def _snapshot(engine: Engine, model: Model, slot: int, where: Trial, data: Data) -> Snapshot:
    tensors = {name: t.clone() for name, t in engine.state(slot).items()}
    if where.phase_epoch:  # else it stands before a phase, which begins with fresh optimisers
        tensors |= engine.moments(slot)
    place = {k: v for k, v in vars(where).items() if k not in ("h", "on", "warm")}
    return Snapshot(model=model.name, config=where.h.flat(), tensors=tensors, intake=data.intake, **place)

"""The only training loop: one epoch of one engine, whose slots hold one trial (`Solo`) or many (`Pack`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tuner.data.datasets import Data
from tuner.data.labels import Labelled, labelled_of
from tuner.draws import BLOCK, Draws, seed_of
from tuner.errors import UserError
from tuner.metrics import errors, evaluate
from tuner.model import Batch, Hyper, Model, Phase, Values
from tuner.nn import by_rows, by_slices, slice_of

from .checkpoint import Snapshot
from .engine import Engine, Settings, terms_on
from .neighbours import NEIGHBOURHOODS, neighbourhoods
from .solo import Solo

COLLAPSED_AFTER = 3  # clustering epochs in a row that use one cluster only
# The word that seeds each hook's draws. These are the hooks' first names: another word is another seed, and moves every number.
SEEDED_BY = {"start": "enter", "before_epoch": "refresh", "after_epoch": "read"}


@dataclass(kw_only=True)
class Trial:
    """A trial's place in its training."""

    h: Hyper
    seed: int
    pretrain_seed: int
    on: frozenset[str]  # the terms that weigh anything in some epoch
    phase: int = 0
    epoch: int = 0  # finished epochs of this phase
    batches: int = 0  # finished batches of this phase
    index: int = 0  # finished epochs of all phases
    cluster_epoch: int = 0  # finished clustering epochs
    lonely: int = 0  # how many of the last clustering epochs used one cluster only

    def draws(self, phase: Phase, purpose: str, like: Tensor) -> Draws:
        """The generator for one purpose in the running epoch. A phase that trials may share draws from the shared seed."""
        seed = self.pretrain_seed if phase.depends else self.seed
        return Draws(seed, phase.name, self.epoch + 1, purpose, like=like)

    def advance(self, phases: Sequence[Phase]) -> bool:
        """Moves to the phase in which the next epoch lies. False: the trial is over."""
        while self.phase < len(phases) and self.epoch >= getattr(self.h, phases[self.phase].epochs):
            self.next_phase()
        return self.phase < len(phases)

    def next_phase(self) -> None:
        self.phase, self.epoch, self.batches = self.phase + 1, 0, 0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of one trial came to.

    `index` counts from 1 through all phases, `cluster_epoch` from 1 through the clustering ones (None in pre-training).
    `metrics` are finite: acc, acc_vote, nmi, ari, ami where there are labels, error and error_test of models that are given some
    labels, n_used, largest_share, confidence, `loss/<term>` as the epoch's unweighted mean, samples_per_s; in the last epoch
    silhouette, and knn_error_<k> where there are labels. `ended` is None while the trial goes on, else `complete`, `collapsed` or
    `diverged`, with the `reason` of the latter two. `ends_phase`: the next epoch, if there is one, is of another phase.
    """

    index: int
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


def start_trial(model: Model, h: Hyper, *, seed: int, pretrain_seed: int | None = None, start: Snapshot | None = None) -> Trial:
    """A trial at its beginning, or where a snapshot left it.

    Raises:
        UserError: the snapshot is of another model, configuration or seed.
    """
    trial = Trial(h=h, seed=seed, pretrain_seed=seed if pretrain_seed is None else pretrain_seed, on=terms_on(model, h))
    if start is None:
        return trial
    for what, theirs, ours in (("model", start.model, model.name), ("configuration", start.config, h.flat()), ("seed", start.seed, seed)):
        if theirs != ours:
            raise UserError(f"The checkpoint is of {what} {theirs}, not of {ours}.")
    trial.phase, trial.epoch, trial.batches, trial.index = start.phase, start.epoch, start.batches, start.index
    trial.cluster_epoch, trial.lonely, trial.pretrain_seed = start.cluster_epoch, start.lonely, start.pretrain_seed
    return trial


def initial_seed(model: Model, trial: Trial) -> int:
    """Seeds the initial state. Where trials may share a phase's outcome they share what it starts from."""
    shared = any(phase.depends for phase in model.phases(trial.h))
    return seed_of(trial.pretrain_seed if shared else trial.seed, "init")


def planned_epochs(model: Model, h: Hyper) -> tuple[int, int]:
    """How many epochs a trial has, and how many of them cluster: at most, where a phase may end by a condition."""
    lengths = [(getattr(h, phase.epochs), phase.clusters) for phase in model.phases(h)]
    return sum(n for n, _ in lengths), sum(n for n, clusters in lengths if clusters)


def can_take(epochs: int, phases: Sequence[Phase], h: Hyper) -> bool:
    """Whether these phases may be over after so many epochs: as long as they are, or shorter where a condition may end one."""
    lengths = [int(getattr(h, phase.epochs)) for phase in phases]
    least = sum(min(1, length) if phase.until else length for length, phase in zip(lengths, phases, strict=True))
    return least <= epochs <= sum(lengths)


def check_fits(model: Model, h: Hyper, data: Data) -> None:
    """Raises UserError where this configuration cannot be trained on this data set."""
    part = " before its test split" if model.labels == "partial" and data.test else ""
    for name in ("batch_size", "n_clusters"):
        size, n_samples = getattr(h, name, 1), data.n_train if model.labels == "partial" else data.spec.n_samples
        if size > n_samples:
            raise UserError(f"'{name}' is {size}, but {data.name} has {n_samples} samples{part}. Set {name}={n_samples} or less.")
    if model.labels == "partial":
        labelled_of(data, h)
    if model.rebuilds_pixels and not data.spec.unit_range:
        raise UserError(
            f"{model.name} rebuilds its input as pixels in [0, 1], but {data.name} has other values. Use the data set's 'scale: minmax'."
        )


def train(
    model: Model,
    h: Hyper,
    data: Data,
    *,
    seed: int,
    pretrain_seed: int | None = None,
    start: Snapshot | None = None,
    device: str = "cpu",
    metric: str | None = None,
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


def run_epoch(engine: Engine, model: Model, trials: Sequence[Trial | None], data: Data, metric: str | None = None) -> dict[int, Epoch]:
    """One epoch of every slot that holds a trial, all of the same phase. Batches go all at once, the rest slot by slot.

    `metric`: what a search goes by; measured in every clustering epoch, also where it otherwise is in the last one only.
    """
    began = time.perf_counter()
    busy = {slot: trial for slot, trial in enumerate(trials) if trial}
    some = next(iter(busy.values()))
    phase = model.phases(some.h)[some.phase]
    settings = [Settings(model, t.h, t.on, phase.schedule(t.h, t.epoch + 1) if phase.schedule else {}) if t else None for t in trials]
    values = {slot: s.values(data.x_ND) for slot, s in enumerate(settings) if s}
    labelled = {slot: labelled_of(data, trial.h) for slot, trial in busy.items()} if model.labels == "partial" else {}

    def whole(hook: Callable[..., dict[str, Any]], slot: int, purpose: str) -> None:
        """Runs a hook on the whole data set and overwrites what it returns."""
        draws = busy[slot].draws(phase, purpose, data.x_ND)
        with engine.view(slot) as net:
            replaced = hook(net, data, values[slot], draws)
        engine.put(slot, replaced)

    engine.begin(settings)
    for slot, trial in busy.items():
        if trial.epoch == 0 and phase.start:
            whole(phase.start, slot, SEEDED_BY["start"])
        if phase.before_epoch and not phase.every_batches:
            whole(phase.before_epoch, slot, SEEDED_BY["before_epoch"])
    if phase.updates:
        run_batches(engine, phase, trials, data, Hooks(settings, values, whole, labelled))
    epochs = {}
    for slot, trial in busy.items():
        if phase.after_epoch:
            whole(phase.after_epoch, slot, SEEDED_BY["after_epoch"])
        trial.epoch, trial.index = trial.epoch + 1, trial.index + 1
        trial.cluster_epoch += phase.clusters
        trained = Trained(phase, data, values[slot], time.perf_counter() - began, metric)
        epochs[slot] = _finish(engine, model, slot, trial, trained)
    return epochs


@dataclass(frozen=True)
class Trained:
    """An epoch of one trial that has been trained and is to be measured."""

    phase: Phase
    data: Data
    values: Values
    seconds: float
    metric: str | None


@dataclass(frozen=True)
class Hooks:
    """What the batch loop needs of the epoch around it."""

    settings: Sequence[Settings | None]
    values: Mapping[int, Values]
    whole: Callable[[Callable[..., dict[str, Any]], int, str], None]
    labelled: Mapping[int, Labelled] = field(default_factory=dict)  # empty for a model that sees no label


def run_batches(engine: Engine, phase: Phase, trials: Sequence[Trial | None], data: Data, hooks: Hooks) -> None:
    """Every trial's batches of one epoch, in its own order; an incomplete last batch is dropped. A model that sees labels sees no
    row of the test split: its error there is of samples that it never met."""
    busy = {slot: trial for slot, trial in enumerate(trials) if trial}
    some = next(iter(busy))
    size: int = busy[some].h.batch_size  # type: ignore[attr-defined]
    n_samples = data.n_train if hooks.labelled else data.n_samples
    steps = n_samples // size
    order = {slot: t.draws(phase, "order", data.x_ND).permutation(n_samples) for slot, t in busy.items()}
    noise = {slot: t.draws(phase, "noise", data.x_ND) for slot, t in busy.items()}
    labels = {slot: busy[slot].draws(phase, "labelled", data.x_ND) for slot in hooks.labelled}

    def lanes(per_slot: Mapping[int, Tensor], axis: int) -> Tensor:
        """Stacks the busy slots' tensors; idle slots repeat a busy one."""
        return torch.stack([per_slot.get(slot, per_slot[some]) for slot in range(engine.slots)], axis)

    order_LN = lanes(order, 0)
    block: dict[str, Tensor] = {}
    known: list[Tensor] = []
    for step in range(steps):
        if phase.every_batches and phase.before_epoch:
            for slot, trial in busy.items():
                s = hooks.settings[slot]
                assert s is not None
                if trial.batches % int(s.numbers[phase.every_batches]) == 0:
                    hooks.whole(phase.before_epoch, slot, f"{SEEDED_BY['before_epoch']} {step}")
        if phase.noise and step % BLOCK == 0:
            for draws in noise.values():
                draws.lead = (min(BLOCK, steps - step),)
            drawn = {slot: phase.noise(hooks.values[slot], data.spec, size, draws) for slot, draws in noise.items()}
            block = {name: lanes({slot: d[name] for slot, d in drawn.items()}, 1) for name in drawn[some]}
        if labels and step % BLOCK == 0:
            for draws in labels.values():
                draws.lead = (min(BLOCK, steps - step),)
            n_labelled: int = busy[some].h.labelled_batch  # type: ignore[attr-defined]
            picked = {slot: hooks.labelled[slot].draw(draws, n_labelled) for slot, draws in labels.items()}
            known = [lanes({slot: pair[i] for slot, pair in picked.items()}, 1) for i in range(2)]
        rows_LB = order_LN[:, step * size : (step + 1) * size]
        batch = Batch(data.batch(rows_LB), rows_LB, tuple(t[step % BLOCK] for t in known))
        engine.step(batch, {name: t[step % BLOCK] for name, t in block.items()})
        for trial in busy.values():
            trial.batches += 1


def _finish(engine: Engine, model: Model, slot: int, trial: Trial, trained: Trained) -> Epoch:
    """Measures a trial after its epoch and says whether, and how, it ended."""
    phase, data, values = trained.phase, trained.data, trained.values
    metrics = {f"loss/{term}": loss for term, loss in engine.measured(slot).items()}
    ended, reason = None, None
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if not bad and not _finite(engine.state(slot)):
        bad = ["a parameter"]
    over = not bad and _over(engine, slot, trial, trained)
    last = over and all(getattr(trial.h, later.epochs) == 0 for later in model.phases(trial.h)[trial.phase + 1 :])
    if bad:  # tested before the evaluation, which has no meaning then
        ended, reason = "diverged", f"{' and '.join(bad)} is not finite after epoch {trial.index} ({phase.name})"
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
    elif phase.clusters:
        with engine.view(slot) as net:
            size = model.eval_rows or slice_of(data.x_ND)
            rows_N = torch.arange(data.n_samples, device=data.x_ND.device)

            def assign(part: slice) -> Tensor:
                return model.assign_rows(net, data.batch(part), rows_N[part], values)

            p_NK = by_slices(assign, data.n_samples, size)
            metrics |= evaluate(p_NK, data.y_N)

            def embed(rows_R: Tensor) -> Tensor:
                return by_rows(lambda rows_B: model.embed(net, data.batch(rows_B), values), rows_R.to(data.x_ND.device), size)

            due = NEIGHBOURHOODS if last else (trained.metric,)
            metrics |= neighbourhoods(embed, data, p_NK.argmax(dim=1), due, trial.seed)
        if model.labels == "partial":
            assert data.y_N is not None
            metrics |= errors(p_NK, data.y_N, labelled_of(data, trial.h).rows_M, data.test)
        trial.lonely = trial.lonely + 1 if metrics["n_used"] <= 1 else 0
    if ended is None and (trial.lonely >= COLLAPSED_AFTER or (last and trial.lonely)):
        ended, reason = "collapsed", f"all samples lie in one cluster since clustering epoch {trial.cluster_epoch - trial.lonely + 1}"
    if ended is None and last:
        ended = "complete"
    metrics["samples_per_s"] = data.spec.n_samples / trained.seconds
    if over and trial.epoch < getattr(trial.h, phase.epochs):  # by its condition, which nobody asks again
        trial.next_phase()
    where = Trial(**vars(trial))

    def snapshot() -> Snapshot:
        tensors = {name: t.clone() for name, t in engine.state(slot).items()}
        if where.epoch:  # else it stands before a phase, which begins with fresh optimisers
            tensors |= engine.moments(slot)
        place = {k: v for k, v in vars(where).items() if k not in ("h", "on")}
        return Snapshot(model=model.name, config=where.h.flat(), tensors=tensors, **place)

    return Epoch(
        index=trial.index,
        phase=phase.name,
        cluster_epoch=trial.cluster_epoch if phase.clusters else None,
        metrics=metrics,
        ended=ended,
        reason=reason,
        ends_phase=over,
        _snapshot=snapshot,
    )


def _finite(state: Mapping[str, Tensor]) -> bool:
    checks = [t.isfinite().all() for t in state.values() if t.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())


def _over(engine: Engine, slot: int, trial: Trial, trained: Trained) -> bool:
    """Whether the epoch that just ended was its phase's last, by its length or its condition."""
    if trial.epoch >= getattr(trial.h, trained.phase.epochs):
        return True
    if trained.phase.until is None:
        return False
    with engine.view(slot) as net:
        return bool(trained.phase.until(net, trained.data, trained.values, trial.epoch))

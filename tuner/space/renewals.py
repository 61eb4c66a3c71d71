"""What is renewed of all samples every few batches: on many samples that may cost more than the training itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tuner.data.holdout import size_of
from tuner.model import DataSpec

from .checked import Checked

# A pass that renews is forwards only, about a third of a pass that trains. Below a million samples it takes seconds.
PASSES, SAMPLES = 20, 1_000_000
_MOST_WORLDS = 64


def notes_of_renewals(search: Checked, data: DataSpec | None) -> Iterator[str]:
    """A note for each hyper-parameter by which a phase goes through all samples `PASSES` times an epoch or more, and through `SAMPLES`."""
    if data is None:
        return
    n_samples = data.n_samples - size_of(search.spec.key("holdout"), data.n_samples, data.n_test)
    steps = n_samples // max(1, int(search.reach("batch_size").low))
    for name, phase in dict.fromkeys(_renewed(search)):
        every = max(1, int(search.reach(name).low))
        passes = steps // every
        if passes >= PASSES and passes * n_samples >= SAMPLES:
            yield (
                f"'{name}': the phase '{phase}' goes through all {n_samples:,} samples again every {every:,} batches, {passes:,} times an "
                f"epoch, which takes far longer than training on them once. With {name}={steps:,} it does so once an epoch."
            )


def _renewed(search: Checked) -> Iterator[tuple[str, str]]:
    """The hyper-parameters that count batches, each with its phase, over the choices that a trial can have."""
    spec = search.spec
    choices = [found.name for found in spec.searched() if found.kind == "values" and found.options is not None]
    for chosen in islice(spec.worlds(choices), _MOST_WORLDS):
        for phase in search.model.phases(spec.hyper(spec.config(spec.completed(chosen)))):
            if phase.every_batches is not None and phase.before_epoch is not None and phase.updates:
                yield phase.every_batches, phase.name

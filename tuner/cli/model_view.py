"""What `tuner describe` prints: a model's hyper-parameters, its loss terms, and what its steps train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.hyper import weight_name
from tuner.text import setting

from .tables import facts, list_table

if TYPE_CHECKING:
    from tuner.model import Descend, Hyper, Model, Phase, Replace


def model_view(model: Model, h: Hyper, owned: Mapping[str, Sequence[str]]) -> Iterator[RenderableType]:
    """Hyper-parameters with their legal ranges, terms with their formulas, and what each step of each phase trains.

    `owned`: the terms of each update, by its name.
    """
    table = list_table("Hyper-parameters", caption="s: static, a shape or a choice; equal for all trials that train in one pack")
    table.add_column("name", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("default", justify="right")
    table.add_column("legal", overflow="fold", max_width=24)
    table.add_column("meaning", overflow="fold")
    for p in model.parameters().values():
        if p.term is None:
            table.add_row(p.name, "s" if p.static else "", setting(p.default), p.range, p.doc)
    yield table
    if model.labels == "partial":
        yield Text("Learns from some labels: beside the clustering metrics it has error and, where there is a test split, error_test.")
    if model.terms:
        yield Text()
        yield _terms(model, owned)
    for i, phase in enumerate(model.phases(h)):
        yield Text()
        yield from _phase(i + 1, phase, h, owned)


def _terms(model: Model, owned: Mapping[str, Sequence[str]]) -> Table:
    table = list_table("Loss terms", caption="–: it stands alone in its step, where a weight could not change anything")
    table.add_column("weight", no_wrap=True)
    table.add_column("default", justify="right")
    table.add_column("formula", overflow="fold")
    table.add_column("step", style="dim", no_wrap=True)
    by_term = {term: update for update, terms in owned.items() for term in terms}
    for term, what in model.terms.items():
        name = weight_name(term) if what.weight is not None else Text(term, style="dim")
        table.add_row(name, setting(what.weight), what.doc, by_term.get(term, ""))
    return table


def _phase(place: int, phase: Phase, h: Hyper, owned: Mapping[str, Sequence[str]]) -> Iterator[RenderableType]:
    length = getattr(h, phase.epochs)
    scored = "" if phase.clusters else " (pre-training, not scored)"
    yield Text.assemble((f"Phase {place}: {phase.name}", "bold"), (f"  {phase.epochs} = {length}{scored}", "dim"))
    steps: list[tuple[str, RenderableType]] = []
    from tuner.model import function_of  # not above: tables of runs need no torch

    def hook(name: str, when: str) -> None:
        function = getattr(phase, name)
        if function is not None:
            steps.append((f"  {when}", Text(function_of(function).__name__)))

    hook("start", "at its start")
    hook("schedule", "sets rates")
    if phase.every_batches:
        hook("before_epoch", f"every {getattr(h, phase.every_batches)} batches")
    else:
        hook("before_epoch", "before an epoch")
    steps.extend(("  every batch", _step(update, owned.get(update.name, ()))) for update in phase.updates)
    hook("after_epoch", "after an epoch")
    yield facts(steps)


def _step(update: Descend | Replace, terms: Sequence[str]) -> Text:
    """The terms of a step, and what it trains at which rate."""
    from tuner.model import Descend

    if not isinstance(update, Descend):
        return Text.assemble(update.name, (" overwrites what it returns, without a gradient", "dim"))
    by_rate: dict[str, list[str]] = {}
    for name, rate in update.rates().items():
        by_rate.setdefault(rate, []).append(name)
    moves = "; ".join(f"{', '.join(names)} at {rate}" for rate, names in by_rate.items())
    return Text.assemble(f"{update.name}: {' + '.join(terms)}", (f"\ntrains {moves} ({type(update.optimizer).__name__})", "dim"))

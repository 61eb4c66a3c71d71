"""What a confirmation found, as tables beside the search's own figures, and in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.space.scores import SCORES
from tuner.text import counted, number

from .options import INTERRUPTED, OURS, as_typed, new_console, say
from .tables import list_table

if TYPE_CHECKING:
    from tuner.evidence.report import Confirmation, Confirmed
    from tuner.evidence.statistics import Summary
    from tuner.service.confirm import ConfirmOutcome


def confirm_view(found: Confirmation) -> Iterator[RenderableType]:
    """The tables, what they say, and what does not count."""
    from tuner.evidence.sentences import failures, in_sentences

    about = f"{found.metric.name} {SCORES[found.results.score].words}"
    yield Text(f"Confirmed on {counted(len(found.plan.seeds), 'fresh seed')}: {about}", style="bold")
    if found.left:
        trainings = f"{counted(found.left, 'training')} of {len(found.plan.requested())}"
        yield Text(f"{trainings} left: what follows is of those that are over.", style="yellow")
    few = sum(one.configuration.trial is not None for one in found.configurations)
    if few < found.plan.request.top:
        yield Text(
            f"The search has {counted(few, 'complete configuration')}, fewer than the {found.plan.request.top} asked for.", style="yellow"
        )
    yield figures_table(found)
    yield Text()
    yield seeds_table(found)
    yield Text()
    yield from (Text(line) for line in in_sentences(found))
    yield from (Text(f"Does not count: {line}", style="red") for line in failures(found.configurations))


def figures_table(found: Confirmation) -> Table:
    """A row for each configuration with the figure that the search ranked it by, and one for each k-means beside the winner."""
    from tuner.evidence.statistics import summary

    beside = found.beside
    reported = beside is not None and beside != found.metric.name
    table = list_table()
    for column in ("", "search", "mean ± sd", "95 % interval", "median", "min", "n", *([f"{beside} ± sd, reported"] if reported else [])):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)

    def add(name: str, search: float | None, values: Mapping[int, float], other: Mapping[int, float], style: str) -> None:
        figures = [summary(list(those.values())) if those else None for those in (values, other)]
        more = [_figures(figures[1])[0]] if reported else []
        table.add_row(name, "–" if search is None else _short(search), *_figures(figures[0]), *more, style=style)

    for one in found.configurations:
        style = "bold green" if one is found.winner else ""
        add(_name(one), one.configuration.figure, one.values, one.reported(beside or ""), style)
    for name in found.baselines.metrics if found.baselines is not None and beside is not None else ():
        assert found.baselines is not None and beside is not None
        theirs = found.baselines.values(name, beside)
        if theirs:
            add(name, None, {} if reported else theirs, theirs, "dim")
    return table


def seeds_table(found: Confirmation) -> Table:
    """Every training's score."""
    table = list_table()
    table.add_column("seed", justify="right")
    for one in found.configurations:
        table.add_column(_name(one), justify="right")
    for seed in found.plan.seeds:
        table.add_row(str(seed), *(_score(one, seed, found.metric.name) for one in found.configurations))
    return table


def _score(one: Confirmed, seed: int, metric: str) -> str:
    """The training's score, or how it ended without one of its own."""
    return one.worst().get(seed) or number(one.values.get(seed), metric)


def _name(one: Confirmed) -> str:
    return f"{one.name}, default" if one.configuration.is_default and one.configuration.trial is not None else one.name


def _figures(one: Summary | None) -> list[str]:
    if one is None:
        return ["–"] * 5
    mean = _short(one.mean) if one.sd is None else f"{_short(one.mean)} ± {_short(one.sd)}"
    interval = "–" if one.interval is None else f"{_short(one.interval.low)} – {_short(one.interval.high)}"
    return [mean, interval, _short(one.median), _short(one.min), str(one.n)]


def _short(value: float) -> str:
    """Three decimals: a fourth says nothing of ten seeds."""
    return f"{value:.3f}" if abs(value) < 100 else number(value)


def print_confirmed(outcome: ConfirmOutcome, console: Console) -> None:
    """The table of the confirmation, and what it says."""
    console.print()
    for part in confirm_view(outcome.found):
        console.print(part)


def end_of_confirmation(outcome: ConfirmOutcome) -> None:
    """Raises the exit code of a confirmation that is not complete."""
    err, run = new_console(stderr=True), as_typed(outcome.results.folder)
    if outcome.status == "stopped":
        left = counted(outcome.found.left, "training")
        what = f"{left} of {len(outcome.found.plan.requested())} left" if outcome.found.left else "k-means beside the winner is left"
        say(err, f"Interrupted: {what}. To go on: tuner confirm {run}")
        raise typer.Exit(INTERRUPTED)
    if outcome.status == "failed":
        say(err, f"Given up: {outcome.reason or 'the confirmation failed before all its trainings were run'}. What is above was kept.")
        raise typer.Exit(OURS)
    if outcome.found.winner is None:
        say(err, "Nothing was confirmed: no training has a figure that counts. Why not stands above.")
        raise typer.Exit(OURS)

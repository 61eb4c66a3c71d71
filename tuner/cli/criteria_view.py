"""`tuner show RUN --by ace`: the configurations by criteria that look at no labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from tuner.metrics import METRICS, uses_labels
from tuner.text import counted, number

from .tables import list_table

if TYPE_CHECKING:
    from tuner.evidence.selection import Judged
    from tuner.runs.results import Results

SHOWN = 10  # configurations


def criteria_view(results: Results, found: Sequence[Judged]) -> Iterator[RenderableType]:
    """A line for each, best first; what compares clusters with labels is reported beside it."""
    names = list(found[0].values)
    single = results.seeds.single
    kind = "complete trial" if single else "configuration"
    how = names[0] if len(names) == 1 else f"the mean of their ranks by {', '.join(names[:-1])} and {names[-1]}"
    yield Text(f"{counted(len(found), kind)} of {results.name} by {how}, without labels", style="bold")
    metrics = found[0].configuration.end.metrics
    reported = [
        name for name, measure in METRICS.items() if measure.shown and uses_labels(name) and name in metrics and not measure.of_codes
    ]
    table = list_table()
    for column in ("trial" if single else "configuration", *(["rank"] if len(names) > 1 else []), *names):
        table.add_column(column, justify="right")
    for name in reported:
        table.add_column(Text(name, style="dim"), justify="right", style="dim")
    for one in found[:SHOWN]:
        cells = [f"{one.rank:g}"] if len(names) > 1 else []
        cells += [number(value, name) for name, value in one.values.items()]
        cells += [number(one.configuration.end.metrics.get(name), name) for name in reported]
        table.add_row(str(one.configuration.number), *cells)
    yield table
    if reported:
        yield Text(f"{', '.join(reported)}: reported beside it, and no part of the choice.", style="dim")
    trial = found[0].configuration.end.trial
    yield Text(f"best.yaml stays as the search chose it. Trial {trial}'s configuration is in results.jsonl, under its number.", style="dim")

"""The sections of a run's page, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import words
from .curves import learning_curves, timeline
from .explained import explained_of
from .figure import Figure, Section, Table
from .importance import FEWEST, importances_of
from .material import Material
from .scores import against, best_of_n, confirmed_spread, dependent
from .space import importances, interaction, parallel, slices
from .winner import winner_sections


@dataclass(frozen=True, kw_only=True)
class Part:
    """A run's part of the page: computed once, for the page and the text. `sections`: those that have content, without the verdict."""

    run: Material
    sections: Sequence[Section]

    @staticmethod
    def of(run: Material, *, pictures: bool = True, data_root: Path | None = None) -> Part:
        """`pictures`: with those of the winner, which load its weights and the data; `data_root`: the folder of data files."""
        winner = winner_sections(run.results.folder, data_root) if pictures else ()
        return Part(run=run, sections=[section for section in _sections(run, winner) if section])


def _sections(run: Material, winner: Sequence[Section]) -> Iterator[Section]:
    yield Section(title="Top configurations", tables=_there(words.top(run), words.from_default(run), words.warm(run)))
    yield Section(
        title="On fresh seeds",
        text=words.not_counted(run),
        tables=_there(words.confirmed_table(run)),
        figures=_drawn(confirmed_spread(run)),
    )
    yield from winner
    if len(run.results.metrics) > 1:
        first, second = (metric.name for metric in run.results.metrics[:2])
        yield Section(title="The front", figures=_drawn(against(run, first, second, front=True)))
    yield Section(title="Learning curves", figures=_drawn(learning_curves(run)))
    yield from _parameters(run)
    if {first.name for first in run.results.metrics} != {"acc", "nmi"} or len(run.results.metrics) < 2:
        yield Section(title="Accuracy against mutual information", figures=_drawn(against(run, "acc", "nmi")))
    said, looked = words.ledger(run)
    yield Section(title="Labels looked at", text=said, tables=_there(looked))
    why = dependent(run)
    line = [f"How the best of n trials grows with n is not drawn: the trials are not independent, since {why}."] if why else []
    yield Section(title="The best of n trials", text=line, figures=_drawn(best_of_n(run)))
    yield Section(title="Time and cost", text=[*words.ends(run), *words.cost(run)], figures=_drawn(timeline(run)))


def _parameters(run: Material) -> Iterator[Section]:
    found = importances_of(run)
    order = [one.name for one in found] or run.searched
    few = [] if found or not run.searched else [f"Importances need {FEWEST} trials with a score, and a parameter that varies among them."]
    yield Section(title="Parallel coordinates", figures=_drawn(parallel(run)))
    explained = explained_of(run)
    said = [] if explained is None else list(explained.in_sentences(run.results.metric))
    yield Section(title="Importance", text=[*few, *said], figures=_drawn(importances(run, found)))
    yield Section(title="Slices", figures=slices(run, order))
    yield Section(title="Interaction", figures=_drawn(interaction(run, order, weighed=bool(found))))


def _drawn(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _there(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]

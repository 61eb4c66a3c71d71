"""The numbers of a recipe's tables: means over seeds, and the published values that stand beside them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.text import number

from .recipe import Published, Recipe
from .trained import Result

COUNTS = ("n_used",)  # metrics that are no shares


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training on one data set, all seeds."""

    name: str
    data: str
    results: Sequence[Result]

    def values(self, metric: str, epoch: int | None = None) -> list[float]:
        found = [one.value(metric, epoch) for one in self.results]
        return [value for value in found if value is not None]

    @property
    def seeds(self) -> str:
        """`3`, `3 (1 collapsed)`"""
        ends = [one.ended for one in self.results if one.ended != "complete"]
        said = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
        return f"{len(self.results)}{f' ({said})' if said else ''}"


def rows_of(results: Sequence[Result]) -> list[Row]:
    """In the recipe's order, a data set after the other."""
    found: dict[tuple[str, str], list[Result]] = {}
    for one in results:
        found.setdefault((one.job.data.name, one.job.training), []).append(one)
    data = list(dict.fromkeys(name for name, _ in found))
    return [Row(name=name, data=on, results=found[on, name]) for where in data for on, name in found if on == where]


def spread(values: Sequence[float], metric: str) -> str:
    """`80.7 ± 9.8`, in percent; `–` where nothing was measured."""
    if not values:
        return "–"
    if metric in COUNTS:
        return number(statistics.mean(values), metric)
    sd = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{sd}"


def label(metric: str) -> str:
    """`ACC`, `3-NN error`"""
    short, _, k = metric.partition("knn_error_")
    return f"{k}-NN error" if k else short.upper() if len(short) <= 3 else short.replace("_", " ")


def published_of(recipe: Recipe, row: Row, metric: str, epoch: int | None = None) -> list[Published]:
    """Those that stand beside ours: of the same data, or where none was published of these, of the data that are not ours."""
    said = [one for one in recipe.published if one.metric == metric and one.training == row.name and one.epoch == epoch]
    if any(one.data == row.data for one in recipe.published):
        return [one for one in said if one.data == row.data]
    ours = {job.data.name for job in recipe.jobs["paper"]} if row.data in {job.data.name for job in recipe.jobs["paper"]} else set()
    return [one for one in said if one.data not in ours]

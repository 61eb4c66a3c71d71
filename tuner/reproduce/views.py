"""What is made of a recipe's trainings: a section of the page for each view, a function for each kind."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tuner.report.course import by_epoch
from tuner.report.figure import ORDER, Figure, Section, Table, Trace, axis, interval_bar
from tuner.report.generated import Drawing, interpolations, reconstructions, styles
from tuner.report.maps import maps
from tuner.report.tiles import image_shape
from tuner.report.winner import largest, nearest_samples, scale_of

from .numbers import Row, label, published_of, rows_of, spread
from .recipe import Published, Recipe, View, slug
from .trained import Kept, Result

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

TICKS = 10  # on a phone, too
Draw = Callable[["Clustered"], Sequence[Figure | None]]


def _images(draw: Callable[[Drawing], Iterator[Figure]]) -> Draw:
    def of(found: Clustered) -> Sequence[Figure]:
        drawing = Drawing(found=found, clusters=largest(found), scale=scale_of(found))
        return [] if image_shape(found.data.shape) is None else list(draw(drawing))

    return of


@lru_cache(maxsize=1)
def _maps(found: Clustered) -> list[Figure]:
    """By cluster and by class, of one map."""
    return maps(found)


# The pictures of one training, by the names of a report's figures. A model that cannot show one leaves it out, which is said.
FIGURES: Mapping[str, Draw] = {
    "map-by-epoch": lambda found: [by_epoch(found)],
    "map-by-cluster": lambda found: _maps(found)[:1],
    "map-by-class": lambda found: _maps(found)[1:],
    "nearest-samples": _images(lambda drawing: iter([nearest_samples(drawing)])),
    "reconstructions": _images(reconstructions),
    "interpolations": _images(interpolations),
    "styles": _images(lambda drawing: (one for one in styles(drawing) if one.name == "styles")),
    "generated": _images(lambda drawing: (one for one in styles(drawing) if one.name == "generated")),
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a view is made of. `results`: of the trainings that it shows; `kept`: those with pictures."""

    recipe: Recipe
    view: View
    results: Sequence[Result]
    kept: Sequence[Kept]

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.results)

    @property
    def many(self) -> bool:
        """Whether there are several data sets."""
        return len({row.data for row in self.rows}) > 1

    def named(self, row: Row) -> list[str]:
        return [row.name, *([row.data] if self.many else [])]

    @property
    def head(self) -> list[str]:
        return ["training", *(["data"] if self.many else [])]


# --- tables ------------------------------------------------------------------------------------------------------------


def table(shown: Shown) -> Section:
    """A row for each training: its metrics at the end, each beside what was published."""
    head, rows, metrics = [*shown.head, "seeds"], [], shown.view.metrics
    beside = [any(one.metric == metric and one.epoch is None for one in shown.recipe.published) for metric in metrics]
    for metric, has in zip(metrics, beside, strict=True):
        head += [label(metric), *(["published"] if has else [])]
    for row in shown.rows:
        cells = [*shown.named(row), row.seeds]
        for metric, has in zip(metrics, beside, strict=True):
            cells += [spread(row.values(metric), metric), *([_published(shown.recipe, row, metric)] if has else [])]
        rows.append(cells)
    systems = dict.fromkeys(one.system for one in shown.recipe.published if one.system)
    for system in systems:  # which no model here is
        cells = [str(system), *(["–"] if shown.many else []), "–"]
        for metric, has in zip(metrics, beside, strict=True):
            said = _listed(one for one in shown.recipe.published if one.system == system and one.metric == metric)
            cells += ["–", *([said] if has else [])]
        rows.append(cells)
    caption = "Percent, mean ± standard deviation over the seeds, at the end of the training."
    words = [i for i, name in enumerate(head) if name == "published"]
    return Section(title=shown.view.title, tables=[Table(head=head, rows=rows, caption=caption, words=words)])


def _published(recipe: Recipe, row: Row, metric: str, epoch: int | None = None) -> str:
    return _listed(published_of(recipe, row, metric, epoch))


def _listed(published: Iterable[Published]) -> str:
    """A line for each."""
    return ";\n".join(one.shown for one in published)


def epochs(shown: Shown) -> Section:
    """The metrics after some epochs, and as curves."""
    at, metrics = shown.view.epochs, shown.view.metrics
    rows: list[list[str]] = []
    for row in shown.rows:
        for metric in metrics:
            ours = [spread(row.values(metric, epoch), metric) for epoch in at]
            rows.append([*shown.named(row), label(metric), *ours, spread(row.values(metric), metric)])
            said = [_published(shown.recipe, row, metric, epoch) for epoch in [*at, None]]
            if any(said):
                rows.append([*shown.named(row), f"{label(metric)}, published", *said])
    head = [*shown.head, "metric", *(f"epoch {epoch}" for epoch in at), "end"]
    table_ = Table(head=head, rows=rows, caption="Percent, mean ± standard deviation over the seeds.")
    return Section(title=shown.view.title, tables=[table_], figures=[_curves(shown, metric) for metric in metrics])


def sweep(shown: Shown) -> Section:
    """The metrics by the value of the parameter that a training varies."""
    values = _ordered(one.job.at for one in shown.results)
    groups = list(dict.fromkeys(one.job.group for one in shown.results))
    tables = []
    for metric in shown.view.metrics:
        rows = [[group, *(spread(_at(shown, group, value, metric), metric) for value in values)] for group in groups]
        caption = f"{label(metric)}, percent, mean ± standard deviation over the seeds, by the value that is varied."
        tables.append(Table(head=["varied", *map(str, values)], rows=rows, caption=caption))
    return Section(title=shown.view.title, tables=tables, figures=[_by_value(shown, metric) for metric in shown.view.metrics])


def _ordered(values: Iterable[Any]) -> list[Any]:
    """Each once: numbers by size, words after them."""
    return sorted(set(values), key=lambda value: (isinstance(value, str), value))


def _at(shown: Shown, group: str, value: Any, metric: str) -> list[float]:
    found = [one.value(metric) for one in shown.results if one.job.group == group and one.job.at == value]
    return [one for one in found if one is not None]


def seeds(shown: Shown) -> Section:
    """The metrics at the end as figures: a row for each training."""
    return Section(title=shown.view.title, figures=[_by_seed(shown, metric) for metric in shown.view.metrics])


# --- curves ------------------------------------------------------------------------------------------------------------


def _curves(shown: Shown, metric: str) -> Figure:
    """A line for each training: the mean of its seeds; a diamond where a value was published."""
    traces: list[Trace] = []
    rows: list[tuple[Any, ...]] = []
    for i, row in enumerate(shown.rows):
        courses = [one.course(metric) for one in row.results]
        found = {epoch: [course[epoch] for course in courses if epoch in course] for epoch in sorted({e for c in courses for e in c})}
        colour, name = f"@{ORDER[i % len(ORDER)]}", " on ".join(shown.named(row))
        means = {epoch: statistics.mean(values) for epoch, values in found.items()}
        traces.append(_line(name, list(means), list(means.values()), colour))
        rows += [(name, epoch, mean, len(found[epoch])) for epoch, mean in means.items()]
        said = [(at, one.number) for at in shown.view.epochs for one in published_of(shown.recipe, row, metric, at) if one.number]
        if said:
            points = _line(f"{name}, published", [at for at, _ in said], [value for _, value in said if value], colour)
            traces.append({**points, "mode": "markers", "marker": {"color": colour, "symbol": "diamond-open", "size": 10}})
    return Figure(
        name=f"{slug(shown.view.title)}-{metric}",
        title=f"{label(metric)} by epoch",
        note="The mean over the seeds." + (" A diamond is a published value." if len(traces) > len(shown.rows) else ""),
        traces=traces,
        layout={"xaxis": axis("epoch"), "yaxis": axis(label(metric)), "showlegend": True},
        drawn=len(shown.results),
        of=len(shown.results),
        noun="trainings",
        columns=("training", "epoch", metric, "seeds"),
        rows=rows,
    )


def _by_value(shown: Shown, metric: str) -> Figure:
    """A line for each training that varies something, with a bar of one standard deviation."""
    traces: list[Trace] = []
    rows: list[tuple[Any, ...]] = []
    for i, group in enumerate(dict.fromkeys(one.job.group for one in shown.results)):
        at = _ordered(one.job.at for one in shown.results if one.job.group == group)
        found = {value: values for value in at if (values := _at(shown, group, value, metric))}
        means = [statistics.mean(values) for values in found.values()]
        sds = _deviations(found.values())
        colour = f"@{ORDER[i % len(ORDER)]}"
        bar = _deviation_bar(sds) | {"color": colour}
        traces.append({**_line(group, list(found), means, colour), "mode": "lines+markers", "error_y": bar})
        rows += [(group, value, mean, sd, len(found[value])) for value, mean, sd in zip(found, means, sds, strict=True)]
    return Figure(
        name=f"{slug(shown.view.title)}-{metric}",
        title=f"{label(metric)} by the value that is varied",
        note="The mean over the seeds, and one standard deviation.",
        traces=traces,
        layout={"xaxis": _values_axis(rows), "yaxis": axis(label(metric)), "showlegend": True},
        drawn=len(shown.results),
        of=len(shown.results),
        noun="trainings",
        columns=("varied", "value", metric, "sd", "seeds"),
        rows=rows,
    )


def _by_seed(shown: Shown, metric: str) -> Figure:
    """Every seed is a point, so that a mean of few is not taken for more than it is."""
    ends = [(" on ".join(shown.named(row)), one.job.seed, one.value(metric)) for row in shown.rows for one in row.results]
    found = [(name, seed, value) for name, seed, value in ends if value is not None]
    names = list(dict.fromkeys(name for name, _, _ in found))
    of = [[value for name, _, value in found if name == this] for this in names]
    points = {**_line("a seed", [value for _, _, value in found], [], "@sky"), "y": [name for name, _, _ in found], "mode": "markers"}
    means = {**_line("the mean, and one standard deviation", [statistics.mean(values) for values in of], [], "@ink"), "y": names}
    look = {"color": "@ink", "symbol": "diamond", "size": 9}
    return Figure(
        name=f"{slug(shown.view.title)}-{metric}",
        title=f"{label(metric)} of every seed",
        traces=[points, {**means, "mode": "markers", "marker": look, "error_x": _deviation_bar(_deviations(of))}],
        layout={
            "xaxis": axis(label(metric)),
            "yaxis": {"automargin": True, "autorange": "reversed", "type": "category"},
            "showlegend": True,
        },
        drawn=len(found),
        of=len(shown.results),
        noun="trainings",
        columns=("training", "seed", metric),
        rows=found,
        height=150 + 36 * len(names),
    )


def _deviations(of: Iterable[Sequence[float]]) -> list[float]:
    """One standard deviation of each group of values; 0 of a single one."""
    return [statistics.stdev(values) if len(values) > 1 else 0.0 for values in of]


def _deviation_bar(sds: Sequence[float]) -> dict[str, Any]:
    """A report's bar, as far to both sides."""
    return {key: value for key, value in interval_bar(0, 0, 0).items() if key != "arrayminus"} | {"symmetric": True, "array": list(sds)}


def _values_axis(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """A tick at each value where they are few."""
    values = _ordered(row[1] for row in rows)
    return axis("value that is varied", **({"tickmode": "array", "tickvals": values} if len(values) <= TICKS else {}))


def _line(name: str, x: Sequence[Any], y: Sequence[float], colour: str) -> Trace:
    dots = "lines" if len(x) > 1 else "markers"
    look = {"line": {"color": colour}, "marker": {"color": colour}}
    return {"type": "scatter", "mode": dots, "x": list(x), "y": [round(v, 4) for v in y], "name": name, **look}


# --- pictures ----------------------------------------------------------------------------------------------------------


def pictures(shown: Shown) -> Section:
    """The named figures of each training, of its first seed."""
    text, drawn = [], []
    for kept in shown.kept:
        name, found = kept.job.training, kept.clustered()
        if found is None:
            text.append(f"{name} diverged, so there are no pictures of it.")
            continue
        for figure in shown.view.figures:
            made = [one for one in FIGURES[figure](found) if one is not None]
            if not made:
                text.append(f"{name} has no '{figure}': {kept.job.model.name} cannot show it, or its training was too short.")
            drawn += [replace(one, name=f"{kept.job.stem}-{one.name}", title=f"{name}: {_small(one.title)}") for one in made]
    return Section(title=shown.view.title, text=text, figures=drawn)


def _small(title: str) -> str:
    return title[:1].lower() + title[1:]


VIEWS: Mapping[str, Callable[[Shown], Section]] = {"table": table, "epochs": epochs, "sweep": sweep, "seeds": seeds, "pictures": pictures}
NEEDS: Mapping[str, Sequence[str]] = {  # of each kind of view: the keys that it needs; it has no use for the others
    "table": ("metrics",),
    "epochs": ("metrics", "epochs"),
    "sweep": ("metrics",),
    "seeds": ("metrics",),
    "pictures": ("figures",),
}

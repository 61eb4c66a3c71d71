"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.data.fingerprint import Fingerprint
from tuner.evidence.statistics import summary
from tuner.text import duration, number

from .figure import ORDER, Figure, Section, Table, Trace, axis, interval_bar
from .material import Material


def comparison(runs: Sequence[Material]) -> Section:
    """A row and a mark for each run, of the metric of the first."""
    return Section(title="Side by side", text=_remarks(runs), tables=[_table(runs)], figures=[one for one in (_figure(runs),) if one])


def worth(run: Material, metric: str) -> dict[int, float]:
    """A metric of a run's confirmed winner by seed; of its best trial where nothing was confirmed."""
    winner = run.confirmed.winner if run.confirmed is not None else None
    if winner is not None:
        return dict(winner.values) if run.results.metric == metric else winner.reported(metric)
    best = run.best
    value = None if best is None else best.score if run.results.metric == metric else best.metrics.get(metric)
    return {} if best is None or value is None else {int(best.config.get("seed", 0)): value}


def _data(run: Material) -> str:
    """The name of its data, and which of their samples its figures are of."""
    dataset, held_out = run.about.get("dataset", {}), run.about.get("holdout")
    part = f", {int(dataset['limit']):,} samples" if dataset.get("limit") else ""
    kept = "" if held_out is None else ", the test split held out" if held_out == "test" else f", {held_out:.0%} held out"
    return f"{dataset.get('name', '–')}{part}{kept}"


def _rows(run: Material) -> str | None:
    """By which the samples are known: their labels, or without labels their values. None where an older tuner made the run."""
    found = Fingerprint.read(run.about.get("data"))
    return None if found is None else found.labels or found.values


def _confirmed(run: Material) -> bool:
    return run.confirmed is not None and run.confirmed.winner is not None


def _table(runs: Sequence[Material]) -> Table:
    metric = runs[0].results.metric
    others = [name for name in ("acc", "nmi", "ari", "silhouette") if name != metric]
    rows = []
    for run in runs:
        values = list(worth(run, metric).values())
        found = summary(values) if values else None
        interval = f"{found.interval.low:.3f} to {found.interval.high:.3f}" if found is not None and found.interval else "–"
        best = run.best
        rows.append(
            [
                run.results.name,
                str(run.about.get("model", "–")),
                _data(run),
                number(found.mean, metric) if found is not None else "–",
                interval,
                f"{found.n} fresh" if found and _confirmed(run) else "1, the search's",
                *("–" if best is None else number(best.metrics.get(name), name) for name in others),
                str(len(run.results.trials)),
                duration(run.results.seconds),
            ]
        )
    head = ["run", "model", "data", metric, "95 % interval", "seeds", *(f"{name}, best trial" for name in others), "trials", "time"]
    return Table(head=head, rows=rows, words=(1, 2))


def _figure(runs: Sequence[Material]) -> Figure | None:
    metric = runs[0].results.metric
    traces: list[Trace] = []
    rows = []
    names: list[str] = []
    for i, run in enumerate(runs):
        values = worth(run, metric)
        if not values:
            continue
        place, colour = len(names), f"@{ORDER[i % len(ORDER)]}"
        names.append(run.results.name)
        rows += [(run.results.name, seed, value) for seed, value in values.items()]
        traces += _of_run(run, list(values.values()), place, colour)
    if not names:
        return None
    return Figure(
        name="runs",
        title=f"{metric} of each run's winner",
        note=" ".join(_legend(runs)),
        traces=traces,
        layout={
            "xaxis": axis(metric),
            "yaxis": axis(
                "",
                tickmode="array",
                tickvals=list(range(len(names))),
                ticktext=[f"{name}  " for name in names],
                range=[len(names) - 0.4, -0.6],
            ),
            "showlegend": False,
        },
        drawn=len(names),
        of=len(runs),
        noun="runs",
        columns=("run", "seed", metric),
        rows=rows,
        height=max(220, 130 + 56 * len(names)),
    )


def _of_run(run: Material, values: list[float], place: int, colour: str) -> Iterator[Trace]:
    """Its dots, and their mean with its interval where there are several."""
    yield {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": [place] * len(values),
        "name": run.results.name,
        "hovertemplate": f"{run.results.name}: %{{x:.4f}}<extra></extra>",
        "marker": {"color": colour, "size": 9, "opacity": 0.6, "symbol": "circle" if _confirmed(run) else "circle-open"},
    }
    found = summary(values)
    if found.interval is not None:
        yield {
            "type": "scatter",
            "mode": "markers",
            "x": [found.mean],
            "y": [place],
            "name": f"{run.results.name}, mean",
            "marker": {"color": "@ink", "symbol": "diamond", "size": 10},
            "error_x": interval_bar(found.interval.low, found.mean, found.interval.high),
        }


def _legend(runs: Sequence[Material]) -> Iterator[str]:
    """What the dots are that there are."""
    confirmed = {_confirmed(run) for run in runs if worth(run, runs[0].results.metric)}
    if True in confirmed:
        yield "Filled dots: fresh seeds, with mean and 95 % interval."
    if False in confirmed:
        yield "An open dot: the search's own figure, which is too good."


def _remarks(runs: Sequence[Material]) -> list[str]:
    said = []
    data = {_data(run) for run in runs}
    if len(data) > 1:
        said.append(f"The runs are on different data ({'; '.join(sorted(data))}): their figures do not compare models.")
    elif len({_rows(run) for run in runs} - {None}) > 1:
        said.append(f"The runs are on different data: {data.pop()} has changed between them. Their figures do not compare models.")
    metrics = {run.results.metric for run in runs}
    if len(metrics) > 1:
        said.append(f"They were searched by different metrics ({', '.join(sorted(metrics))}); shown is {runs[0].results.metric}.")
    without = [run.results.name for run in runs if not _confirmed(run)]
    if without:
        said.append(f"Not confirmed on fresh seeds: {', '.join(without)}. Their figures are the best of a search, so too good.")
    if len(runs) - len(without) > 1:
        said.append(
            "Every run has fresh seeds of its own, so the intervals are compared, not pairs. A critical-difference diagram ranks models "
            "over several data sets; over one it would say no more than the intervals do."
        )
    return said

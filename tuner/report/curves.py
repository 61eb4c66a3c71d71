"""How the trials went, and when: learning curves with ASHA's rungs, and what ran at which time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tuner.runs.events import TrialEnd

from .figure import ENDS, Figure, Trace, axis
from .material import Course, Material

TICKS = 12  # epochs of which each has its tick
SHADE = 0.55  # how opaque a curve is among many


def by_state(trials: Iterable[TrialEnd]) -> Iterator[tuple[str, list[TrialEnd]]]:
    """The trials by how they ended, in the order in which figures name them."""
    groups: dict[str, list[TrialEnd]] = {}
    for end in trials:
        groups.setdefault(end.state, []).append(end)
    for state in (*ENDS, *groups):
        if state in groups:
            yield state, groups.pop(state)


def learning_curves(material: Material) -> Figure | None:
    """A line for each trial that has a clustering epoch with the metric; those that ASHA stopped end in a cross."""
    metric = material.results.metric
    with_curve = [end for end in material.trials if material.courses.get(end.trial) and material.courses[end.trial].epochs]
    if not with_curve:
        return None
    best = material.best
    traces = [trace for state, ends in by_state(with_curve) for trace in _curves(material, state, ends)]
    if best is not None and best.trial in {end.trial for end in with_curve}:
        course, line = material.courses[best.trial], {"color": "@ink", "width": 2.5}
        values = {"x": course.epochs, "y": _short(course.values)}
        traces.append({"type": "scatter", "mode": "lines", **values, "name": f"best: trial {best.trial}", "line": line})
    rungs = material.rungs
    layout: dict[str, Any] = {
        **_axes(metric, [material.courses[end.trial] for end in with_curve]),
        "hovermode": "closest",
        **_lines_at(rungs),
    }
    stopped = "; a cross is where it stopped a trial" if any(end.state == "pruned" for end in with_curve) else ""
    note = f"The dotted lines are ASHA's rungs{stopped}." if rungs else ""
    rows = [
        (end.trial, end.state, epoch, value)
        for end in with_curve
        for epoch, value in zip(material.courses[end.trial].epochs, _short(material.courses[end.trial].values), strict=True)
    ]
    few = len(rows) <= 20_000  # else the table is made of the curves themselves, in the browser
    return Figure(
        name="learning-curves",
        title=f"{metric} by epoch",
        note=note,
        traces=traces,
        layout=layout,
        drawn=len(with_curve),
        of=len(material.trials),
        columns=("trial", "state", "cluster_epoch", metric) if few else ("trace", "x", "y"),
        rows=rows if few else None,
        height=460,
    )


def _lines_at(rungs: Sequence[int]) -> dict[str, Any]:
    dotted = {"color": "@grey", "dash": "dot", "width": 1}
    named = {"yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False, "font": {"size": 11}}
    return {
        "shapes": [{"type": "line", "x0": rung, "x1": rung, "yref": "paper", "y0": 0, "y1": 1, "line": dotted} for rung in rungs],
        "annotations": [{"x": rung, "text": f"rung {rung}", **named} for rung in rungs],
    }


def _axes(metric: str, courses: list[Course]) -> dict[str, Any]:
    """Of epochs, of which there are no halves, and of the metric. Where all values are one, plotly's own is from 1 below to 1 above."""
    last = max(course.epochs[-1] for course in courses)
    low, high = (pick(value for course in courses for value in course.values) for pick in (min, max))
    around = 0.1 * abs(low) or 0.1
    flat = {"range": [low - around, low + around]} if low == high and math.isfinite(low) else {}
    return {"xaxis": axis("clustering epoch", **({"dtick": 1} if last <= TICKS else {})), "yaxis": axis(metric, **flat)}


def _curves(material: Material, state: str, ends: list[TrialEnd]) -> Iterator[Trace]:
    """One trace of all curves that ended alike, with gaps between them, and one of their last points: thousands would be slow."""
    colour, symbol = ENDS.get(state, ("@grey", "circle-open"))
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for end in ends:
        course = material.courses[end.trial]
        x += [*course.epochs, None]
        y += [*_short(course.values), None]
        text += [str(end.trial)] * (len(course.epochs) + 1)
    opacity = SHADE if len(ends) <= 100 else 0.3
    hover = {"text": text, "hovertemplate": "trial %{text}, epoch %{x}: %{y}<extra></extra>"}
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": f"{state} ({len(ends)})",
        "legendgroup": state,
        **hover,
        "line": {"color": colour, "width": 1},
        "opacity": opacity,
        "connectgaps": False,
    }
    last = [material.courses[end.trial] for end in ends]
    yield {
        "type": "scatter",
        "mode": "markers",
        "x": [one.epochs[-1] for one in last],
        "y": _short([one.values[-1] for one in last]),
        "text": [str(end.trial) for end in ends],
        "hovertemplate": f"trial %{{text}}, {state} after epoch %{{x}}: %{{y}}<extra></extra>",
        "marker": {"color": colour, "symbol": symbol, "size": 7, "line": {"color": colour, "width": 1.5}},
        "legendgroup": state,
        "showlegend": False,
        "name": f"{state}, last epoch",
    }


def _short(values: Iterable[float]) -> list[float]:
    """Five digits are more than a screen shows, and a fraction of the file."""
    return [float(f"{value:.5g}") for value in values]


# --- when --------------------------------------------------------------------------------------------------------------


def timeline(material: Material) -> Figure | None:
    """What ran when: a bar for each trial, those at the same time above each other."""
    spans = [(start, stop, end) for end in material.results.trials if (found := _span(material, end)) for start, stop in [found]]
    if not spans:
        return None
    spans.sort(key=lambda one: (one[0], one[2].trial))
    zero, lanes = spans[0][0], _lanes(spans)
    n_lanes = max(lanes.values())
    times = {end.trial: (start - zero, stop - zero) for start, stop, end in spans}
    unit, per = _unit(max(stop for _, stop in times.values()))
    traces: list[Trace] = []
    for state, ends in by_state([end for _, _, end in spans]):
        of = [times[end.trial] for end in ends]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "base": [round(start / per, 4) for start, _ in of],
                "x": [round((stop - start) / per, 4) for start, stop in of],
                "y": [lanes[end.trial] for end in ends],
                "text": [str(end.trial) for end in ends],
                "textposition": "none",
                "name": f"{state} ({len(ends)})",
                "width": 0.8,
                "marker": {"color": ENDS.get(state, ("@grey", ""))[0], "line": {"color": "@paper", "width": 0.5}},
                "hovertemplate": f"trial %{{text}}, {state}: %{{x:.1f}} {unit} from %{{base:.1f}} on<extra></extra>",
            }
        )
    since = axis(f"{unit} since the first trial", rangemode="tozero")
    rows = [(end.trial, end.state, round(times[end.trial][0], 2), round(times[end.trial][1], 2)) for _, _, end in spans]
    return Figure(
        name="time",
        title="What ran when",
        note="Trials that ran at the same time stand above each other.",
        traces=traces,
        layout={"barmode": "overlay", "xaxis": since, "yaxis": axis("at once", dtick=max(1, n_lanes // 8))},
        drawn=len(spans),
        of=len(material.results.trials),
        columns=("trial", "state", "from_s", "to_s"),
        rows=rows,
        height=max(220, min(520, 150 + 40 * n_lanes)),
    )


def _unit(seconds: float) -> tuple[str, float]:
    """In which to say so many seconds, and how many one has."""
    return ("seconds", 1.0) if seconds < 300 else ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def _lanes(spans: Sequence[tuple[float, float, TrialEnd]]) -> dict[int, int]:
    """The lowest free lane, from 1, for each trial, by its number. `spans`: by their starts."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes: dict[int, int] = {}
    for start, stop, end in spans:
        while busy and busy[0][0] <= start + 1e-3:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            free.append(len(busy) + 1)
        lanes[end.trial] = heapq.heappop(free)
        heapq.heappush(busy, (stop, lanes[end.trial]))
    return lanes


def _span(material: Material, end: TrialEnd) -> tuple[float, float] | None:
    """When a trial began and ended, by the driver's clock: from its end backwards as long as it took; a trial that was interrupted took
    less than the time between its first line and its last."""
    course = material.courses.get(end.trial)
    if course is None or course.first is None or course.last is None:
        return None
    start = course.last - end.seconds if end.seconds else course.first
    return min(start, course.last), course.last


def occupancy(material: Material) -> float | None:
    """Which part of the places that the search had was in use, on average; None where that is not known."""
    share: Any = material.about.get("share", {})
    at_once = share.get("at_once") if isinstance(share, dict) else None
    used = sum(end.seconds for end in material.results.trials)
    wall = material.results.seconds
    return min(1.0, used / (wall * at_once)) if isinstance(at_once, int | float) and at_once > 0 and wall > 0 and used > 0 else None

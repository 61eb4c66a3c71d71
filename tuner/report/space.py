"""What the searched parameters did: parallel coordinates, importances, slices, and how the two most important act together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from tuner.runs.events import TrialEnd
from tuner.text import counted, setting

from .curves import by_state
from .figure import ENDS, SCALE, Figure, Trace, axis
from .importance import Importance
from .material import Material

OFF = "–"  # a value that is not there
SLICES = 12


# --- parallel coordinates ------------------------------------------------------------------------------------------------


def parallel(material: Material) -> Figure | None:
    """A line for each trial across an axis for each parameter, its end and its score; a part of any axis can be marked."""
    trials = [end for end in material.trials if end.config]
    if len(trials) < 2 or not material.searched:  # a single line says nothing of the others
        return None
    scores = [material.score(end) for end in trials]
    dimensions = list(_dimensions(material, trials, scores))
    trace: Trace = {
        "type": "parcoords",
        "dimensions": dimensions,
        "labelangle": -20,
        "labelside": "top",
        "rangefont": {"size": 1, "color": "rgba(0,0,0,0)"},
        "line": {"color": _colours(trials, scores), "cmin": -1 / 3, "cmax": 1, "showscale": False, "colorscale": _SPLIT},
        "unselected": {"line": {"color": "@grey", "opacity": 0.08}},
    }
    rows = [
        (end.trial, end.state, score, *(end.config.get(name) for name in material.searched))
        for end, score in zip(trials, scores, strict=True)
    ]
    n_pruned = sum(end.state != "complete" for end in trials)
    grey = f" Grey: {counted(n_pruned, 'trial')} not completed, at the last value they had." if n_pruned else ""
    off = f" “{OFF}” is a parameter that had no say." if any(OFF in one["ticktext"] for one in dimensions) else ""
    return Figure(
        name="parallel-coordinates",
        title="Every trial across all parameters",
        note=f"Drag along an axis to mark a part of it; click it to let go. Complete trials from dark (low {material.results.metric}) to "
        f"bright yellow (high).{grey}{off}",
        traces=[trace],
        layout={"margin": {"t": 90, "l": 70, "r": 50, "b": 30}},
        drawn=len(trials),
        of=len(material.trials),
        columns=("trial", "state", material.results.metric, *material.searched),
        rows=rows,
        height=480,
        width=110 * len(dimensions),
    )


def _dimensions(material: Material, trials: Sequence[TrialEnd], scores: Sequence[float | None]) -> Iterator[dict[str, Any]]:
    """An axis for each parameter, for how trials ended, and for each metric, that which the search goes by last."""
    for name in material.searched:
        values = [end.config.get(name) if material.active(name, end.config) else None for end in trials]
        yield _axis(name, values, logarithmic=material.logarithmic(name)) if material.numeric(name) else _axis_of_words(name, values)
    yield _axis_of_words("ended", [end.state for end in trials], order=[state for state, _ in by_state(trials)])
    for metric in material.results.metrics[1:]:
        yield _axis(metric.name, [end.metrics.get(metric.name) for end in trials])
    yield _axis(material.results.metric, scores)


_SPLIT = [[0, "@faint"], [0.24, "@faint"], [0.25, "#2B4A7D"], [0.5, "#5C6B80"], [0.75, "#B09A4C"], [1, "#F5D400"]]


def _colours(trials: Sequence[TrialEnd], scores: Sequence[float | None]) -> list[float]:
    """From 0 to 1 by the scores of the complete trials, below 0 for the others: the first quarter of the colours is grey."""
    known = [score if end.state == "complete" else None for end, score in zip(trials, scores, strict=True)]
    complete = [score for score in known if score is not None]
    low, high = (min(complete), max(complete)) if complete else (0.0, 1.0)
    return [-1 / 3 if score is None else 1.0 if high == low else (score - low) / (high - low) for score in known]


def _axis_of_words(name: str, values: Sequence[Any], order: Sequence[str] = ()) -> dict[str, Any]:
    found = list(order) or sorted({setting(value) for value in values if value is not None}, key=_number_first)
    words = [*([OFF] if None in values else []), *found]
    places = {word: i for i, word in enumerate(words)}
    at = [places[OFF if value is None else setting(value)] for value in values]
    return {"label": name, "values": at, "tickvals": list(range(len(words))), "ticktext": words, "range": [-0.3, len(words) - 0.7]}


def _axis(name: str, values: Sequence[Any], *, logarithmic: bool = False) -> dict[str, Any]:
    """Of numbers."""
    missing = None in values
    logarithmic = logarithmic and all(value > 0 for value in values if value is not None)
    numbers = [None if value is None else math.log10(value) if logarithmic else float(value) for value in values]
    known = [value for value in numbers if value is not None] or [0.0]
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    below = low - 0.15 * span
    ticks = [low + i * (high - low) / 4 for i in range(5)] if high > low else [low]
    texts = [f"{10**tick if logarithmic else tick:.3g}" for tick in ticks]
    if missing:
        ticks, texts = [below, *ticks], [OFF, *texts]
    places_at = [round(below if value is None else value, 6) for value in numbers]
    return {
        "label": name,
        "values": places_at,
        "tickvals": ticks,
        "ticktext": texts,
        "range": [below if missing else low, high if high > low else low + span],
    }


def _number_first(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


# --- importances, slices, interaction --------------------------------------------------------------------------------------


def importances(material: Material, found: Sequence[Importance]) -> Figure | None:
    """A bar for each parameter, with what resamples of the trials gave."""
    if not found:
        return None
    rows = [(one.name, one.value, one.low, one.high, one.n) for one in found]
    back = list(reversed(found))  # plotly draws from below
    trace: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": [one.value for one in back],
        "y": [one.label for one in back],
        "marker": {"color": "@blue"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, one.high - one.value) for one in back],
            "arrayminus": [max(0.0, one.value - one.low) for one in back],
            "color": "@ink",
            "thickness": 1.2,
            "width": 4,
        },
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    n = max(one.n for one in found)
    conditional = (
        " Of a parameter with an asterisk only the trials count in which it had a say." if any(one.conditional for one in found) else ""
    )
    return Figure(
        name="importances",
        title="Importance of the parameters",
        note="PED-ANOVA (Watanabe, Bansal & Hutter 2023): how unlike all trials the best tenth of them are in a parameter, as a share of "
        f"the sum. The lines span nine in ten of the resamples of the trials: where they overlap, the order is open.{conditional}",
        traces=[trace],
        layout={"xaxis": axis("share", rangemode="tozero"), "yaxis": axis("", ticksuffix="  ")},
        drawn=n,
        of=len(material.trials),
        columns=("parameter", "importance", "low", "high", "trials"),
        rows=rows,
        height=max(220, 110 + 30 * len(found)),
    )


def slices(material: Material, order: Sequence[str]) -> list[Figure]:
    """The score by each parameter, the most important first; a single trial shows nothing of them."""
    if sum(material.score(end) is not None for end in material.trials) < 2:
        return []
    return [figure for name in order[:SLICES] if (figure := _slice(material, name))]


def _slice(material: Material, name: str) -> Figure | None:
    trials = [end for end in material.trials if material.active(name, end.config) and material.score(end) is not None]
    if not trials:
        return None
    traces = [_points(material, state, ends, name) for state, ends in by_state(trials)]
    rows = [(end.trial, end.state, end.config[name], material.score(end)) for end in trials]
    return Figure(
        name=f"slice-{name}",
        title=name,
        traces=traces,
        layout={"xaxis": _value_axis(material, name), "yaxis": axis(material.results.metric), "showlegend": False},
        drawn=len(trials),
        of=len(material.trials),
        columns=("trial", "state", name, material.results.metric),
        rows=rows,
        height=290,
        small=True,
    )


def interaction(material: Material, order: Sequence[str], *, weighed: bool) -> Figure | None:
    """The first two parameters, and the score as colour. `weighed`: whether they stand in the order of their importance."""
    if len(order) < 2:
        return None
    first, second = order[:2]
    trials = [
        end
        for end in material.trials
        if material.active(first, end.config) and material.active(second, end.config) and material.score(end) is not None
    ]
    if len(trials) < 2:
        return None
    which = "The two most important parameters" if weighed else "The first two parameters, since the importances are not known"
    scores = [material.score(end) or 0.0 for end in trials]
    traces = [_points(material, state, ends, first, second) for state, ends in by_state(trials)]
    for trace, (_, ends) in zip(traces, by_state(trials), strict=True):
        trace["marker"] |= {"color": [material.score(end) for end in ends], "coloraxis": "coloraxis"}
        trace["marker"]["line"] = {"color": "@grey", "width": 0.8}
    rows = [(end.trial, end.state, end.config[first], end.config[second], score) for end, score in zip(trials, scores, strict=True)]
    return Figure(
        name="interaction",
        title=f"{first} and {second} together",
        note=f"{which}; the brighter, the larger {material.results.metric}.",
        traces=traces,
        drawn=len(trials),
        of=len(material.trials),
        layout={
            "xaxis": _value_axis(material, first),
            "yaxis": _value_axis(material, second),
            "coloraxis": {"colorscale": SCALE, **_range(scores), "colorbar": {"title": {"text": material.results.metric}, "thickness": 12}},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        },
        columns=("trial", "state", first, second, material.results.metric),
        rows=rows,
    )


def _range(scores: Sequence[float]) -> dict[str, float]:
    """Of the colours. plotly's own is half a unit wider at both ends where a single trial ended in some way."""
    return {"cmin": min(scores), "cmax": max(scores)} if min(scores) < max(scores) else {}


def _points(material: Material, state: str, ends: Sequence[TrialEnd], first: str, second: str | None = None) -> Trace:
    """Trials that ended alike: by one parameter and their score, or by two."""
    colour, symbol = ENDS.get(state, ("@grey", "circle-open"))
    symbol = {"x-thin-open": "x"}.get(symbol, symbol.removesuffix("-open")) if second else symbol  # what shows a colour is filled
    y = [material.score(end) for end in ends] if second is None else [_value(material, second, end) for end in ends]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_value(material, first, end) for end in ends],
        "y": y,
        "name": f"{state} ({len(ends)})",
        "text": [f"trial {end.trial}, {state}: {material.score(end):.4g}" for end in ends],
        "hovertemplate": "%{text}<br>%{x}, %{y}<extra></extra>",
        "marker": {"color": colour, "symbol": symbol, "size": 8, "opacity": 0.8, "line": {"color": colour, "width": 1.5}},
    }


def _value(material: Material, name: str, end: TrialEnd) -> Any:
    return end.config[name] if material.numeric(name) else setting(end.config[name])


def _value_axis(material: Material, name: str) -> dict[str, Any]:
    if not material.numeric(name):
        words = sorted({setting(end.config[name]) for end in material.trials if material.active(name, end.config)}, key=_number_first)
        return axis(name, type="category", categoryorder="array", categoryarray=words)
    values = [float(end.config[name]) for end in material.trials if material.active(name, end.config)]
    if not material.logarithmic(name) or min(values) <= 0:
        return axis(name, nticks=5, tickangle=0)
    ticks = _ticks(min(values), max(values))
    return axis(name, type="log", tickvals=ticks, ticktext=[f"{tick:.3g}" for tick in ticks], tickangle=0)


def _ticks(low: float, high: float) -> list[float]:
    """At most five round values on a logarithmic axis, which plotly itself sets too close on a small one: their texts stand apart."""
    steps: tuple[float, ...]
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1.5, 3), (2, 4), (1, 3), (1,)):
        found = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
        inside = [tick for tick in found if low * 0.98 <= tick <= high * 1.02]
        apart = min((math.log(b / a) for a, b in itertools.pairwise(inside)), default=0.0)
        longest = max((len(f"{tick:.3g}") for tick in inside), default=0)
        if 2 <= len(inside) <= 5 and apart > (0.02 + 0.03 * longest) * math.log(high / low):
            return inside
    return inside[:: math.ceil(len(inside) / 5)] if len(inside) > 5 else [low, high]

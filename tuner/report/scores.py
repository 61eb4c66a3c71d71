"""What trials are worth: on fresh seeds, by one metric against another, and as the best of n."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.evidence.report import Confirmation
from tuner.evidence.statistics import summary
from tuner.runs.events import TrialEnd

from .curves import by_state
from .figure import ENDS, Figure, Trace, axis, interval_bar
from .material import Material

ODD = 3  # trials that are named where two metrics disagree


# --- the confirmation --------------------------------------------------------------------------------------------------


def confirmed_spread(material: Material) -> Figure | None:
    """Every configuration on every fresh seed, with its mean and interval; k-means beside them."""
    found = material.confirmed
    if found is None or found.winner is None:
        return None
    metric = found.metric.name
    groups = [(name, values, colour) for name, values, colour in _groups(found) if values]
    traces = [trace for place, (name, values, colour) in enumerate(reversed(groups)) for trace in _spread(name, values, place, colour)]
    rows = [(name, seed, value) for name, values, _ in groups for seed, value in values.items()]
    n = len(found.plan.requested())
    return Figure(
        name="confirmed",
        title=f"{metric} on fresh seeds",
        note="A dot is a training on a seed that played no part in the search; the diamond is their mean, with its 95 % interval."
        f"{' Orange: k-means on the same seeds.' if any(colour == '@orange' for _, _, colour in groups) else ''}",
        traces=traces,
        layout={
            "xaxis": axis(metric),
            "yaxis": axis(
                "",
                tickmode="array",
                tickvals=list(range(len(groups))),
                ticktext=[f"{name}  " for name, _, _ in reversed(groups)],
                range=[-0.6, len(groups) - 0.4],
            ),
            "showlegend": False,
        },
        drawn=sum(len(one.values) for one in found.ranked),
        of=n,
        noun="trainings",
        columns=("configuration", "seed", metric),
        rows=rows,
        height=max(220, 120 + 46 * len(groups)),
    )


def _groups(found: Confirmation) -> Iterator[tuple[str, Mapping[int, float], str]]:
    """Each configuration's name, values by seed, and colour; the best first, k-means last."""
    for one in found.ranked:
        default = one.configuration.is_default
        yield _called(one.name, one is found.winner, default), one.values, "@grey" if default else "@blue"
    if found.baselines is not None and found.beside == found.metric.name:
        for name in found.baselines.metrics:
            yield name, found.baselines.values(name, found.metric.name), "@orange"


def _called(name: str, winner: bool, default: bool) -> str:
    return f"{name}{', the default' if default and name != 'default' else ''}{', winner' if winner else ''}"


def _spread(name: str, values: Mapping[int, float], place: int, colour: str) -> list[Trace]:
    """A row of dots, and its mean."""
    seeds, x = list(values), list(values.values())
    jitter = [place + (0.0 if len(x) == 1 else 0.22 * math.sin(2.4 * i)) for i in range(len(x))]
    dots: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": jitter,
        "text": [f"seed {seed}" for seed in seeds],
        "name": name,
        "hovertemplate": f"{name}, %{{text}}: %{{x:.4f}}<extra></extra>",
        "marker": {"color": colour, "size": 7, "opacity": 0.65},
    }
    figures = summary(x)
    mean: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [figures.mean],
        "y": [place],
        "name": f"{name}, mean",
        "hovertemplate": f"{name}: mean %{{x:.4f}}<extra></extra>",
        "marker": {"color": "@ink", "symbol": "diamond", "size": 10, "line": {"color": "@paper", "width": 1}},
    }
    if figures.interval is not None:
        mean["error_x"] = interval_bar(figures.interval.low, figures.mean, figures.interval.high)
    return [dots, mean]


# --- one metric against another ------------------------------------------------------------------------------------------


def against(material: Material, first: str, second: str, *, front: bool = False) -> Figure | None:
    """Two metrics of the same trials. `front`: those that no other dominates are joined; else those whose ranks differ most are named."""
    trials = [end for end in material.trials if first in end.metrics and second in end.metrics and end.state in ("complete", "pruned")]
    if len(trials) < (1 if front else 2):
        return None
    traces: list[Trace] = []
    for state, ends in by_state(trials):
        colour, symbol = ENDS[state]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [end.metrics[first] for end in ends],
                "y": [end.metrics[second] for end in ends],
                "text": [str(end.trial) for end in ends],
                "hovertemplate": f"trial %{{text}}: {first} %{{x:.4f}}, {second} %{{y:.4f}}<extra></extra>",
                "name": f"{state} ({len(ends)})",
                "marker": {"color": colour, "symbol": symbol, "size": 8, "opacity": 0.8, "line": {"color": colour, "width": 1.5}},
            }
        )
    odd = [] if front else disagreeing(trials, first, second)
    if front:
        traces.append(_front(material, first, second))
        note = "No trial is better than one of the front in one metric without being worse in another."
    else:
        note = _why(odd, first, second)
    rows = [(end.trial, end.state, end.metrics[first], end.metrics[second]) for end in trials]
    return Figure(
        name=f"{first}-{second}",
        title=f"{first} against {second}",
        note=note,
        traces=traces,
        drawn=len(trials),
        of=len(material.trials),
        layout={"xaxis": axis(first), "yaxis": axis(second), "annotations": _named(odd, first, second)},
        columns=("trial", "state", first, second),
        rows=rows,
    )


def _front(material: Material, first: str, second: str) -> Trace:
    best = sorted(material.results.front(), key=lambda end: end.metrics[first])
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [end.metrics[first] for end in best],
        "y": [end.metrics[second] for end in best],
        "text": [str(end.trial) for end in best],
        "name": f"front ({len(best)})",
        "line": {"color": "@ink", "width": 1.5, "shape": "hv"},
        "marker": {"color": "@ink", "size": 6},
        "hovertemplate": "trial %{text}, on the front<extra></extra>",
    }


def _named(trials: Sequence[TrialEnd], first: str, second: str) -> list[dict[str, Any]]:
    """An arrow to each of these trials, from above and below in turns."""
    look = {"showarrow": True, "arrowhead": 0, "ax": 26, "font": {"size": 11}, "arrowcolor": "@grey"}
    return [
        {"x": end.metrics[first], "y": end.metrics[second], "text": f"trial {end.trial}", "ay": 26 - 52 * (i % 2), **look}
        for i, end in enumerate(trials)
    ]


def disagreeing(trials: Sequence[TrialEnd], first: str, second: str) -> list[TrialEnd]:
    """The complete trials whose places by the two metrics, both the larger the better, lie farthest apart; none where few are complete."""
    complete = [end for end in trials if end.state == "complete"]
    if len(complete) < 2 * ODD:
        return []
    places = [{end.trial: i for i, end in enumerate(sorted(complete, key=lambda end: end.metrics[name]))} for name in (first, second)]
    apart = {end.trial: abs(places[0][end.trial] - places[1][end.trial]) for end in complete}
    return sorted((end for end in complete if apart[end.trial] > len(complete) / 4), key=lambda end: -apart[end.trial])[:ODD]


def _why(odd: Sequence[TrialEnd], first: str, second: str) -> str:
    if not odd:
        return f"{first} and {second} put the trials in much the same order."
    said = [f"trial {end.trial} ({first} {end.metrics[first]:.3f}, {second} {end.metrics[second]:.3f}{_clusters(end)})" for end in odd]
    return (
        f"They disagree most about {'; '.join(said)}. {first} asks for one cluster for each class, so it punishes more "
        f"clusters than classes and merged classes; {second} does not match them one to one."
    )


def _clusters(end: TrialEnd) -> str:
    return f", {end.metrics['n_used']:.0f} clusters" if "n_used" in end.metrics else ""


# --- the best of n -----------------------------------------------------------------------------------------------------


def dependent(material: Material) -> str | None:
    """Why the trials of a search are no independent draws; None where they are."""
    if material.about.get("method") != "random":
        return f"each was proposed by {material.about.get('method', 'a method')} with the earlier ones in view"
    if isinstance(material.about.get("early_terminate"), dict):
        return "ASHA stopped some of them, for what others had reached"
    if not material.results.seeds.single:
        return "several are of one configuration"
    return None


def best_of_n(material: Material) -> Figure | None:
    """What the best of n independent trials is to be expected to reach (Dodge et al. 2019), and between what it lies in eight of ten."""
    counting = [end for end in material.trials if end.state in ("complete", "collapsed", "diverged")]
    values = [end.score if end.score is not None else material.metric.worst for end in counting]
    if dependent(material) is not None or len(values) < 2 or not all(abs(value) < 1e8 for value in values):
        return None
    gains = np.sort([-material.metric.rank(value) for value in values])
    sign = 1.0 if material.results.goal == "maximize" else -1.0
    n = list(range(1, len(values) + 1))
    expected, low, high = ((sign * of_n).tolist() for of_n in _of_best(gains))
    line = {"type": "scatter", "mode": "lines", "x": n}
    band = {**line, "line": {"width": 0, "color": "@sky"}, "hoverinfo": "skip", "showlegend": False}
    traces: list[Trace] = [
        {**band, "y": low, "name": "from"},
        {**band, "y": high, "name": "eight in ten", "fill": "tonexty", "fillcolor": "rgba(86,180,233,0.25)", "showlegend": True},
        {**line, "y": expected, "name": "expected", "line": {"color": "@blue", "width": 2}},
    ]
    rows = list(zip(n, expected, low, high, strict=True))
    return Figure(
        name="best-of-n",
        title=f"Expected {material.results.metric} of the best of n trials",
        note="From the scores of all trials, drawn with replacement; a trial that collapsed or diverged counts as the worst.",
        traces=traces,
        layout={"xaxis": axis("n, trials"), "yaxis": axis(material.results.metric)},
        drawn=len(values),
        of=len(material.trials),
        columns=("n", "expected", "low", "high"),
        rows=rows,
    )


def _of_best(gain_N: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of the best of n draws with replacement from these sorted gains, for n from 1 to N: the mean, the 10th and the 90th percentile."""
    n_total = len(gain_N)
    n = np.arange(1, n_total + 1)
    below = (np.arange(n_total + 1) / n_total)[None, :] ** n[:, None]
    low, high = (gain_N[np.clip(np.ceil(level ** (1 / n) * n_total).astype(int) - 1, 0, n_total - 1)] for level in (0.1, 0.9))
    return np.diff(below, axis=1) @ gain_N, low, high

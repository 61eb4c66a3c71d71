"""What a confirmation found, in sentences: of its configurations against each other, the default, held-out samples and k-means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tuner.names import HELD_OUT
from tuner.space.metric import Metric
from tuner.text import counted

from .report import Confirmation, Confirmed
from .statistics import Comparison, compare, summary


def in_sentences(found: Confirmation) -> Iterator[str]:
    """What the figures say, one sentence each."""
    winner, chosen = found.winner, found.chosen
    if winner is None:
        return
    yield from _fate(found)
    if chosen is not None and winner is not chosen:
        yield f"The ranking changed: the confirmed winner is {_called(winner)}."
    if found.against_runner_up is not None and not any(one.configuration.is_default for one in found.ranked[:2]):
        yield f"{_upper(_called(winner))} against {_called(found.ranked[1])}: {_difference(found.against_runner_up, found.metric)}."
    if found.against_default is not None and found.tuned is not None:
        verdicts = {True: "Tuning beat the model's default", False: "Tuning did not beat the model's default"}
        verdict = "It is open whether tuning beat the model's default" if found.beats_default is None else verdicts[found.beats_default]
        yield f"{verdict}: {found.tuned.name} against it {_difference(found.against_default, found.metric)}."
    yield from _worst(found)
    yield from _held_out(found, winner)
    yield from _beside_k_means(found, winner)
    if found.overtuning is not None and found.overtuning.lost > 0:
        part = "" if found.overtuning.relative is None else f", {found.overtuning.relative:.0%} of what there was to gain over the default"
        yield f"Overtuning: to trust the search's figure would have cost {found.overtuning.lost:.3f}{part}."


def _fate(found: Confirmation) -> Iterator[str]:
    """What became of the figure by which the search ranked its best first."""
    chosen, curse = found.chosen, found.winners_curse
    if chosen is None or chosen.configuration.figure is None or curse is None:
        return
    before, after = f"{chosen.configuration.figure:.3f}", f"{chosen.mean:.3f}"
    verb = "fell from" if chosen.mean < chosen.configuration.figure else "rose from"
    moved = f"kept its {found.metric.name} {before}" if before == after else f"{verb} {found.metric.name} {before} to {after}"
    luck = f"a winner's curse of {curse:.3f}" if curse >= 0.0005 else "no winner's curse"
    yield f"The search's best, {chosen.name}, {moved}: {luck}."


def _worst(found: Confirmation) -> Iterator[str]:
    """How many of the trainings came to nothing."""
    for one in found.configurations:
        states = Counter(one.worst().values())
        if states:
            said = " and ".join(f"{n} {state}" for state, n in states.items())
            counts = f"{'It counts' if states.total() == 1 else 'They count'} as {found.metric.name} {found.metric.worst:g}."
            yield f"Of {counted(len(one.values), 'training')} of {_called(one)} {said}. {counts}"


def _held_out(found: Confirmation, winner: Confirmed) -> Iterator[str]:
    """What the winner and the default are worth on the samples that no training saw."""
    name, default = found.metric.name, found.default
    said = []
    for one in [winner, *([default] if default is not None and default is not winner else [])]:
        if values := list(one.reported(name + HELD_OUT).values()):
            figures = summary(values)
            spread = "" if figures.sd is None else f" ± {figures.sd:.3f}"
            said.append(f"{name} {figures.mean:.3f}{spread} of {_called(one)}")
    if said:
        yield f"On the held-out samples, which no training saw and nothing was chosen by: {', '.join(said)}."


def _beside_k_means(found: Confirmation, winner: Confirmed) -> Iterator[str]:
    """Did clustering help?"""
    metric = found.beside
    if metric is None or found.baselines is None:
        return
    own = metric == found.metric.name
    ours, what = (winner.values, "") if own else (winner.reported(metric), f", by the {metric} that was reported")
    for name in found.baselines.metrics:
        theirs = found.baselines.values(name, metric)
        compared = found.compared(ours, theirs) if own else compare(ours, theirs)
        if compared is not None:
            yield f"{_upper(_called(winner))} against {name}{what}: {_difference(compared, found.metric if own else None)}."


def _called(one: Confirmed) -> str:
    return "the model's default" if one.configuration.is_default else one.name


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _difference(found: Comparison, metric: Metric | None) -> str:
    """`+0.032 (95 % interval -0.004 to +0.068, better with probability 0.96)`. `metric`: which the gains are of; None where the larger is
    the better. A gain in a loss is a negative difference."""
    sign = -1 if metric is not None and metric.goal == "minimize" else 1
    if found.interval is None or found.probability is None:
        return f"{sign * found.mean:+.3f}, on a single seed"
    low, high = sorted((sign * found.interval.low, sign * found.interval.high))
    return f"{sign * found.mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f}, better with probability {found.probability:.2f})"


def failures(found: Sequence[Confirmed]) -> list[str]:
    """Which trainings do not count, and why."""
    return [
        f"{one.name} on seed {seed} {end.state}{f': {end.reason}' if end.reason else ''}"
        for one in found
        for seed, end in one.left_out().items()
    ]

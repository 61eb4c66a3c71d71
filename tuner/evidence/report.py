"""What a confirmation found: every configuration's figures on fresh seeds, and how they compare. Read from the run's folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from tuner.runs.events import TrialEnd
from tuner.runs.paths import CONFIRM, SPEC
from tuner.runs.results import Results, read_run
from tuner.runs.states import STATES
from tuner.space.metric import Metric

from .baselines import Baselines, read_baselines
from .plan import Configuration, Plan, read_plan
from .statistics import Comparison, Overtuning, Summary, compare, overtuning, summary, winners_curse

ACC = "acc"  # the larger the better
_BOUNDED = 100.0  # a worst value beyond it stands for infinity, and would drown a mean


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A configuration on the requested seeds. `ends`: of its trainings that are over, by seed. `values`: those that count; a training that
    collapsed or diverged counts with the metric's worst value, one that raised does not count."""

    configuration: Configuration
    ends: Mapping[int, TrialEnd]
    values: Mapping[int, float]

    @property
    def name(self) -> str:
        return self.configuration.name

    @cached_property
    def summary(self) -> Summary | None:
        """None where no training counts yet."""
        return summary(list(self.values.values())) if self.values else None

    @property
    def mean(self) -> float:
        """Of the values, of which there is one at least."""
        assert self.summary is not None
        return self.summary.mean

    def reported(self, metric: str) -> dict[int, float]:
        """Another metric of the trainings that are complete, by seed."""
        return {seed: end.metrics[metric] for seed, end in self.ends.items() if end.state == "complete" and metric in end.metrics}

    def worst(self) -> dict[int, str]:
        """The states of the trainings that count with the metric's worst value, by seed: collapsed, diverged."""
        return {seed: self.ends[seed].state for seed in self.values if self.ends[seed].state != "complete"}

    def left_out(self) -> dict[int, TrialEnd]:
        """The trainings that are over and do not count, by seed."""
        return {seed: end for seed, end in self.ends.items() if seed not in self.values}


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Of the last request. `configurations`: by the search's rank, the default last unless it has one."""

    metric: Metric
    plan: Plan
    configurations: tuple[Confirmed, ...]
    baselines: Baselines | None
    results: Results  # of the trainings

    @property
    def left(self) -> int:
        """How many of the requested trainings are not over."""
        return len(self.plan.requested()) - sum(len(one.ends) for one in self.configurations)

    @cached_property
    def ranked(self) -> list[Confirmed]:
        """Those with a figure, the best mean first, those before others that have more seeds."""
        found = [one for one in self.configurations if one.summary is not None]
        return sorted(found, key=lambda one: (-len(one.values), self.metric.rank(one.mean)))

    @property
    def winner(self) -> Confirmed | None:
        return self.ranked[0] if self.ranked else None

    @property
    def tuned(self) -> Confirmed | None:
        """The best that is not the model's default."""
        return next((one for one in self.ranked if not one.configuration.is_default), None)

    @property
    def chosen(self) -> Confirmed | None:
        """The one that the search ranked first."""
        first = self.configurations[0]
        return first if first.summary is not None and first.configuration.trial is not None else None

    @property
    def default(self) -> Confirmed | None:
        return next((one for one in self.ranked if one.configuration.is_default), None)

    def gains(self, values: Mapping[int, float]) -> dict[int, float]:
        """Values by seed so that the larger is the better."""
        return {seed: -self.metric.rank(value) for seed, value in values.items()}

    def compared(self, first: Mapping[int, float], second: Mapping[int, float]) -> Comparison | None:
        """By how much the first is better, seed by seed, whatever the metric's goal."""
        return compare(self.gains(first), self.gains(second))

    @property
    def against_default(self) -> Comparison | None:
        """The best tuned configuration against the model's default."""
        tuned, default = self.tuned, self.default
        return None if tuned is None or default is None else self.compared(tuned.values, default.values)

    @property
    def against_runner_up(self) -> Comparison | None:
        return self.compared(self.ranked[0].values, self.ranked[1].values) if len(self.ranked) > 1 else None

    @property
    def winners_curse(self) -> float | None:
        """How far the figure of the search's best fell on fresh seeds."""
        if self.chosen is None or self.chosen.configuration.figure is None:
            return None
        figure = -self.metric.rank(self.chosen.configuration.figure)
        return winners_curse(figure, list(self.gains(self.chosen.values).values()))

    @property
    def overtuning(self) -> Overtuning | None:
        if self.chosen is None or self.default is None:
            return None
        means = [-self.metric.rank(one.mean) for one in (self.chosen, self.default, *self.ranked)]
        return overtuning(means[0], means[1], means[2:])

    @property
    def beats_default(self) -> bool | None:
        """Whether tuning beat the model's default: by the interval of the paired differences; None where that holds 0."""
        found = self.against_default
        if found is None or found.interval is None or (found.interval.low <= 0 < found.interval.high):
            return None
        return found.interval.low > 0

    @property
    def beside(self) -> str | None:
        """The metric that k-means is compared by: the search's, or where a partition alone does not have that, such as a silhouette of
        codes, `acc` as it was reported. None where there is neither."""
        metrics = [found for by_seed in (self.baselines.metrics if self.baselines else {}).values() for found in by_seed.values()]
        return next((name for name in (self.metric.name, ACC) if any(name in found for found in metrics)), None)

    def summary(self) -> dict[str, Any]:
        """What `tuner show --json` prints under `confirmed`."""
        winner, plan = self.winner, self.plan
        return {
            "top": plan.request.top,
            "seeds": list(plan.seeds),
            "left": self.left,
            "metric": self.metric.name,
            "winner": None if winner is None else winner.name,
            "runner_up": self.ranked[1].name if len(self.ranked) > 1 else None,
            "configurations": [_about(one) for one in self.configurations],
            "tuned_minus_default": _plain(self.against_default),
            "winner_minus_runner_up": _plain(self.against_runner_up),
            "winners_curse": self.winners_curse,
            "overtuning": None if self.overtuning is None else asdict(self.overtuning),
            "beats_default": self.beats_default,
            "baselines": None if self.baselines is None else self.baselines.summary(),
        }


def confirmation_of(results: Results) -> Confirmation | None:
    """That of a run; None where nothing was confirmed yet.

    Raises:
        UserError: what is there is damaged.
    """
    plan, folder = read_plan(results.folder), results.folder / CONFIRM
    if plan is None or not (folder / SPEC).is_file():
        return None
    metric, trained = Metric(name=results.metric, goal=results.goal), read_run(folder)
    ends = {end.trial: end for end in trained.trials if end.is_over}
    return Confirmation(
        metric=metric,
        plan=plan,
        configurations=tuple(_confirmed(place, plan, ends, metric) for place in plan.chosen),
        baselines=read_baselines(results.folder),
        results=trained,
    )


def _confirmed(place: int, plan: Plan, ends: Mapping[int, TrialEnd], metric: Metric) -> Confirmed:
    mine = {plan.trainings[n].seed: n for n in plan.requested() if plan.trainings[n].of == place}
    over = {seed: ends[n] for seed, n in mine.items() if n in ends}
    values = {seed: value for seed, end in over.items() if (value := value_of(end, metric)) is not None}
    return Confirmed(configuration=plan.configurations[place], ends=over, values=values)


def value_of(end: TrialEnd, metric: Metric) -> float | None:
    """What a training counts with; None: it does not."""
    if end.state == "complete":
        return end.score
    counts = end.state in STATES and STATES[end.state].worst and abs(metric.worst) <= _BOUNDED
    return metric.worst if counts else None


def _about(one: Confirmed) -> dict[str, Any]:
    found, about = one.summary, one.configuration
    figures = {"n": 0} if found is None else {**asdict(found), "interval": _ends(found.interval)}
    return {
        "name": one.name,
        "trial": about.trial,
        "default": about.is_default,
        "search": about.figure,
        **figures,
        "values": {str(seed): value for seed, value in one.values.items()},
        "states": {str(seed): end.state for seed, end in one.ends.items()},
        "config": dict(about.config),
    }


def _ends(interval: Any) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _plain(found: Comparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    differences = {str(seed): value for seed, value in found.differences.items()}
    return {"mean": found.mean, "interval": _ends(found.interval), "probability": found.probability, "differences": differences}

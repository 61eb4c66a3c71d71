"""A search's outcome, its files, and the runs of a folder, as tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.data.names import NEAR
from tuner.errors import readable
from tuner.names import HELD_OUT
from tuner.runs.configurations import grouped
from tuner.runs.ledger import in_words
from tuner.runs.paths import CONFIRM, SPEC
from tuner.space.scores import SCORES
from tuner.text import counted, duration, near, number, setting

from .tables import facts, list_table, states

if TYPE_CHECKING:
    from tuner.runs.configurations import Configuration
    from tuner.runs.events import TrialEnd
    from tuner.runs.results import Results

BEST = 5  # trials in the table of the best
REASONS = 3  # for which trials failed


def searched_names(spec: Mapping[str, Any]) -> list[str]:
    """What a run's `spec.json` varied, in its order."""
    return [name for name, entry in spec.get("parameters", {}).items() if "value" not in entry]


def heading(results: Results, n: int = BEST) -> str:
    """What the table of the best trials shows: by which metric, and over which epochs."""
    shown = len(results.ranked()[:n])
    if len(results.metrics) > 1:
        names = " and ".join(metric.name for metric in results.metrics)
        complete = counted(len(results.ranked()), "complete trial")
        return f"The front: {len(results.front())} of {complete} that no other beats in {names} {SCORES[results.score].words}"
    which = f"Best {shown}"
    if not results.seeds.single:
        n_configurations = len(grouped(results.trials))
        how = f"{results.metric} {SCORES[results.score].words}, mean ± sd over seeds"
        which = "Best configuration" if shown == 1 else which
        return f"{which} of {counted(n_configurations, 'configuration')} by {how}"
    which = "Best trial" if shown == 1 else which
    return f"{which} of {counted(len(results.trials), 'trial')} by {results.metric} {SCORES[results.score].words}"


def best_table(results: Results, n: int = BEST) -> Table:
    """The best configurations side by side: their score, other metrics, and what was searched. A configuration is a trial, or several
    that differ in their seed: then a figure is their mean ± their standard deviation."""
    from tuner.metrics import METRICS  # not above: it imports numpy, which a list of runs does not need

    names = [metric.name for metric in results.metrics]
    found = results.configurations()[: n if len(names) == 1 else len(results.front())]
    best, single = [one.end for one in found], results.seeds.single
    table = list_table()
    table.add_column("trial" if single else "configuration", no_wrap=True)
    for i, one in enumerate(found):
        table.add_column(str(one.number), justify="right", header_style="bold green" if i == 0 else "bold", style="bold" if i == 0 else "")
    word = SCORES[results.score].short
    table.add_row(f"{results.metric} ({word})" if word else results.metric, *(spread(one, results.metric, score=True) for one in found))
    for name in names[1:]:
        table.add_row(name, *(spread(one, name) for one in found))
    for name in (name for name, measure in METRICS.items() if measure.shown):
        if name not in names and any(name in trial.metrics for trial in best):
            table.add_row(name, *(spread(one, name) for one in found))
    for name in held_out(results):
        table.add_row(f"{name}, held out", *(spread(one, name + HELD_OUT) for one in found))
    if not single:
        table.add_row("seeds", *(str(one.n) for one in found))
        table.add_row("trials", *(_numbers(one.trials) for one in found))
    table.add_row("epochs", *(str(trial.epochs) for trial in best), end_section=True)
    for name in searched_names(results.spec_json):
        table.add_row(name, *(setting(trial.config.get(name)) for trial in best))
    return table


def held_out(results: Results) -> list[str]:
    """The metrics of which tables show what they are on the held-out part: those that decide, and those that are shown."""
    from tuner.metrics import METRICS

    best = results.best()
    names = [metric.name for metric in results.metrics] + [name for name, measure in METRICS.items() if measure.shown]
    return [] if best is None else [name for name in dict.fromkeys(names) if name + HELD_OUT in best.metrics]


def spread(one: Configuration, name: str, *, score: bool = False) -> str:
    """A figure of a configuration, with its standard deviation where there are several seeds: `0.8512 ± 0.0310`."""
    value, sd = (one.end.score, one.sd.get("score")) if score else (one.end.metrics.get(name), one.sd.get(name))
    return number(value, name) if sd is None or value is None else f"{number(value, name)} ± {sd:.2g}"


def _numbers(trials: Sequence[int]) -> str:
    """`3–5` where they follow each other, else `3, 7, 8`"""
    if len(trials) > 2 and trials[-1] - trials[0] == len(trials) - 1:
        return f"{trials[0]}–{trials[-1]}"
    return ", ".join(map(str, trials))


def outcome_view(results: Results) -> Iterator[RenderableType]:
    """What a finished search says: the best trials, how all ended, and what was written."""
    from tuner.metrics import uses_labels

    if results.best() is None:
        yield Text("No trial was completed, so there is no best one.", style="yellow")
    else:
        yield Text(heading(results), style="bold")
        yield best_table(results)
        for metric in results.metrics:
            if uses_labels(metric.name):
                yield Text(f"{metric.name} compares clusters with the labels, so this choice used labels.", style="dim")
        if held_out(results):
            yield Text(f"{results.metric} chose, on the samples that were not held out; no trial has seen those that were.", style="dim")
        data = results.spec_json.get("dataset", {}).get("name")
        if data in NEAR:
            yield Text(f"{data} is {NEAR[data]}.", style="dim")
    looks = in_words(results.labels)
    if looks is not None:
        yield Text(looks, style="dim")
    simulated = results.spec_json.get("simulated")
    if simulated:
        lanes = counted(simulated["lanes"], "trial")
        yield Text(
            f"Simulated: nothing was trained. The epochs are those of {near(Path(simulated['table']))}, {lanes} at once.", style="yellow"
        )
    yield Text()
    ends = {state: n for state, n in results.counts().items() if n}
    others = [trial.state for trial in results.trials if trial.state not in ends]
    ends |= {state: others.count(state) for state in dict.fromkeys(others)}
    line = Text(f"{counted(len(results.trials), 'trial')}: ").append_text(states(ends))
    yield line.append(f"; {counted(results.epochs, 'epoch')} in {duration(results.seconds)}")
    yield from map(Text, results.in_sentences())
    asked = [trial.trial for trial in results.trials if trial.asked_for]
    if asked:
        yield Text(f"Asked for: {_who(asked).lower()}")
    yield from (Text(f"{who} failed: {reason}", style="red") for who, reason, _ in _failures(results)[:REASONS])
    if len(_failures(results)) > REASONS:
        yield Text("There are other reasons; results.jsonl has them.", style="red")


def tracebacks(results: Results) -> Iterator[RenderableType]:
    """Where trials raised, once for each reason."""
    for who, _, traceback in _failures(results)[:REASONS]:
        if traceback is not None:
            yield Text()
            yield Text(f"{who}:", style="red")
            yield Text(readable(traceback), style="dim")


def _failures(results: Results) -> list[tuple[str, str, str | None]]:
    """Who failed, why, and the traceback of the first of them, for each reason."""
    alike: dict[str, list[TrialEnd]] = {}
    for trial in results.trials:
        if trial.state == "failed" and trial.reason:
            alike.setdefault(readable(trial.reason), []).append(trial)
    return [(_who([trial.trial for trial in trials]), reason, trials[0].traceback) for reason, trials in alike.items()]


def _who(trials: Sequence[int]) -> str:
    """`Trial 3`, `Trials 3, 4, 7`, `Trials 0, 1, 2, 3, 4 and 20 more`"""
    shown = ", ".join(map(str, trials[:BEST])) + (f" and {len(trials) - BEST} more" if len(trials) > BEST else "")
    return f"Trial{'s' * (len(trials) > 1)} {shown}"


def written(folder: Path) -> Iterator[RenderableType]:
    """The files of a run that are there, what each is for, and what to do next."""
    known = (
        ("best.yaml, best.safetensors", "the best trial's configuration and weights"),
        ("best.course.safetensors", "what it made of a subsample after a few epochs: for the maps of tuner report"),
        ("results.jsonl", "every epoch of every trial"),
        ("confirm", "the best trained again on fresh seeds: its journal, its logs, and the weights of the best"),
        ("codes", "what trials made of one subsample: tuner show RUN --by ace"),
        ("space.yaml, spec.json", "the space as given, and all it came to"),
        ("study.journal", "Optuna's study"),
        ("logs", "what happened to each trial, and what was said: tuner show RUN --trial N"),
        ("wandb", "what W&B was told"),
    )
    yield Text(f"In {near(folder)}/")
    yield facts((f"  {names}", what) for names, what in known if (folder / names.split(",")[0]).exists())
    if (folder / "best.yaml").exists():
        yield Text(f"Train the best again with: tuner train {shlex.quote(near(folder) + '/best.yaml')}")


def runs_table(runs: Sequence[Results]) -> Table:
    """One line per run."""
    table, means = list_table(), {run.folder: mean for run in runs if (mean := _confirmed(run)) is not None}
    more = ["confirmed"] if means else []
    for column in ("run", "status", "model", "data", "trials", "best", *more, "time"):
        table.add_column(column, justify="right" if column in ("trials", "time") else "left", overflow="fold")
    for run in runs:
        best = run.best()
        score = Text("–", style="dim") if best is None else Text(f"{run.metric} {number(best.score, run.metric)}")
        colour = {"done": "green", "running": "cyan", "stopped": "magenta", "failed": "red"}.get(run.status, "")
        data = run.spec_json.get("dataset", {})
        table.add_row(
            run.name, Text(run.status, style=colour), str(run.spec_json.get("model", "")), str(data.get("name", "")),
            f"{len(run.trials)}/{_planned(run)}", score, *(number(means.get(run.folder), run.metric) for _ in more),
            duration(run.seconds),
        )  # fmt: skip
    return table


def _planned(run: Results) -> str:
    """How many trials there can be."""
    trials = run.spec_json.get("trials")
    return "?" if trials is None else str(int(trials) * run.seeds.most)


def _confirmed(run: Results) -> float | None:
    """What its winner is worth on fresh seeds."""
    if not (run.folder / CONFIRM / SPEC).is_file():
        return None
    from tuner.evidence.kept import confirmed_mean  # not above: it imports scipy, which a list of runs seldom needs

    return confirmed_mean(run.folder)

"""Tables for the terminal: a search's outcome, the runs there are, a checked space, a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.errors import readable
from tuner.text import NEAR, counted, duration, megabytes, near, number, setting

if TYPE_CHECKING:
    from tuner.machines.doctor import Check
    from tuner.model import DataSpec, Descend, Hyper, Model, Phase, Replace
    from tuner.runs.results import Results, TrialRecord
    from tuner.space.ranges import Range
    from tuner.space.spec import Spec


BEST = 5  # trials in the table of the best
SHOWN = ("acc", "nmi", "ari", "error", "error_test", "n_used", "silhouette", "knn_error_5")  # metrics in tables; the journal has all
REASONS = 3  # for which trials failed
# The metrics that look at the labels; tuner/metrics.py, which imports torch, has them by kind.
LABELLED = ("acc", "acc_vote", "nmi", "ari", "ami", "error", "error_test", "knn_error_3", "knn_error_5", "knn_error_10")
RULES = {"last": "of the last epoch", "max": "of the best epoch", "mean_last_5": "as the mean of the last five epochs"}
COLOURS = {"complete": "green", "pruned": "cyan", "collapsed": "yellow", "diverged": "yellow", "stopped": "magenta", "failed": "red"}


def states(counts: Mapping[str, int], *, always: Sequence[str] = ()) -> Text:
    """`6 complete · 4 pruned`, in colour; states that nobody is in are left out."""
    shown = [state for state in (*COLOURS, *counts) if counts.get(state) or state in always]
    parts = [Text(f"{counts.get(state, 0)} {state}", style=COLOURS.get(state, "")) for state in dict.fromkeys(shown)]
    return Text(" · ").join(parts)


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Names on the left, what they are on the right, no lines."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, what in rows:
        table.add_row(name, what)
    return table


def list_table(title: str | None = None, *, caption: str | None = None) -> Table:
    """A rule below the names of its columns, no other lines."""
    return Table(
        title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", title_style="bold",
        pad_edge=False, show_edge=False,
    )  # fmt: skip


# --- a search's outcome ------------------------------------------------------------------------------------------------


def searched_names(spec: Mapping[str, Any]) -> list[str]:
    """What a run's `spec.json` varied, in its order."""
    return [name for name, entry in spec.get("parameters", {}).items() if "value" not in entry]


def heading(results: Results, n: int = BEST) -> str:
    """What the table of the best trials shows: by which metric, and over which epochs."""
    shown = len(results.ranked()[:n])
    which = "Best trial" if shown == 1 else f"Best {shown}"
    return f"{which} of {counted(len(results.trials), 'trial')} by {results.metric} {RULES.get(results.score, results.score)}"


def best_table(results: Results, n: int = BEST) -> Table:
    """The best complete trials side by side: their score, other metrics, and what was searched."""
    best = results.ranked()[:n]
    table = list_table()
    table.add_column("trial", no_wrap=True)
    for i, trial in enumerate(best):
        table.add_column(str(trial.trial), justify="right", header_style="bold green" if i == 0 else "bold", style="bold" if i == 0 else "")
    word = {"max": "best", "mean_last_5": "mean"}.get(results.score)
    table.add_row(f"{results.metric} ({word})" if word else results.metric, *(number(trial.score, results.metric) for trial in best))
    for name in SHOWN:
        if name != results.metric and any(name in trial.metrics for trial in best):
            table.add_row(name, *(number(trial.metrics.get(name), name) for trial in best))
    table.add_row("epochs", *(str(trial.epochs) for trial in best), end_section=True)
    for name in searched_names(results.spec_json):
        table.add_row(name, *(setting(trial.config.get(name)) for trial in best))
    return table


def outcome(results: Results) -> Iterator[RenderableType]:
    """What a finished search says: the best trials, how all ended, and what was written."""
    if results.best() is None:
        yield Text("No trial was completed, so there is no best one.", style="yellow")
    else:
        yield Text(heading(results), style="bold")
        yield best_table(results)
        if results.metric in LABELLED:
            yield Text(f"{results.metric} compares clusters with the labels: whoever chooses by it has used them.", style="dim")
        data = results.spec_json.get("dataset", {}).get("name")
        if data in NEAR:
            yield Text(f"{data} is {NEAR[data]}.", style="dim")
    yield Text()
    ends = {state: n for state, n in results.counts().items() if n}
    others = [trial.state for trial in results.trials if trial.state not in ends]
    ends |= {state: others.count(state) for state in dict.fromkeys(others)}
    line = Text(f"{counted(len(results.trials), 'trial')}: ").append_text(states(ends))
    yield line.append(f"; {counted(results.epochs, 'epoch')} in {duration(results.seconds)}")
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
    alike: dict[str, list[TrialRecord]] = {}
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
        ("results.jsonl", "every epoch of every trial"),
        ("space.yaml, spec.json", "the space as given, and all it came to"),
        ("study.journal", "Optuna's study"),
        ("logs", "what happened to each trial, and what was said: tuner show RUN --trial N"),
        ("wandb", "what W&B was told"),
    )
    yield Text(f"In {near(folder)}/")
    yield facts((f"  {names}", what) for names, what in known if (folder / names.split(",")[0]).exists())
    if (folder / "best.yaml").exists():
        yield Text(f"Train the best again with: tuner train {near(folder)}/best.yaml")


def runs_table(runs: Sequence[Results]) -> Table:
    """One line per run."""
    table = list_table()
    for column in ("run", "status", "model", "data", "trials", "best", "time"):
        table.add_column(column, justify="right" if column in ("trials", "time") else "left", overflow="fold")
    for run in runs:
        best = run.best()
        score = Text("–", style="dim") if best is None else Text(f"{run.metric} {number(best.score, run.metric)}")
        colour = {"done": "green", "running": "cyan", "stopped": "magenta", "failed": "red"}.get(run.status, "")
        data = run.spec_json.get("dataset", {})
        table.add_row(
            run.name, Text(run.status, style=colour), str(run.spec_json.get("model", "")), str(data.get("name", "")),
            f"{len(run.trials)}/{run.spec_json.get('trials', '?')}", score, duration(run.seconds),
        )  # fmt: skip
    return table


# --- a search space that was checked -----------------------------------------------------------------------------------


def space(spec: Spec, data: DataSpec) -> Iterator[RenderableType]:
    """Everything a search would do, the defaults that nobody wrote marked as such."""
    from tuner.search.budget import sizes

    filled = spec.filled

    def said(text: str, *keys: str) -> Text:
        """Marked where nobody said any of the keys."""
        default = any(key in filled for key in keys)
        return Text.assemble(text, ("  (default)" if default else "", "dim"))

    dataset = spec.dataset.name + (f", limit {spec.dataset.limit:,}" if spec.dataset.limit else "")
    dataset += f", scale {spec.dataset.scale}" if spec.dataset.scale else ""
    shape, labels = "x".join(map(str, data.shape)), f"{data.n_classes} classes" if data.n_classes else "no labels"
    dataset += f": {data.n_samples:,} samples of {shape}, {labels}"
    dataset += f"; {NEAR[spec.dataset.name]}" if spec.dataset.name in NEAR else ""
    asha = spec.early_terminate
    early = "nothing"
    if asha is not None:
        early = f"asha: all but the best 1/{asha.reduction} after {asha.grace}, {asha.grace * asha.reduction}, … epochs"
    uses = " (uses the labels)" if spec.metric.name in LABELLED else ""
    gpu = "a GPU where there is one" if spec.resources.gpu == "auto" else f"{spec.resources.gpu:g} GPU"
    budget = f", all together {spec.checkpoint_gb:g} GB" if spec.checkpoint_gb else ""
    packs = {"auto": "in packs where they pay", 1: "each by itself"}.get(spec.resources.pack, f"in packs of up to {spec.resources.pack}")
    yield facts(
        [
            ("name", said(spec.name, "name")),
            ("model", spec.model),
            ("data set", dataset),
            ("metric", said(f"{spec.metric.name}, {spec.metric.goal}{uses}", "metric.goal")),
            ("score", said(f"{spec.metric.name} {RULES[spec.score]}", "score")),
            ("method", said(spec.method, "method")),
            ("trials", said(str(spec.trials), "trials")),
            ("epochs", said(str(spec.epochs), "epochs")),
            ("seed", said(str(spec.seed), "seed")),
            ("pre-training seed", said(str(spec.pretrain_seed), "pretrain_seed")),
            ("precision", said(spec.precision, "precision")),
            ("stopped early", said(early, "early_terminate.grace", "early_terminate.reduction")),
            ("each trial has", said(f"{spec.resources.cpu:g} CPU, {gpu}", "resources.cpu", "resources.gpu")),
            ("trials train", said(packs, "resources.pack")),
            ("tried again", said(f"{counted(spec.retries, 'time')} where a trial's process is killed", "retries")),
            ("a checkpoint", f"up to {megabytes(sizes(spec, data).state)}{budget}"),
        ]
    )
    yield Text()
    table = list_table("Searched")
    table.add_column("name", no_wrap=True)
    table.add_column("values", overflow="fold")
    table.add_column("when", overflow="fold", style="dim")
    for found in spec.searched():
        name = Text(found.name).append(" (switch)", style="dim") if found.name in spec.switches else Text(found.name)
        table.add_row(name, _values(found), _when(found))
    yield table
    fixed: list[tuple[str, RenderableType]] = [
        (found.name, Text.assemble(setting(found.value), (f"  when {_when(found)}" if found.when else "", "dim")))
        for found in spec.parameters
        if not found.searched
    ]
    if fixed:
        yield Text()
        yield Text("Fixed", style="bold")
        yield facts(fixed)
    defaults = {key.removeprefix("parameters."): value for key, value in filled.items() if key.startswith("parameters.")}
    if defaults:
        yield Text()
        yield Text(f"Left at {spec.model}'s defaults", style="bold")
        yield Text(" · ".join(f"{name}={setting(value)}" for name, value in defaults.items()))
    for note in spec.notes:
        yield Text()
        yield Text.assemble(("Note: ", "yellow"), note)


def _values(found: Range) -> str:
    if found.kind == "values":
        return " | ".join(setting(value) for value in found.values)
    assert found.min is not None and found.max is not None
    scale = " on a log scale" if "log" in found.kind else ""
    step = f" in steps of {found.q:g}" if found.q not in (None, 1) else ""
    whole = ", whole" if found.kind == "int_uniform" or found.q == 1 else ""
    return f"{setting(found.min)} … {setting(found.max)}{whole}{step}{scale}"


def _when(found: Range) -> str:
    asked = ", ".join(f"{name} = {' | '.join(map(setting, values))}" for name, values in found.when.items())
    return f"{asked}, otherwise {setting(found.otherwise)}" if found.otherwise is not None else asked


# --- models ------------------------------------------------------------------------------------------------------------


def model(model: Model, h: Hyper, owned: Mapping[str, Sequence[str]]) -> Iterator[RenderableType]:
    """Hyper-parameters with their legal ranges, terms with their formulas, and what each step of each phase trains.

    `owned`: the terms of each update, by its name.
    """
    table = list_table("Hyper-parameters", caption="s: static, a shape or a choice; equal for all trials that train in one pack")
    table.add_column("name", no_wrap=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column("default", justify="right")
    table.add_column("legal", overflow="fold", max_width=24)
    table.add_column("meaning", overflow="fold")
    for p in model.parameters().values():
        if not p.name.startswith("weights."):
            table.add_row(p.name, "s" if p.static else "", setting(p.default), p.range, p.doc)
    yield table
    if model.labels == "partial":
        yield Text("Learns from some labels: beside the clustering metrics it has error and, where there is a test split, error_test.")
    if model.terms:
        yield Text()
        yield _terms(model, owned)
    for i, phase in enumerate(model.phases(h)):
        yield Text()
        yield from _phase(i + 1, phase, h, owned)


def _terms(model: Model, owned: Mapping[str, Sequence[str]]) -> Table:
    table = list_table("Loss terms", caption="–: it stands alone in its step, where a weight could not change anything")
    table.add_column("weight", no_wrap=True)
    table.add_column("default", justify="right")
    table.add_column("formula", overflow="fold")
    table.add_column("step", style="dim", no_wrap=True)
    by_term = {term: update for update, terms in owned.items() for term in terms}
    for term, what in model.terms.items():
        name = f"weights.{term}" if what.weight is not None else Text(term, style="dim")
        table.add_row(name, setting(what.weight), what.doc, by_term.get(term, ""))
    return table


def _phase(place: int, phase: Phase, h: Hyper, owned: Mapping[str, Sequence[str]]) -> Iterator[RenderableType]:
    length = getattr(h, phase.epochs)
    scored = "" if phase.clusters else " (pre-training, not scored)"
    yield Text.assemble((f"Phase {place}: {phase.name}", "bold"), (f"  {phase.epochs} = {length}{scored}", "dim"))
    steps: list[tuple[str, RenderableType]] = []
    from tuner.model import function_of  # not above: tables of runs need no torch

    def hook(name: str, when: str) -> None:
        function = getattr(phase, name)
        if function is not None:
            steps.append((f"  {when}", Text(function_of(function).__name__)))

    hook("start", "at its start")
    hook("schedule", "sets rates")
    if phase.every_batches:
        hook("before_epoch", f"every {getattr(h, phase.every_batches)} batches")
    else:
        hook("before_epoch", "before an epoch")
    steps.extend(("  every batch", _step(update, owned.get(update.name, ()))) for update in phase.updates)
    hook("after_epoch", "after an epoch")
    yield facts(steps)


def _step(update: Descend | Replace, terms: Sequence[str]) -> Text:
    """The terms of a step, and what it trains at which rate."""
    from tuner.model import Descend

    if not isinstance(update, Descend):
        return Text.assemble(update.name, (" overwrites what it returns, without a gradient", "dim"))
    by_rate: dict[str, list[str]] = {}
    for name, rate in update.rates().items():
        by_rate.setdefault(rate, []).append(name)
    moves = "; ".join(f"{', '.join(names)} at {rate}" for rate, names in by_rate.items())
    return Text.assemble(f"{update.name}: {' + '.join(terms)}", (f"\ntrains {moves} ({type(update.optimizer).__name__})", "dim"))


def checks(found: Sequence[Check]) -> Table:
    """`tuner doctor`: what was found, and below it what to do."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        said = Text(one.said)
        if one.todo:
            said.append(f"\n→ {one.todo}", style="dim")
        table.add_row(one.name, Text(one.state, style={"ok": "green", "note": "cyan", "problem": "bold red"}[one.state]), said)
    return table


def names_table(rows: Iterable[tuple[str, str]]) -> Table:
    """`tuner models`, `tuner spaces`."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, what in rows:
        table.add_row(name, what)
    return table

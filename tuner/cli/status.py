"""`tuner status`: the searches that run here, as their folders tell it, and those that were submitted to a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.runs.lock import Holder
from tuner.runs.results import Results
from tuner.runs.standing import Progress, over_of
from tuner.text import counted, duration, number, settings

from .results_view import searched_names
from .tables import facts, list_table, states

if TYPE_CHECKING:
    from tuner.machines.jobs import Job


BAR = 16  # columns
RUNNING = 12  # trials that are listed


# --- in words ----------------------------------------------------------------------------------------------------------


def running_table(found: Sequence[Progress], *, bars: bool) -> Table:
    """One line per search. `bars`: for a terminal."""
    table = list_table()
    for name in ("run", "trials", "running", "best so far", "since", "process"):
        table.add_column(name, no_wrap=name != "process", justify="right" if name == "running" else "left")
    for one in found:
        count = Text(f"{one.over}/{one.planned}")
        done: RenderableType = count
        if bars:
            done = Table.grid(padding=(0, 1))
            done.add_row(ProgressBar(total=max(one.planned, 1), completed=one.over, width=BAR), count)
        running = sum(trial.state == "running" for trial in (one.confirming or one.results).trials)
        run = Text.assemble((one.results.name, "bold"), f", confirming {_trained(one.confirming)}" if one.confirming else "")
        table.add_row(run, done, str(running), _best(one.results), _since(one.holder), _process(one.holder))
    return table


def run_facts(one: Progress) -> Iterator[RenderableType]:
    """One search in full."""
    results = one.results
    spec = results.spec_json
    about = f", {spec.get('model')} on {spec.get('dataset', {}).get('name')}, {spec.get('method')}, seed {spec.get('seed')}"
    yield Text.assemble((f"{results.name}: {results.status if one.holder is None else 'running'}", "bold"), about)
    rows: list[tuple[str, RenderableType]] = []
    if one.holder is not None:
        rows.append(("driver", Text.assemble(_process(one.holder), ", since ", _since(one.holder))))
    ended = {state: sum(trial.is_over and trial.state == state for trial in results.trials) for state in results.counts()}
    rows.append(("ended", Text(f"{one.over} of {counted(one.planned, 'trial')}: " if one.over else f"0 of {one.planned}") + states(ended)))
    rows += [("", sentence) for sentence in results.in_sentences()]
    best = results.best()
    if best is not None:
        rows.append(("best", Text.assemble(_best(results), f"  {settings(best.config, searched_names(spec))}")))
    if one.confirming is not None:
        rows.append(("confirming", f"{_trained(one.confirming)} trainings on fresh seeds"))
    rows += [("running" if i == 0 else "", line) for i, line in enumerate(_running(one.confirming or results))]
    if one.waiting:
        rows.append(("orders", f"{one.waiting} not taken up yet"))
    yield facts(rows)


def _trained(confirming: Results) -> str:
    """`7/20`"""
    return f"{over_of(confirming)}/{confirming.spec_json.get('trials', '?')}"


def _running(results: Results) -> Iterator[RenderableType]:
    running = [trial for trial in results.trials if trial.state == "running"]
    for trial in running[:RUNNING]:
        value = trial.metrics.get(results.metric)
        score = "" if value is None else f"  {results.metric} {number(value, results.metric)}"
        yield Text(f"trial {trial.trial}  {counted(trial.epochs, 'epoch')}{score}")
    if len(running) > RUNNING:
        yield Text(f"and {len(running) - RUNNING} more")


def _best(results: Results) -> Text:
    best = results.best()
    if best is None:
        return Text("–", style="dim")
    score = (f"{results.metric} {number(best.score, results.metric)}", "green")
    return Text.assemble(score, (f"  trial {best.trial}", "dim"))


def _since(holder: Holder | None) -> str:
    if holder is None:
        return "–"
    seconds = max(0.0, time.time() - holder.since)
    began = time.strftime("%H:%M" if seconds < 12 * 3600 else "%b %d %H:%M", time.localtime(holder.since))
    return f"{began} ({duration(seconds)})"


def _process(holder: Holder | None) -> str:
    return "–" if holder is None else f"{holder.pid}@{holder.host}"


def jobs_table(found: Sequence[tuple[Job, str]]) -> Table:
    """One line per submitted search, with what it said last."""
    table = list_table()
    for name in ("run", "state", "for", "last words"):
        table.add_column(name, no_wrap=name != "last words", overflow="fold")
    for job, words in found:
        since = duration((job.ended or time.time()) - job.began) if job.began else "–"
        style = {"done": "green", "running": "cyan", "failed": "red", "stopped": "magenta"}.get(job.state, "")
        table.add_row(job.name, Text(job.state, style=style), since, Text(words))
    return table

"""What `tuner search`, `tuner resume` and `tuner confirm` print at their end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from .options import INTERRUPTED, OURS, as_typed, new_console, say

if TYPE_CHECKING:
    from tuner.service.driver import Outcome
    from tuner.service.page import Page
    from tuner.stores.uploads import Sent


def print_finished(outcome: Outcome, console: Console) -> None:
    """Says that there was nothing left to run, and how to run more."""
    from tuner.runs.configurations import grouped

    spec, trials = outcome.run.spec, outcome.results.trials
    count = len(grouped(trials))
    have_ended = f"{count} trials have ended" if spec.seeds.single else f"{count} configurations, {len(trials)} trials, have ended"
    because = outcome.results.because
    left = because or ("every configuration of its space was tried" if count < spec.trials else have_ended)
    more = "" if count < spec.trials and because is None else f" More: tuner resume {as_typed(outcome.folder)} --trials +{count}"
    say(console, f"{outcome.folder.name} is finished: {left}.{more}")
    print_uploads(outcome.sent, outcome.folder, console)


def print_end(outcome: Outcome, console: Console) -> None:
    """Prints the tables at the end of a search; raises its exit code where it is not 0."""
    from .results_view import outcome_view, written

    results = outcome.results
    console.print()
    for part in outcome_view(results):
        console.print(part)
    if outcome.confirmed is not None:
        from .confirm_view import print_confirmed

        print_confirmed(outcome.confirmed, console)
    console.print()
    for part in written(outcome.folder):
        console.print(part)
    print_page(outcome.page, console)
    print_uploads(outcome.sent, outcome.folder, console)
    if outcome.confirmed is not None:
        from .confirm_view import end_of_confirmation

        end_of_confirmation(outcome.confirmed)
    by_rule = results.because is not None and outcome.status == results.status
    if by_rule:
        _print_going_on(outcome, console)
    _raise_unless_done(outcome, console, by_rule=by_rule)


def _raise_unless_done(outcome: Outcome, console: Console, *, by_rule: bool) -> None:
    """Says why a search is not done, and raises the exit code. `by_rule`: one of its own stopped it."""
    from tuner.text import counted

    results = outcome.results
    if outcome.status == "stopped" and not by_rule:
        ended = sum(trial.is_over for trial in results.trials)
        kept = f"{counted(ended, 'trial')} had ended. Every epoch is kept, also of those that had not."
        console.print()
        say(new_console(stderr=True), f"Interrupted: {kept} To go on: tuner resume {as_typed(outcome.folder)}")
        raise typer.Exit(INTERRUPTED)
    if outcome.reason is not None:
        say(new_console(stderr=True), f"Given up: {outcome.reason}. What is above was kept.")
        raise typer.Exit(OURS)
    reasons = {trial.reason for trial in results.trials if trial.state == "failed"}
    if results.trials and results.counts()["failed"] == len(results.trials):
        why = next(iter(reasons)) if len(reasons) == 1 else f"for {len(reasons)} reasons, the first: {results.trials[0].reason}"
        every = f"all {counted(len(results.trials), 'trial')}" if len(results.trials) > 1 else "the only trial"
        say(new_console(stderr=True), f"Nothing was found: {every} failed: {why}")
        raise typer.Exit(OURS)
    if outcome.status == "failed":
        say(new_console(stderr=True), "The search failed before all its trials were run. What is above was kept.")
        raise typer.Exit(OURS)


def _print_going_on(outcome: Outcome, console: Console) -> None:
    """How a search goes on that one of its rules has ended."""
    console.print()
    more = "" if outcome.status == "stopped" else " --trials +10"
    kept = "What was training is kept, and goes on then. " if outcome.status == "stopped" else ""
    say(console, f"{kept}To go on: tuner resume {as_typed(outcome.folder)}{more}")


def print_page(page: Page | None, console: Console) -> None:
    """Names the page that was written, and says what became of it in W&B; nothing where none was."""
    from tuner.text import near

    if page is not None:
        say(console, f"Report: {near(page.file)}")
        for line in page.said:
            say(console, line)


def print_uploads(sent: Sent | None, folder: Path, console: Console) -> None:
    """Says what a run's store lacks of it; nothing where it has none."""
    from tuner.text import near

    if sent is None:
        return
    if not sent.missing:
        say(console, f"Everything is in {sent.place}/ too.")
        return
    shown = ", ".join(sent.missing[:5]) + (f" and {len(sent.missing) - 5} more" if len(sent.missing) > 5 else "")
    say(
        new_console(stderr=True),
        f"Missing or outdated in {sent.place}/: {shown}. To send them: tuner resume {near(folder)}",
    )

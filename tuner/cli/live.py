"""What a search shows while it runs: one calm display in a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuner.runs.progress import Progress, Trial, amount
from tuner.space.scores import SCORES
from tuner.stores.store import Store
from tuner.text import counted, duration, megabytes, near, number, settings

from .tables import states

if TYPE_CHECKING:
    from tuner.runs.events import Run, TrialEnd
    from tuner.runs.records import EpochLine


PER_SECOND = 2  # redraws
QUIET_S = 30  # without a terminal a line of progress appears after so long without another
SHOWN_FAILURES = 3  # above the display; all are in the journal
SHOWN_TRIALS = 8  # of those that run


class Display:
    """Shows a search as it goes on. Other lines may be printed on the same console meanwhile: they appear above the display."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.RLock()  # rich redraws from a thread of its own
        self._live: Live | None = None
        self._last_line = 0.0

    # --- the events of a search ---

    def search_started(self, run: Run) -> None:
        self._progress = Progress(run)
        for line in opening(self._progress):
            self._say(line)
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=PER_SECOND, transient=True)
            self._live.start()

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        with self._lock:
            self._progress.begin(trial, config)

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        with self._lock:
            self._progress.advance(trial, line, time.monotonic())
        if self._live is None and time.monotonic() - self._last_line > QUIET_S:
            self._say(progress_line(self._progress))

    def trial_ended(self, end: TrialEnd) -> None:
        with self._lock:
            text = ended_line(self._progress, end, best=self._progress.end(end))
        if self._live is None or (end.state == "failed" and self._progress.ends["failed"] <= SHOWN_FAILURES):
            self._say(text)

    def search_ended(self, status: str) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _say(self, text: Text) -> None:
        self._last_line = time.monotonic()
        self.console.print(text, soft_wrap=not self.console.is_terminal)  # a log's lines are as long as they are

    def _render(self) -> RenderableType:
        with self._lock:
            return render(self._progress, self.console.width)


# --- in words ---


def ended_line(progress: Progress, end: TrialEnd, *, best: bool) -> Text:
    """A trial's end in a line."""
    text = Text(f"[{duration(progress.seconds())}] trial {end.trial} ").append_text(states({end.state: 1})[2:])
    text.append(f" after {counted(end.epochs, 'epoch')} in {duration(end.seconds)}")
    if end.score is not None:
        text.append(f": {progress.spec.metric.name} {number(end.score, progress.spec.metric.name)}")
    if best:
        text.append(", the best so far", style="bold")
    return text.append(f": {end.reason}" if end.reason else "")


def opening(progress: Progress) -> list[Text]:
    spec, info = progress.spec, progress.run.info
    what = f"{progress.run.name}: {amount(spec)} of {spec.model} on {spec.dataset.name}"
    lines = [
        Text.assemble((what, "bold"), f", by {' and '.join(spec.objectives)} {SCORES[spec.score].words}, in {near(progress.run.folder)}/")
    ]
    if progress.run.past is not None:
        open_, over = len(progress.run.past.open), progress.ended
        lines.append(Text(f"Resumed: {counted(over, 'trial')} had ended, {counted(open_, 'interrupted trial')} will go on."))
    if info.get("uri"):
        lines.append(Text(f"Sent to {Store(info['uri']).place}/ as it goes on"))
    if "checkpoints" in info:
        lines.append(Text(f"Checkpoints take up to {megabytes(info['checkpoints'])} of disk while it runs."))
    dashboard = info.get("dashboard")
    if dashboard:
        lines.append(Text(f"Ray dashboard: {dashboard['url']} ({dashboard['login']})"))
    return lines


def progress_line(progress: Progress) -> Text:
    """One line of progress."""
    ended = f"{progress.ended} of {counted(progress.spec.most_trials, 'trial')} ended"
    return Text(f"[{duration(progress.seconds())}] {ended}, {len(progress.running)} running, {pace(progress)}")


def pace(progress: Progress) -> str:
    if progress.epochs < 2:
        return "starting"
    left = progress.seconds_left()
    return f"{progress.speed():.1f} epochs/s" + (f", about {duration(left)} left" if left is not None else "")


def render(progress: Progress, width: int) -> RenderableType:
    """The display, of the same height as long as the best trial stays the same."""
    spec = progress.spec
    head = Table.grid(padding=(0, 1))
    head.add_column(no_wrap=True)
    head.add_column(no_wrap=True)
    head.add_row(
        ProgressBar(total=spec.most_trials, completed=progress.ended, width=max(width // 3, 10)),
        Text(f"{progress.ended}/{spec.most_trials} trials  {duration(progress.seconds())}  {pace(progress)}"),
    )
    counts = Text(f"{len(progress.running)} running · ").append_text(states(progress.ends, always=("complete", "pruned", "failed")))
    return Group(head, counts, *_best(progress), *_running(progress, width))


def _best(progress: Progress) -> list[RenderableType]:
    if progress.best is None:
        return [Text("no trial is complete yet", style="dim")]
    config = settings(progress.best.config, [found.name for found in progress.spec.searched()])
    score = (f"{progress.spec.metric.name} {number(progress.best.score, progress.spec.metric.name)}", "bold green")
    return [Text.assemble(("best ", "dim"), score, f"  trial {progress.best.trial}  {config}")]


def _running(progress: Progress, width: int) -> list[RenderableType]:
    """As many trials to a line as fit, in the order of their numbers."""
    shown = sorted(progress.running.items())[:SHOWN_TRIALS]
    cells = [_cell(number_, trial, progress.spec.metric.name) for number_, trial in shown]
    if len(progress.running) > len(shown):
        cells.append(f"and {len(progress.running) - len(shown)} more")
    columns = max(1, (width + 3) // (max((len(cell) for cell in cells), default=1) + 3))
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return [Text(" · ".join(line), style="dim", no_wrap=True, overflow="ellipsis") for line in lines]


def _cell(number_: int, trial: Trial, metric: str) -> str:
    """`#12  8/30 acc 0.7123`, as wide at the beginning as at the end"""
    width = len(str(trial.planned))
    value = number(trial.value, metric) if trial.value is not None else "–"
    return f"#{number_} {trial.epoch:>{width}}/{trial.planned} {metric} {value:<6}"

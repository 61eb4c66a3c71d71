"""What a search shows while it runs: one calm display in a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .store import Store
from .tables import RULES, counted, duration, megabytes, near, number, settings, states

if TYPE_CHECKING:
    from .record import Run, TrialEnd

PER_SECOND = 2  # redraws
WINDOW_S = 30  # over which the speed is counted
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
        for line in self._progress.opening():
            self._say(line)
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=PER_SECOND, transient=True)
            self._live.start()

    def trial_started(self, trial: int, config: Mapping[str, Any]) -> None:
        with self._lock:
            self._progress.begin(trial, config)

    def epoch_ended(self, trial: int, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._progress.advance(trial, line, time.monotonic())
        if self._live is None and time.monotonic() - self._last_line > QUIET_S:
            self._say(self._progress.line())

    def trial_ended(self, end: TrialEnd) -> None:
        with self._lock:
            text = self._progress.end(end)
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
            return self._progress.render(self.console.width)


class Progress:
    """What the display knows of a search: counts, the best trial, what runs, and how fast."""

    def __init__(self, run: Run) -> None:
        self.run, self.spec = run, run.spec
        self.ends: Counter[str] = Counter()
        self.running: dict[int, Trial] = {}
        self.best: TrialEnd | None = None
        self.epochs = 0
        self._ended_epochs = 0
        self._began = time.monotonic()
        self._first_epoch: float | None = None
        self._recent: deque[float] = deque()  # when the epochs of the last `WINDOW_S` seconds ended
        for end in run.past.ends if run.past else ():
            self.end(end)

    # --- events ---

    def begin(self, trial: int, config: Mapping[str, Any]) -> None:
        self.running[trial] = Trial(config, self._planned(config))

    def advance(self, trial: int, line: Mapping[str, Any], now: float) -> None:
        if self._first_epoch is None:
            self._first_epoch = now
        self.epochs += 1
        self._recent.append(now)
        if trial in self.running:
            self.running[trial].advance(line, self.spec.metric.name)

    def end(self, end: TrialEnd) -> Text:
        """Takes the end in, and says it in a line."""
        self.running.pop(end.trial, None)
        self.ends[end.state] += 1
        self._ended_epochs += end.epochs
        better = end.state == "complete" and end.score is not None and (self.best is None or self._better(end.score, self.best.score))
        if better:
            self.best = end
        text = Text(f"[{duration(time.monotonic() - self._began)}] trial {end.trial} ").append_text(states({end.state: 1})[2:])
        text.append(f" after {counted(end.epochs, 'epoch')} in {duration(end.seconds)}")
        if end.score is not None:
            text.append(f": {self.spec.metric.name} {number(end.score, self.spec.metric.name)}")
        if better:
            text.append(", the best so far", style="bold")
        return text.append(f": {end.reason}" if end.reason else "")

    def _better(self, score: float, than: float | None) -> bool:
        return than is None or (score > than if self.spec.metric.goal == "maximize" else score < than)

    def _planned(self, config: Mapping[str, Any]) -> int:
        """All epochs that the trial would have, pre-training included."""
        from .loop import planned_epochs
        from .model import load_model

        return planned_epochs(load_model(self.spec.model), self.spec.hyper({k: v for k, v in config.items() if k != "seed"}))[0]

    # --- what follows from them ---

    @property
    def ended(self) -> int:
        return sum(self.ends.values())

    def speed(self) -> float:
        """Epochs per second of late, all trials together."""
        now = time.monotonic()
        while self._recent and now - self._recent[0] > WINDOW_S:
            self._recent.popleft()
        if self._first_epoch is None or len(self._recent) < 2:
            return 0.0
        return len(self._recent) / max(min(now - self._first_epoch, WINDOW_S), 1e-3)

    def seconds_left(self) -> float | None:
        """An estimate: that the trials to come are as long as those that ended, and one of full length, were on average."""
        if self._first_epoch is None or not self.running or self.epochs < 2:  # one epoch has no duration yet
            return None
        longest = max(trial.planned for trial in self.running.values())
        length = (self._ended_epochs + longest) / (self.ended + 1)
        waiting = max(self.spec.trials - self.ended - len(self.running), 0)
        to_do = waiting * length + sum(max(length - trial.epoch, 1) for trial in self.running.values())
        rate = self.epochs / max(time.monotonic() - self._first_epoch, 1e-3)
        return to_do / rate if rate else None

    # --- in words ---

    def opening(self) -> list[Text]:
        spec, info = self.spec, self.run.info
        what = f"{self.run.name}: {counted(spec.trials, 'trial')} of {spec.model} on {spec.dataset.name}"
        lines = [Text.assemble((what, "bold"), f", by {spec.metric.name} {RULES[spec.score]}, in {near(self.run.folder)}/")]
        if self.run.past is not None:
            open_, over = len(self.run.past.open), self.ended
            lines.append(Text(f"Resumed: {counted(over, 'trial')} had ended, {counted(open_, 'interrupted trial')} will go on."))
        if info.get("uri"):
            lines.append(Text(f"Sent to {Store(info['uri']).place}/ as it goes on"))
        if "checkpoints" in info:
            lines.append(Text(f"Checkpoints take up to {megabytes(info['checkpoints'])} of disk while it runs."))
        dashboard = info.get("dashboard")
        if dashboard:
            lines.append(Text(f"Ray dashboard: {dashboard['url']} ({dashboard['login']})"))
        return lines

    def line(self) -> Text:
        """One line of progress."""
        ended = f"{self.ended} of {counted(self.spec.trials, 'trial')} ended"
        return Text(f"[{duration(time.monotonic() - self._began)}] {ended}, {len(self.running)} running, {self.pace()}")

    def pace(self) -> str:
        if self.epochs < 2:
            return "starting"
        left = self.seconds_left()
        return f"{self.speed():.1f} epochs/s" + (f", about {duration(left)} left" if left is not None else "")

    def render(self, width: int) -> RenderableType:
        """The display, of the same height as long as the best trial stays the same."""
        spec = self.spec
        head = Table.grid(padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(no_wrap=True)
        head.add_row(
            ProgressBar(total=spec.trials, completed=self.ended, width=max(width // 3, 10)),
            Text(f"{self.ended}/{spec.trials} trials  {duration(time.monotonic() - self._began)}  {self.pace()}"),
        )
        counts = Text(f"{len(self.running)} running · ").append_text(states(self.ends, always=("complete", "pruned", "failed")))
        return Group(head, counts, *self._best(), *self._running(width))

    def _best(self) -> list[RenderableType]:
        if self.best is None:
            return [Text("no trial is complete yet", style="dim")]
        config = settings(self.best.config, [found.name for found in self.spec.searched()])
        score = (f"{self.spec.metric.name} {number(self.best.score, self.spec.metric.name)}", "bold green")
        return [Text.assemble(("best ", "dim"), score, f"  trial {self.best.trial}  {config}")]

    def _running(self, width: int) -> list[RenderableType]:
        """As many trials to a line as fit, in the order of their numbers."""
        shown = sorted(self.running.items())[:SHOWN_TRIALS]
        cells = [trial.cell(number_, self.spec.metric.name) for number_, trial in shown]
        if len(self.running) > len(shown):
            cells.append(f"and {len(self.running) - len(shown)} more")
        columns = max(1, (width + 3) // (max((len(cell) for cell in cells), default=1) + 3))
        lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        return [Text(" · ".join(line), style="dim", no_wrap=True, overflow="ellipsis") for line in lines]


class Trial:
    """A trial that runs."""

    def __init__(self, config: Mapping[str, Any], planned: int) -> None:
        self.config, self.planned = config, planned
        self.epoch, self.phase = 0, ""
        self.value: float | None = None

    def advance(self, line: Mapping[str, Any], metric: str) -> None:
        self.epoch, self.phase = line["epoch"], line["phase"]
        self.value = line["metrics"].get(metric)

    def cell(self, trial: int, metric: str) -> str:
        """`#12  8/30 acc 0.7123`, as wide at the beginning as at the end"""
        width = len(str(self.planned))
        value = number(self.value, metric) if self.value is not None else "–"
        return f"#{trial} {self.epoch:>{width}}/{self.planned} {metric} {value:<6}"

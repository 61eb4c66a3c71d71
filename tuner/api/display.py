"""What a search that was called from Python shows: in a notebook one block of text that is written again and again, plain lines anywhere
else. Neither needs widgets, an extension or a terminal."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.runs.events import Listener, Run, TrialEnd
from tuner.runs.progress import Progress, amount
from tuner.runs.records import EpochLine
from tuner.text import counted, duration, near, number
from tuner.trackers.modes import wandb_mode

if TYPE_CHECKING:
    from tuner.service.page import Page

QUIET_S = 30  # a line of progress appears after so long without another
REDRAW_S = 0.5
SHOWN_TRIALS = 8  # of those that run


class Lines:
    """A listener that prints how a search goes on."""

    def search_started(self, run: Run) -> None:
        self._progress, self._last = Progress(run), time.monotonic()
        print(title(self._progress), flush=True)

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        self._progress.begin(trial, config)

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._progress.advance(trial, line, time.monotonic())
        if time.monotonic() - self._last > QUIET_S:
            self._line(standing(self._progress))

    def trial_ended(self, end: TrialEnd) -> None:
        self._line(ended(self._progress, end, best=self._progress.end(end)))

    def search_ended(self, status: str) -> None:
        self._line(status)

    def _line(self, text: str) -> None:
        self._last = time.monotonic()
        print(f"[{duration(self._progress.seconds())}] {text}", flush=True)


class Block:
    """A listener that shows a search as one output of a notebook's cell, as Jupyter and VS Code can write one again."""

    def search_started(self, run: Run) -> None:
        from IPython.display import DisplayHandle

        self._progress, self._last = Progress(run), 0.0
        self._failures: list[str] = []
        self._handle = DisplayHandle()
        self._handle.display(self._content(None), raw=True)

    def trial_started(self, trial: int, config: dict[str, Any]) -> None:
        self._progress.begin(trial, config)
        self._redraw()

    def epoch_ended(self, trial: int, line: EpochLine) -> None:
        self._progress.advance(trial, line, time.monotonic())
        self._redraw()

    def trial_ended(self, end: TrialEnd) -> None:
        best = self._progress.end(end)
        if end.state == "failed":
            self._failures.append(ended(self._progress, end, best=best))
        self._redraw()

    def search_ended(self, status: str) -> None:
        self._handle.update(self._content(status), raw=True)

    def _redraw(self) -> None:
        now = time.monotonic()
        if now - self._last > REDRAW_S:
            self._last = now
            self._handle.update(self._content(None), raw=True)

    def _content(self, status: str | None) -> dict[str, str]:
        text = "\n".join([*block(self._progress, status), *self._failures])
        return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}


# --- in words ----------------------------------------------------------------------------------------------------------


def title(progress: Progress) -> str:
    spec, run = progress.spec, progress.run
    return f"{run.name}: {amount(spec)} of {spec.model} by {' and '.join(spec.objectives)}, in {near(run.folder)}/"


def standing(progress: Progress) -> str:
    """How far it is, in one line."""
    left = progress.seconds_left()
    about = "" if left is None else f", about {duration(left)} left"
    return f"{progress.ended} of {counted(progress.spec.most_trials, 'trial')} ended, {len(progress.running)} running{about}"


def ended(progress: Progress, end: TrialEnd, *, best: bool) -> str:
    metric = progress.spec.metric.name
    score = "" if end.score is None else f": {metric} {number(end.score, metric)}"
    why = f": {end.reason}" if end.reason else ""
    return f"trial {end.trial} {end.state} after {counted(end.epochs, 'epoch')}{score}{', the best so far' if best else ''}{why}"


def block(progress: Progress, status: str | None) -> list[str]:
    """All of it: a bar, the best trial, those that run. `status`: how the search ended; None while it runs."""
    spec, metric = progress.spec, progress.spec.metric.name
    filled = round(30 * progress.ended / max(1, spec.most_trials))
    took = duration(progress.seconds())
    lines = [title(progress), f"{'█' * filled}{'░' * (30 - filled)} {status or standing(progress)} · {took}"]
    counts = ", ".join(f"{n} {state}" for state, n in progress.ends.items() if n)
    lines += [counts] if counts else []
    best = progress.best
    if best is not None and best.score is not None:
        lines.append(f"best: trial {best.trial}, {metric} {number(best.score, metric)}")
    for trial, one in list(progress.running.items())[:SHOWN_TRIALS] if status is None else ():
        value = "" if one.value is None else f", {metric} {number(one.value, metric)}"
        lines.append(f"  trial {trial}: epoch {one.epoch}/{one.planned} {one.phase}{value}")
    return lines


# --- who hears of a search ---------------------------------------------------------------------------------------------


def print_said(page: Page | None, *, display: bool) -> None:
    """What became of a search's page in W&B."""
    for line in page.said if display and page is not None else ():
        print(line)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel, which alone can write an output again."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and getattr(shell, "kernel", None) is not None


def shown(*, display: bool) -> list[Listener]:
    """The display, if one is wanted."""
    if not display:
        return []
    return [Block() if in_notebook() else Lines()]


def heard_by(listeners: Sequence[Listener], wandb: str | None, *, display: bool) -> list[Listener]:
    """Everybody who hears of a search: the display, W&B, and the caller's own."""
    found, mode = shown(display=display), wandb_mode(wandb)
    if mode != "disabled":
        from tuner.trackers.wandb import WandbRuns

        found.append(WandbRuns(mode, say=print if display else lambda text: None))
    return [*found, *listeners]

"""Captures what code prints, logs and warns of while trials train, so that each trial has a log of its own.

A line is `{"time", "level", "message", "node", "pid"}`: seconds since 1970 by this machine's clock, logging's name of the level or
`PRINT`. Captures WARNING and above from all loggers, INFO and above from ours. Output is still printed. What a library written in C
prints past Python's `sys.stdout` is not captured.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

LINES = 100  # are kept for a trial until they are taken, which is once per epoch; the rest is counted
LONGEST = 10_000  # characters of a message
OURS = "tuner"  # the logger that is captured from INFO on, with those below it: a model's is `tuner.models.NAME`

Line = dict[str, Any]


class Captured:
    """The lines captured for one trial since they were last taken."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._left_out = 0
        self._warnings: set[str] = set()

    def warn(self, message: str) -> None:
        """Adds a warning once, as Python shows it once."""
        if message not in self._warnings:
            if len(self._warnings) < LINES:  # there may be a number in each of them
                self._warnings.add(message)
            self.add("WARNING", message)

    def add(self, level: str, message: str) -> None:
        if len(self._lines) >= LINES:
            self._left_out += 1
            return
        self._lines.append(_line(level, message if len(message) <= LONGEST else f"{message[:LONGEST]} … of {len(message)} characters"))

    def add_lines(self, lines: Sequence[Line]) -> None:
        """Adds the lines of another process, which has limited them already."""
        self._lines += lines

    def take(self) -> list[Line]:
        lines, self._lines = self._lines, []
        if self._left_out:
            lines.append(_line("WARNING", f"{self._left_out} further lines of this epoch were not kept"))
            self._left_out = 0
        return lines


def _line(level: str, message: str) -> Line:
    return {"time": round(time.time(), 3), "level": level, "message": message, "node": platform.node(), "pid": os.getpid()}


# --- for which trials ------------------------------------------------------------------------------------------------------

# Of the whole process, not of a thread: what threads print that a library starts to train with is captured as well.
_training: list[tuple[Captured | None, ...]] = []
_streams: tuple[_Stream, ...] = ()
_installed = contextlib.ExitStack()  # while anything is captured


@contextlib.contextmanager
def captured_for(*trials: Captured | None) -> Iterator[None]:
    """Captures output for all of these trials until the context ends. Within another such context, this one replaces it."""
    if not any(trial is not None for trial in trials):
        yield
        return
    with warnings.catch_warnings():  # Python shows a warning once per process, and at the end of this forgets which it has shown
        pass
    if not _training:
        _installed.enter_context(_capturing())
    _end_lines()
    _training.append(trials)
    try:
        yield
    finally:
        _end_lines()
        # Not simply the last: of two threads that train, the first to begin may be the first to end.
        del _training[max(i for i, one in enumerate(_training) if one is trials)]
        if not _training:
            _installed.close()


def captured_for_slot(slot: int) -> contextlib.AbstractContextManager[None]:
    """Captures output for one of the trials that `captured_for` was given, the one at this position, until the context ends."""
    return captured_for(*(_training[-1][slot : slot + 1] if _training else ()))


def add_lines(lines: Sequence[Line]) -> None:
    """Adds the lines of another process to the trials that output is captured for."""
    for trial in _current():
        trial.add_lines(lines)


def _add(level: str, message: str) -> None:
    for trial in _current():
        trial.add(level, message)


def _current() -> Iterator[Captured]:
    yield from (trial for trial in (_training[-1] if _training else ()) if trial is not None)


def _end_lines() -> None:
    for stream in _streams:
        stream.end_line()


# --- where output is captured ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _capturing() -> Iterator[None]:
    global _streams
    if logging.getLogger(OURS).level == logging.NOTSET:  # set once and left: every change costs all loggers what they have cached
        logging.getLogger(OURS).setLevel(logging.INFO)
    records, shown = _Records(), warnings.showwarning
    records.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    out, err = _streams = _Stream(sys.stdout), _Stream(sys.stderr)

    # Not `logging.captureWarnings`: with it a warning would not be shown any more, or recorded by the program that trains.
    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None) -> None:
        for trial in _current():
            trial.warn(f"{category.__name__}: {message} ({filename}:{lineno})")
        shown(message, category, filename, lineno, file or err.stream, line)

    logging.getLogger().addHandler(records)
    warnings.showwarning = show
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        warnings.showwarning = shown
        logging.getLogger().removeHandler(records)
        _streams = ()


class _Records(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.name.partition(".")[0] == OURS:
            _add(record.levelname, self.format(record))


class _Stream:
    """Writes to a stream and captures its lines. Of a line that was overwritten, as progress bars are, it keeps the last version."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        self.stream.write(text)
        *lines, begun = (self._begun + text).split("\n")
        for line in lines:
            self._end(line)
        self._begun = _last_version(begun)
        if len(self._begun) >= LONGEST:
            self.end_line()
        return len(text)

    def end_line(self) -> None:
        line, self._begun = self._begun, ""
        self._end(line)

    def _end(self, line: str) -> None:
        line = _last_version(line).rstrip()
        if line:
            _add("PRINT", line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _last_version(line: str) -> str:
    return line[line.rstrip("\r").rfind("\r") + 1 :]


# --- with a failure ------------------------------------------------------------------------------------------------------


def attach(captured: Captured, error: BaseException) -> None:
    """Puts the captured lines on the error: an epoch that fails returns nothing else that could bring them to the driver."""
    lines = captured.take()
    if lines:
        with contextlib.suppress(AttributeError, TypeError):  # a class of exception may forbid it
            _cause(error).captured = lines  # type: ignore[attr-defined]


def attached(error: BaseException) -> list[Line]:
    """The lines that `attach` put on an error, in the process to which Ray has brought it."""
    found: list[Line] = getattr(_cause(error), "captured", [])
    return found


def _cause(error: BaseException) -> BaseException:
    """Ray wraps what was raised in another process, and keeps only this where that is raised once more."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error

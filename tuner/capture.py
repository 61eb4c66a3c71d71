"""What a process says while it trains: log records, warnings, and what the code prints; collected for the trials that it is said of.

A line is `{"time", "level", "message", "node", "pid"}`: seconds since 1970 by this machine's clock, logging's name of the level or
`PRINT`. Records count from WARNING on, our own and the models' from INFO on. What is said goes where it went before, too. What a
library written in C prints past Python's `sys.stdout` is not heard.
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

LINES = 100  # are kept of what is said for a trial between two takings, which is an epoch; the rest is counted
LONGEST = 10_000  # characters of a message
OURS = ("tuner", "models")  # loggers that are heard from INFO on, with those below them

Line = dict[str, Any]


class Said:
    """What was said for one trial, until somebody takes it."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._left_out = 0
        self._warnings: set[str] = set()

    def warn(self, message: str) -> None:
        """A warning is told once, as Python shows it."""
        if message not in self._warnings:
            if len(self._warnings) < LINES:  # there may be a number in each of them
                self._warnings.add(message)
            self.add("WARNING", message)

    def add(self, level: str, message: str) -> None:
        if len(self._lines) >= LINES:
            self._left_out += 1
            return
        self._lines.append(_line(level, message if len(message) <= LONGEST else f"{message[:LONGEST]} … of {len(message)} characters"))

    def pass_on(self, lines: Sequence[Line]) -> None:
        """Adds what another process said, as much as that one kept."""
        self._lines += lines

    def take(self) -> list[Line]:
        lines, self._lines = self._lines, []
        if self._left_out:
            lines.append(_line("WARNING", f"{self._left_out} further lines of this epoch were not kept"))
            self._left_out = 0
        return lines


def _line(level: str, message: str) -> Line:
    return {"time": round(time.time(), 3), "level": level, "message": message, "node": platform.node(), "pid": os.getpid()}


# --- who hears -----------------------------------------------------------------------------------------------------------

_hearers: list[tuple[Said | None, ...]] = []  # of this process: threads that a library starts to train with are heard as well
_streams: tuple[_Stream, ...] = ()
_open = contextlib.ExitStack()  # while anybody hears


@contextlib.contextmanager
def heard_by(*trials: Said | None) -> Iterator[None]:
    """While it lasts, these trials train, and each is told what is said. Within another one it takes its place."""
    if not any(trial is not None for trial in trials):
        yield
        return
    with warnings.catch_warnings():  # Python shows a warning once per process, and at the end of this forgets which it has shown
        pass
    if not _hearers:
        _open.enter_context(_listening())
    _end_lines()
    _hearers.append(trials)
    try:
        yield
    finally:
        _end_lines()
        # Not simply the last: of two threads that train, the first to come may be the first to go.
        del _hearers[max(i for i, one in enumerate(_hearers) if one is trials)]
        if not _hearers:
            _open.close()


def _hearing() -> tuple[Said | None, ...]:
    return _hearers[-1] if _hearers else ()


def heard_alone(slot: int) -> contextlib.AbstractContextManager[None]:
    """While it lasts, code runs for one of the trials that `heard_by` was given: the one at this place."""
    return heard_by(*_hearing()[slot : slot + 1])


def pass_on(lines: Sequence[Line]) -> None:
    """Tells whoever hears what another process said."""
    for trial in _hearing():
        if trial is not None:
            trial.pass_on(lines)


def _say(level: str, message: str) -> None:
    for trial in _hearing():
        if trial is not None:
            trial.add(level, message)


def _end_lines() -> None:
    for stream in _streams:
        stream.end_line()


# --- hearing -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    global _streams
    for logger in map(logging.getLogger, OURS):
        if logger.level == logging.NOTSET:  # set once and left: every change costs all loggers what they have cached
            logger.setLevel(logging.INFO)
    records, shown = _Records(), warnings.showwarning
    records.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    out, err = _streams = _Stream(sys.stdout), _Stream(sys.stderr)

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None) -> None:
        for trial in _hearing():
            if trial is not None:
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
        if record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS:
            _say(record.levelname, self.format(record))


class _Stream:
    """Passes on what is written to a stream, and says its lines; of one that was written over, as progress bars are, the last form."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        self.stream.write(text)
        *lines, begun = (self._begun + text).split("\n")
        for line in lines:
            self._end(line)
        self._begun = _last_form(begun)
        if len(self._begun) >= LONGEST:
            self.end_line()
        return len(text)

    def end_line(self) -> None:
        line, self._begun = self._begun, ""
        self._end(line)

    def _end(self, line: str) -> None:
        line = _last_form(line).rstrip()
        if line:
            _say("PRINT", line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _last_form(line: str) -> str:
    return line[line.rstrip("\r").rfind("\r") + 1 :]


# --- with a failure ------------------------------------------------------------------------------------------------------


def hand_over(said: Said, error: BaseException) -> None:
    """Lets an error carry what was said before it: it is all that comes of an epoch that fails."""
    lines = said.take()
    if lines:
        with contextlib.suppress(AttributeError, TypeError):  # a class of exception may forbid it
            _cause(error).said = lines  # type: ignore[attr-defined]


def handed_over(error: BaseException) -> list[Line]:
    """What an error carries that Ray has brought from the process where it was raised."""
    found: list[Line] = getattr(_cause(error), "said", [])
    return found


def _cause(error: BaseException) -> BaseException:
    """Ray wraps what was raised in another process, and keeps only this where that is raised once more."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error

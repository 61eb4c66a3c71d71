"""The command line. Commands import what they need when they run: `tuner --help` must not wait for torch or Ray."""

from __future__ import annotations

import errno
import select
import sys
import tempfile
import traceback
from collections.abc import Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tuner import __version__
from tuner.errors import UserError, did_you_mean, readable
from tuner.own_import import in_own_words, own_frames

from . import assign, cluster, confirm, export, look, own, report, reproduce, search, simulate, steer, train
from .options import DONE, INTERRUPTED, OURS, THEIRS, new_console

app = typer.Typer(
    name="tuner",
    help="Hyper-parameter search for deep clustering, with Ray Tune, Optuna and Weights & Biases.",
    epilog="Start with:  [bold]tuner search --space aae_unsup[/bold]   or, without Ray:  [bold]tuner train dec --epochs 5[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order of `tuner --help`.
for part in (search, confirm, report, reproduce, simulate, train, assign, export, look, own, steer, cluster):
    app.add_typer(part.commands)


def _version(given: bool) -> None:
    if given:
        typer.echo(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False) -> None:
    pass


@cache
def _command() -> Any:
    """What the signatures of all commands come to: reading them takes longer than most of the commands."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 our fault, 2 the user's, 130 interrupted."""
    err = new_console(stderr=True)
    try:
        Path.cwd()  # torch dies of a missing one, with a message about something else
    except FileNotFoundError:
        _complain(err, "The folder in which this runs is gone. Change into one that exists.")
        return THEIRS
    try:
        code = _command()(args=None if arguments is None else list(arguments), prog_name="tuner", standalone_mode=False)
    except UserError as error:
        _complain(err, str(error))
        return THEIRS
    except (KeyboardInterrupt, typer.Abort):
        err.print("Interrupted.")
        return INTERRUPTED
    except SystemExit as end:  # typer's way out of a pipe that was closed, whichever that was
        broken = end.__context__
        if not isinstance(broken, BrokenPipeError):
            raise
        return DONE if _reader_left(end) else _our_fault(err, broken)
    except OSError as error:
        if error.errno not in _THEIR_FILES:
            return _our_fault(err, error)
        _complain(err, f"{error.filename or 'A file'} cannot be used: {error.strerror}.")
        return THEIRS
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of click's, which newer versions of typer carry inside themselves
            _complain(err, _usage(error, list(sys.argv[1:] if arguments is None else arguments)))
            return THEIRS
        return _our_fault(err, error)
    return code if isinstance(code, int) else DONE


# Errors of the system about a path that was typed.
_THEIR_FILES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)


def _reader_left(end: SystemExit) -> bool:
    """Whether stdout is what was closed: by now, or at a help, which rich prints and then puts /dev/null in stdout's place."""
    if traceback.extract_tb(end.__traceback__)[-1].name == Console.on_broken_pipe.__name__:
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _complain(err: Console, message: str) -> None:
    err.print(Text.assemble(("error: ", "bold red"), readable(message)), soft_wrap=True)  # as one line can be searched for


def _usage(error: Any, arguments: list[str]) -> str:
    """click's message, with the nearest right name and the way to the help."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).replace("Value error, ", "")
    possible = getattr(error, "possibilities", None) or []
    if hasattr(error, "option_name") and "No such option" in message:
        known = [name for parameter in (context.command.params if context else []) for name in parameter.opts]
        message = f"There is no option {error.option_name}.{did_you_mean(error.option_name, possible or known)}"
    path = context.command_path if context else " ".join(["tuner", *takewhile(str.isalpha, arguments[:1])])
    stop = "" if message.rstrip()[-1:] in ".?!" else "."
    return f"{message.rstrip()}{stop} See `{path} --help`."


def _our_fault(err: Console, error: BaseException) -> int:
    if own_frames(error):
        _complain(err, in_own_words(error))
        return THEIRS
    with tempfile.NamedTemporaryFile("w", prefix="tuner-error-", suffix=".txt", delete=False) as file:
        file.write(f"tuner {__version__}: {' '.join(sys.argv)}\n\n")
        traceback.print_exception(error, file=file)
    what = traceback.format_exception_only(error)[-1].strip()
    _complain(err, f"{what}\nThis is a fault of tuner's, not yours. The traceback is in {file.name}: please report it.")
    return OURS

"""What the commands share: exit codes, the console, options with their help, and names that the shell completes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tuner import shipped
from tuner.data.names import ENDINGS, FORMATS, NAMES
from tuner.errors import UserError
from tuner.runs.paths import SPEC
from tuner.stores.lookup import RUNS
from tuner.stores.lookup import as_typed as as_typed  # commands have these from here
from tuner.stores.lookup import folder_and_uri as folder_and_uri
from tuner.stores.lookup import run_folder as run_folder

if TYPE_CHECKING:
    from tuner.space.reader import Options


# Exit codes: done (also where the reader of the output has left, as `| head` does), our fault, the user's fault, Ctrl-C.
DONE, OURS, THEIRS, INTERRUPTED = 0, 1, 2, 130


class OutputConsole(Console):
    """A console whose reader may go away. A command that only shows then ends quietly; one that acts, or whose exit code says
    something, is `lasting`: it goes on without output."""

    lasting = False

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # Python would flush into the pipe once more at the end
        if not self.lasting:
            raise typer.Exit(DONE)


def is_typed(context: typer.Context, parameter: str) -> bool:
    """Whether an option stands on the command line: one that an environment variable gives was not meant for this command."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def new_console(*, stderr: bool = False, lasting: bool = False) -> OutputConsole:
    """Prints text as it is: a formula's brackets are no markup. What stderr says ends no command."""
    console = OutputConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    console.lasting = lasting or stderr
    return console


def write(text: str) -> None:
    """Writes to stdout what programs read, or another program has written: neither wrapped nor styled."""
    new_console().out(text, end="")


def say(console: Console, text: str | Text) -> None:
    """Prints a sentence: wrapped at words in a terminal, one line anywhere else."""
    console.print(text, soft_wrap=not console.is_terminal)


class Wandb(StrEnum):
    online = "online"
    offline = "offline"
    disabled = "disabled"


def print_warnings(console: Console) -> None:
    """Prints our own warnings, one line each; a live display stays intact."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with suppress(OSError):  # the terminal was closed; the search goes on
                say(console, Text.assemble(("Warning: ", "yellow"), record.getMessage()))

    logger = logging.getLogger("tuner")
    logger.handlers[:] = [Lines(logging.WARNING)]
    logger.propagate = False


# --- names that the shell completes ------------------------------------------------------------------------------------


def complete_space(incomplete: str) -> Iterator[str]:
    yield from (name for name in shipped.files("search_spaces", ".yaml") if name.startswith(incomplete))
    yield from (str(path) for path in Path().glob(f"{incomplete}*.yaml"))


def complete_model(incomplete: str) -> Iterator[str]:
    yield from (name for name in shipped.files("models", ".py") if name.startswith(incomplete))


DATASETS = (*NAMES, *(f"{kind}:" for kind in FORMATS))


def complete_dataset(incomplete: str) -> Iterator[str]:
    yield from (name for name in DATASETS if name.startswith(incomplete))
    yield from (str(path) for ending in ENDINGS for path in Path().glob(f"{incomplete}*.{ending}"))


def complete_run(incomplete: str) -> Iterator[str]:
    yield from (path.parent.name for path in Path(RUNS).glob(f"{incomplete}*/{SPEC}"))


# --- runs ----------------------------------------------------------------------------------------------------------------


TRAINED = "A run's name or folder, or a search's best.yaml."
Trained = Annotated[str, typer.Argument(help=TRAINED, metavar="RUN|YAML", autocompletion=complete_run)]


def trained_model(run: str, out: str | None) -> Path:
    """The folder of a run, or the file, that has a trained model."""
    return Path(run) if run.endswith((".yaml", ".yml")) else run_folder(run, out)


# --- options that several commands have --------------------------------------------------------------------------------

WHAT = "A model's name, or a configuration such as a search's best.yaml."
RUN = "A run's name, or its folder."
SPACE = "A path, or the name of a space that comes with tuner."
Dataset = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(NAMES)}, openml:NAME, or the path of a file (see docs/data.md).", metavar="NAME", autocompletion=complete_dataset
    ),
]
Scale = Annotated[
    str | None, typer.Option(help="How values are scaled: minmax, minmax_all, standard, robust, log1p or none.", metavar="HOW")
]
Label = Annotated[str | None, typer.Option(help="The column, or array, of labels in a file; none: there are none.", metavar="COLUMN")]
Drop = Annotated[list[str] | None, typer.Option(help="Leave a column of a file out; may be repeated.", metavar="COLUMN")]
Id = Annotated[
    str | None, typer.Option("--id", help="The column that names a file's rows, and is left out; none: no column does.", metavar="COLUMN")
]
Samples = Annotated[str | None, typer.Option(help="The array of a file that holds the samples, where there are several.", metavar="NAME")]
Size = Annotated[str | None, typer.Option(help="Bring a folder's images to one size: 32, or 32x48 for height and width.", metavar="SIZE")]
Colours = Annotated[str | None, typer.Option(help="Read a folder's images as grey or rgb.", metavar="HOW")]
Header = Annotated[bool | None, typer.Option(help="Whether the first row of a csv is a header; found out otherwise.")]
Limit = Annotated[int | None, typer.Option(help="Use N samples only, always the same ones.", metavar="N")]
Trials = Annotated[int | None, typer.Option(help="Number of configurations to try.", metavar="N")]
Epochs = Annotated[int | None, typer.Option(help="Clustering epochs of a trial, at most.", metavar="N")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.", metavar="N")]
Hours = Annotated[
    float | None, typer.Option(help="Begin no trial after so many hours, and interrupt what trains; `tuner resume` goes on.", metavar="H")
]
From = Annotated[
    list[str] | None,
    typer.Option(
        "--from", help="Tell the sampler what an earlier run of this space found; may be repeated.", metavar="RUN",
        autocompletion=complete_run,
    ),
]  # fmt: skip
NoConfirm = Annotated[bool, typer.Option("--no-confirm", help="End with the last trial, whatever the space says under `confirm`.")]
Mlflow = Annotated[bool, typer.Option("--mlflow", help="Record the search in MLflow, too; the space's `mlflow` says where.")]
NoReport = Annotated[
    bool,
    typer.Option(
        "--no-report", help="Write no page at the end, whatever the space says under `report`.", envvar="TUNER_NO_REPORT", show_envvar=True
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="The folder of data files; downloads go there.", metavar="FOLDER", envvar="TUNER_DATA", show_envvar=True),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Pin a parameter to one value; may be repeated.", metavar="KEY=VALUE")]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--models", help="A model of your own, or a folder of them; may be repeated.", metavar="FILE|FOLDER", envvar="TUNER_MODELS",
        show_envvar=True,
    ),
]  # fmt: skip
Out = Annotated[
    str | None,
    typer.Option(help="Where runs are kept: a folder, or s3://BUCKET/PATH, gs://, file://.", metavar="FOLDER|URI", show_default=RUNS),
]
Name = Annotated[str | None, typer.Option(help="Name of the run. Default: the space's name and a number.", metavar="NAME")]


def said_of_data(**said: Any) -> dict[str, Any]:
    """What the command line says of a data set's content, in the words of `Columns`; only what was said.

    Raises:
        UserError: the size of images is none.
    """
    found = {key: value for key, value in said.items() if value is not None}
    if "size" in found:
        parts = found["size"].lower().split("x")
        if not (len(parts) <= 2 and all(part.isdecimal() and int(part) for part in parts)):
            raise UserError(f"--size must be a number of pixels, such as 32, or height and width, such as 32x48, but is '{found['size']}'.")
        found["size"] = [int(part) for part in parts]
    return found


def given_options(**given: Any) -> Options:
    from tuner.space.reader import Options

    return Options(**{key: value for key, value in given.items() if value is not None})


def examples(*lines: str) -> str:
    """An epilog of commands; a remark may follow each, after three blanks."""
    parts = [line.partition("   ") for line in lines]
    return "\n\n".join(["Examples:", *(f"  [bold]{command}[/bold]{gap}{remark}" for command, gap, remark in parts)])


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(new_console(stderr=True), message)
        raise typer.Exit(INTERRUPTED) from None

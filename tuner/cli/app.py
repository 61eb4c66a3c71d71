"""The command line. Commands import what they need when they run: `tuner --help` must not wait for torch or Ray."""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import logging
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tuner import __version__, layout
from tuner.errors import UserError, did_you_mean, readable

from .cluster import commands as cluster_commands
from .options import (
    DONE,
    INTERRUPTED,
    OURS,
    RUN,
    SPACE,
    THEIRS,
    WHAT,
    DataRoot,
    Dataset,
    Epochs,
    Limit,
    Name,
    Out,
    Scale,
    Seed,
    Set,
    Trials,
    Wandb,
    as_typed,
    complete_model,
    complete_run,
    complete_space,
    examples,
    folder_and_uri,
    given_options,
    interruptible,
    new_console,
    run_folder,
    say,
    shipped,
    wandb_mode,
)
from .steer import commands as steering_commands

if TYPE_CHECKING:
    from tuner.model import Hyper, Model
    from tuner.runs.events import Listener
    from tuner.runs.results import Results
    from tuner.service.driver import Outcome
    from tuner.space.spec import Spec
    from tuner.training.loop import Epoch


app = typer.Typer(
    name="tuner",
    help="Hyper-parameter search for deep clustering, with Ray Tune, Optuna and Weights & Biases.",
    epilog="Start with:  [bold]tuner search --space aae_unsup[/bold]   or, without Ray:  [bold]tuner train dec --epochs 5[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# --- search ------------------------------------------------------------------------------------------------------------


@app.command(
    epilog=examples(
        "tuner search --space aae_unsup   on 1,797 real images, minutes",
        "tuner search --space my.yaml --trials 100 --set hidden=500",
        "tuner search --space aae_unsup --dataset npz:my.npz --scale minmax",
        "tuner search --space my.yaml --address 10.0.0.1:6379   on a Ray cluster",
    )
)
def search(
    space: Annotated[str, typer.Option(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
    dataset: Dataset = None,
    scale: Scale = None,
    limit: Limit = None,
    trials: Trials = None,
    epochs: Epochs = None,
    name: Name = None,
    seed: Seed = None,
    address: Annotated[str | None, typer.Option(help="Join this Ray cluster. Without it Ray starts here.", metavar="HOST:PORT")] = None,
    wandb: Annotated[
        Wandb | None,
        typer.Option(
            help="Weights & Biases: online, offline or disabled. Online becomes offline where there is no login or no network.",
            metavar="MODE",
            show_default="WANDB_MODE, or online",
        ),
    ] = None,
    data_root: DataRoot = None,
    out: Out = "runs",
    set_: Set = None,
) -> None:
    """Search hyper-parameters: many trials, bad ones stopped early, the best one kept.

    Options stand in place of what the file says. Ctrl-C stops the search and keeps everything; `tuner resume` goes on with it.
    """
    console = new_console(lasting=True)
    _warn_through(new_console(stderr=True, lasting=True))
    from tuner.machines.cluster import join, start_ray_early

    folder, uri = folder_and_uri(out)
    with interruptible("Interrupted before the first trial."):
        start_ray_early(address)  # seconds, in which the space is checked
        with console.status(f"Starting Ray, checking {space}"):
            options = given_options(
                dataset=dataset, scale=scale, limit=limit, trials=trials, epochs=epochs, name=name, seed=seed, data_root=data_root, set=set_
            )  # fmt: skip
            from tuner.space.reader import read_space

            spec = read_space(space, options=options)
            from tuner.runs.new_run import check_place

            check_place(name, folder)
            join(address)
        for note in spec.notes:
            say(console, Text.assemble(("Note: ", "yellow"), note))
        where = {"name": name, "out": folder, "uri": uri, "address": address, "data_root": data_root}
        outcome = _search(spec, where, console, wandb)
    _tell(outcome, console)


def _search(spec: Spec, where: Mapping[str, Any], console: Console, wandb: Wandb | None) -> Outcome:
    from tuner.service.driver import SearchOptions
    from tuner.service.driver import search as run_search

    from .live import Display

    mode = wandb_mode(wandb)
    return run_search(spec, SearchOptions(**where, wandb=mode, listeners=(Display(console), _mirror(mode, console))))


def _mirror(mode: str, console: Console) -> Listener:
    from tuner.trackers.wandb import WandbRuns

    return WandbRuns(mode, say=lambda text: console.print(text, markup=False, soft_wrap=True))


def _tell(outcome: Outcome, console: Console) -> None:
    """The tables at the end of a search, and its exit code."""
    from tuner.text import counted

    from . import tables

    results = outcome.results
    console.print()
    for part in tables.outcome(results):
        console.print(part)
    console.print()
    for part in tables.written(outcome.folder):
        console.print(part)
    _tell_what_was_sent(outcome, console)
    if outcome.status == "stopped":
        ended = sum(trial.is_over for trial in results.trials)
        kept = f"{counted(ended, 'trial')} had ended. Every epoch is kept, also of those that had not."
        console.print()
        say(new_console(stderr=True), f"Interrupted: {kept} To go on: tuner resume {as_typed(outcome.folder)}")
        raise typer.Exit(INTERRUPTED)
    if outcome.reason is not None:
        say(new_console(stderr=True), f"Given up: {outcome.reason}. What is above was kept.")
        raise typer.Exit(OURS)
    if outcome.status == "failed":
        say(new_console(stderr=True), "The search failed before all its trials were run; what is above was kept.")
        raise typer.Exit(OURS)


def _tell_what_was_sent(outcome: Outcome, console: Console) -> None:
    from tuner.text import near

    sent = outcome.sent
    if sent is None:
        return
    if not sent.missing:
        say(console, f"All of it is in {sent.place}/ too.")
        return
    shown = ", ".join(sent.missing[:5]) + (f" and {len(sent.missing) - 5} more" if len(sent.missing) > 5 else "")
    say(
        new_console(stderr=True),
        f"Not in {sent.place}/, or not as they are here: {shown}. To send them: tuner resume {near(outcome.folder)}",
    )


# --- resume ------------------------------------------------------------------------------------------------------------


@app.command(
    epilog=examples(
        "tuner resume aae_unsup   after Ctrl-C, a crash or a reboot",
        "tuner resume aae_unsup --trials +50   50 trials more, also of a finished search",
        "tuner resume elsewhere/my --address 10.0.0.1:6379   on a Ray cluster",
    )
)
def resume(
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    trials: Annotated[str | None, typer.Option(help="How many trials it is to have: in all, or +N more.", metavar="N|+N")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Join this Ray cluster, or 'local'.", metavar="HOST:PORT", show_default="as before"),
    ] = None,
    wandb: Annotated[
        Wandb | None,
        typer.Option(help="Weights & Biases: online, offline or disabled.", metavar="MODE", show_default="as before"),
    ] = None,
    data_root: DataRoot = None,
    out: Out = "runs",
) -> None:
    """Go on with a search that was interrupted, or add trials to one that is finished.

    What has ended is not run again. Interrupted trials go on from their last checkpoint, at most a minute old, or from their seed.
    What was said when the search began need not be said again.
    """
    console = new_console(lasting=True)
    _warn_through(new_console(stderr=True, lasting=True))
    from tuner.runs.results import read_run

    folder = run_folder(run, out, whole=True)
    before = read_run(folder)
    mode = wandb.value if wandb is not None else str(before.spec_json.get("wandb") or wandb_mode(None))
    with interruptible("Interrupted before a trial went on."):
        if before.status in ("stopped", "failed") or (before.status == "done" and trials is not None):
            from tuner.machines.cluster import start_ray_early

            start_ray_early(None if address == "local" else address or before.spec_json.get("address"))
        with console.status(f"Reading {folder.name}"):
            from tuner.service.resume import ResumeOptions
            from tuner.service.resume import resume as go_on

            from .live import Display

        listeners = (Display(console), _mirror(mode, console))
        outcome = go_on(folder, ResumeOptions(trials=trials, address=address, data_root=data_root, listeners=listeners))
    if outcome.ran:
        _tell(outcome, console)
        return
    count = len(outcome.results.trials)
    left = "every configuration of its space was tried" if count < outcome.run.spec.trials else f"{count} trials have ended"
    more = "" if count < outcome.run.spec.trials else f" More: tuner resume {as_typed(outcome.folder)} --trials +{count}"
    say(console, f"{folder.name} is finished: {left}.{more}")
    _tell_what_was_sent(outcome, console)


# --- train -------------------------------------------------------------------------------------------------------------


@app.command(
    epilog=examples(
        "tuner train dec --dataset digits --epochs 5 --set hidden=200",
        "tuner train runs/aae_unsup/best.yaml   a search's best trial again",
        "tuner train runs/aae_unsup/best.yaml --seed 1   and with other chances",
    )
)
def train(
    what: Annotated[str, typer.Argument(help=WHAT, metavar="MODEL|YAML", autocompletion=complete_model)],
    dataset: Dataset = None,
    scale: Scale = None,
    limit: Limit = None,
    epochs: Epochs = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    set_: Set = None,
) -> None:
    """Train one configuration here and now: one line per epoch, no Ray, no account."""
    from dataclasses import replace

    from tuner.data import datasets
    from tuner.space.configuration import read_recipe
    from tuner.space.parameters import set_values
    from tuner.text import counted
    from tuner.training.engine import set_precision
    from tuner.training.loop import train as run
    from tuner.training.trial import check_fits

    recipe = read_recipe(what, seed)
    model = recipe.model
    values = {**recipe.values, **({} if epochs is None else {"epochs": epochs}), **set_values(model, set_ or [])}
    h: Hyper = model.hyper(values)
    said = recipe.dataset if dataset is None else datasets.DatasetSpec(name=dataset)
    said = replace(said, scale=scale or said.scale, limit=said.limit if limit is None else limit)
    loaded = datasets.load(said, data_root)
    check_fits(model, h, loaded)
    console = new_console()
    labels = f"{loaded.spec.n_classes} classes" if loaded.spec.n_classes else "no labels"
    about = f": {loaded.spec.n_samples:,} samples, {labels}; seed {recipe.seed}"
    console.print(Text.assemble((f"{model.name} on {loaded.name}", "bold"), about))
    epoch: Epoch | None = None
    with interruptible("Interrupted. Nothing was written."):
        set_precision(recipe.precision, _device())
        for epoch in run(model, h, loaded, seed=recipe.seed, pretrain_seed=recipe.pretrain_seed, device=_device()):
            line = _epoch_line(epoch, h, model)
            if console.is_terminal:
                line.truncate(console.width, overflow="ellipsis")  # one line per epoch; what is cut off are losses
            console.print(line, soft_wrap=True)
    assert epoch is not None, "every model has at least one epoch"
    if epoch.ended != "complete":
        say(console, Text(f"{str(epoch.ended).capitalize()} after {counted(epoch.index, 'epoch')}: {epoch.reason}", style="yellow"))


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _epoch_line(epoch: Epoch, h: Hyper, model: Model) -> Text:
    from tuner.text import number
    from tuner.training.trial import planned_epochs

    from .tables import SHOWN

    total = planned_epochs(model, h)[0]
    m = epoch.metrics
    shown = [f"{name} {number(m[name], name)}" for name in SHOWN if name in m]  # none where it diverged
    losses = [f"{name.removeprefix('loss/')} {number(value)}" for name, value in m.items() if name.startswith("loss/")]
    return Text.assemble(
        (f"epoch {epoch.index:>{len(str(total))}}/{total} ", "bold"),
        (f"{epoch.phase:<8}  ", "dim"),
        "  ".join(shown),
        ("  ".join(["", *losses, f"{m['samples_per_s']:,.0f}/s" if "samples_per_s" in m else ""]).rstrip(), "dim"),
    )


# --- looking things up -------------------------------------------------------------------------------------------------


@app.command(epilog="Example:  [bold]tuner check my.yaml --dataset npz:my.npz --scale minmax[/bold]")
def check(
    space: Annotated[str, typer.Argument(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
    dataset: Dataset = None,
    scale: Scale = None,
    limit: Limit = None,
    trials: Trials = None,
    epochs: Epochs = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    set_: Set = None,
) -> None:
    """Check a search space without starting anything: all errors at once, or what the search would do."""
    from tuner.data import datasets
    from tuner.space.reader import read_space

    from . import tables

    options = given_options(
        dataset=dataset, scale=scale, limit=limit, trials=trials, epochs=epochs, seed=seed, data_root=data_root, set=set_
    )
    spec = read_space(space, options=options)
    console = new_console()
    for part in tables.space(spec, datasets.describe(spec.dataset, data_root)):
        console.print(part)


@app.command()
def models() -> None:
    """List the models."""
    from .tables import names_table

    new_console().print(names_table((name, _first_sentence(path)) for name, path in shipped("models", ".py").items()))


def _first_sentence(path: Path) -> str:
    """A model's name, authors, year and address, from the first lines of its file."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return " ".join(text.split())


@app.command(epilog="Example:  [bold]tuner describe aae_unsup --set updates=separate[/bold]")
def describe(
    model: Annotated[str, typer.Argument(help="`tuner models` lists them.", metavar="MODEL", autocompletion=complete_model)],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Choices that change the steps.", metavar="KEY=VALUE")] = None,
) -> None:
    """Show a model: what can be set, what its losses measure, what each step trains. These are the names that spaces use."""
    from tuner.model import DataSpec, load_model
    from tuner.space.parameters import set_values
    from tuner.training.dryrun import owned_terms

    from . import tables

    found = load_model(model)
    h = found.hyper(set_values(found, set_ or []))
    console = new_console()
    console.print(_first_sentence(layout.folder("models") / f"{model}.py"), style="bold")
    for part in tables.model(found, h, owned_terms(found, h, DataSpec(n_samples=64, shape=(8, 8), n_classes=10))):
        console.print(part)


@app.command()
def spaces() -> None:
    """List the search spaces that come with tuner."""
    from .tables import names_table

    new_console().print(names_table((name, _header(path)) for name, path in shipped("search_spaces", ".yaml").items()))


def _header(path: Path) -> str:
    """What a space says of itself: the comments in its first lines, and its model and data set."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(re.sub(r"^#\s?", "", line) for line in lines[:end])


@app.command("ls")
def list_runs(out: Out = "runs") -> None:
    """List the runs there are."""
    from tuner.runs.results import list_runs as runs_in
    from tuner.text import near

    from . import tables

    folder, uri = folder_and_uri(out)
    if uri is not None:
        from tuner.stores.downloads import bring_all

        bring_all(uri)
    runs, damaged = runs_in(folder)
    console = new_console()
    if runs:
        console.print(tables.runs_table(runs))
    elif not damaged:
        say(console, f"There are no runs in {uri or near(folder)}/ yet. Start with: tuner search --space aae_unsup")
    if damaged:
        raise UserError("\n".join(map(str, damaged)))


@app.command(
    epilog=examples(
        "tuner show aae_unsup --json | jq .best",
        "tuner show aae_unsup --trial 12   what happened to it, and what its process said",
    )
)
def show(
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    trial: Annotated[int | None, typer.Option(help="This trial's log.", metavar="N", min=0)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else; of a log, one per line.")] = False,
    out: Out = "runs",
) -> None:
    """Show a run's outcome so far: its best trials, how all ended, its files; or the log of one trial."""
    from tuner.runs.results import read_run

    from . import tables

    results = read_run(run_folder(run, out))
    if trial is not None:
        from tuner.runs.trial_logs import in_words, read_log

        log = read_log(results.folder, trial)
        sys.stdout.writelines(f"{line}\n" for line in (map(json.dumps, log) if as_json else in_words(log)))
        return
    if as_json:
        sys.stdout.write(json.dumps(results.summary(), indent=2) + "\n")
        return
    console = new_console()
    for part in (*_shown(results), *tables.tracebacks(results)):
        console.print(part)
    console.print()
    for part in tables.written(results.folder):
        console.print(part)


def _shown(results: Results) -> Iterator[Any]:
    from . import tables

    spec = results.spec_json
    about = f"{spec.get('model')} on {spec.get('dataset', {}).get('name')}, {spec.get('method')}, seed {spec.get('seed')}"
    yield Text.assemble((f"{results.name}: {results.status}", "bold"), f", {about}")
    yield Text()
    yield from tables.outcome(results)


# --- the program -------------------------------------------------------------------------------------------------------

app.add_typer(steering_commands)
app.add_typer(cluster_commands)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tuner {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False) -> None:
    pass


def _warn_through(console: Console) -> None:
    """Our own warnings in one line each; a live display stays whole."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(OSError):  # the terminal was closed; the search goes on
                say(console, Text.assemble(("Warning: ", "yellow"), record.getMessage()))

    logger = logging.getLogger("tuner")
    logger.handlers[:] = [Lines(logging.WARNING)]
    logger.propagate = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and gives its exit code: 0 done, 130 interrupted, 2 for what a user did, 1 for what we did."""
    err = new_console(stderr=True)
    try:
        Path.cwd()  # torch dies of a missing one, with a message about something else
    except FileNotFoundError:
        _complain(err, "The folder in which this runs is gone. Change into one that exists.")
        return THEIRS
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="tuner", standalone_mode=False)
    except UserError as error:
        _complain(err, str(error))
        return THEIRS
    except (KeyboardInterrupt, typer.Abort):
        err.print("Interrupted.")
        return INTERRUPTED
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


# What the system says of a path that was typed.
_THEIR_FILES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)


def _complain(err: Console, message: str) -> None:
    err.print(Text.assemble(("error: ", "bold red"), readable(message)), soft_wrap=True)  # as one line can be searched for


def _usage(error: Any, words: list[str]) -> str:
    """click's message, with the nearest right name and the way to the help."""
    context = getattr(error, "ctx", None)
    message = str(error.format_message()).replace("Value error, ", "")
    possible = getattr(error, "possibilities", None) or []
    if hasattr(error, "option_name") and "No such option" in message:
        known = [name for parameter in (context.command.params if context else []) for name in parameter.opts]
        message = f"There is no option {error.option_name}.{did_you_mean(error.option_name, possible or known)}"
    path = context.command_path if context else " ".join(["tuner", *takewhile(str.isalpha, words[:1])])
    stop = "" if message.rstrip()[-1:] in ".?!" else "."
    return f"{message.rstrip()}{stop} See `{path} --help`."


def _our_fault(err: Console, error: BaseException) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="tuner-error-", suffix=".txt", delete=False) as file:
        file.write(f"tuner {__version__}: {' '.join(sys.argv)}\n\n")
        traceback.print_exception(error, file=file)
    what = traceback.format_exception_only(error)[-1].strip()
    _complain(err, f"{what}\nThis is a fault of tuner's, not yours. The traceback is in {file.name}: please report it.")
    return OURS

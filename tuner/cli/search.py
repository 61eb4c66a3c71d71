"""`tuner search` and `tuner resume`, until they end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tuner.quick_imports import quick_imports
from tuner.trackers.modes import wandb_mode

from .end import print_end, print_finished
from .options import (
    RUN,
    SPACE,
    Colours,
    DataRoot,
    Dataset,
    Drop,
    Epochs,
    From,
    Header,
    Hours,
    Id,
    Label,
    Limit,
    Mlflow,
    Models,
    Name,
    NoConfirm,
    NoReport,
    Out,
    Samples,
    Scale,
    Seed,
    Set,
    Size,
    Trials,
    Wandb,
    complete_run,
    complete_space,
    examples,
    folder_and_uri,
    given_options,
    interruptible,
    is_typed,
    new_console,
    print_warnings,
    run_folder,
    said_of_data,
    say,
)  # fmt: skip

if TYPE_CHECKING:
    from tuner.runs.events import Listener
    from tuner.service.driver import Outcome
    from tuner.space.spec import Spec

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "tuner search --space aae_unsup   on 1,797 real images, minutes",
        "tuner search --space my.yaml --trials 100 --set hidden=500",
        "tuner search --space aae_unsup --dataset npz:my.npz --scale minmax",
        "tuner search --space my.yaml --models my_model.py   a model of your own",
        "tuner search --space my.yaml --address 10.0.0.1:6379   on a Ray cluster",
    )
)
def search(  # its length is that of its options
    space: Annotated[str, typer.Option(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
    dataset: Dataset = None,
    scale: Scale = None,
    limit: Limit = None,
    label: Label = None,
    drop: Drop = None,
    id_: Id = None,
    header: Header = None,
    samples: Samples = None,
    size: Size = None,
    colours: Colours = None,
    trials: Trials = None,
    epochs: Epochs = None,
    hours: Hours = None,
    from_: From = None,
    name: Name = None,
    seed: Seed = None,
    address: Annotated[str | None, typer.Option(help="Join this Ray cluster. Without it Ray starts here.", metavar="HOST:PORT")] = None,
    wandb: Annotated[
        Wandb | None,
        typer.Option(
            help="Weights & Biases: online, offline or disabled. Without a login or a network, online falls back to offline.",
            metavar="MODE",
            show_default="WANDB_MODE, or online",
        ),
    ] = None,
    mlflow: Mlflow = False,
    data_root: DataRoot = None,
    out: Out = None,
    models: Models = None,
    set_: Set = None,
    no_confirm: NoConfirm = False,
    no_report: NoReport = False,
) -> None:
    """Search hyper-parameters: many trials, bad ones stopped early, the best one kept.

    Options override the file. Ctrl-C stops the search and keeps everything; `tuner resume` continues it.
    """
    console = new_console(lasting=True)
    print_warnings(new_console(stderr=True))
    given = {
        "dataset": dataset, "scale": scale, "limit": limit,
        **said_of_data(label=label, drop=drop, id=id_, header=header, samples=samples, size=size, colours=colours),
        "trials": trials, "epochs": epochs, "hours": hours, "name": name, "seed": seed,
        "data_root": data_root, "models": models, "set": set_, "confirm": False if no_confirm else None,
        "report": False if no_report else None, "mlflow": mlflow or None,
    }  # fmt: skip
    folder, uri = folder_and_uri(out)
    where: dict[str, Any] = {"name": name, "out": folder, "uri": uri, "address": address, "data_root": data_root}
    where["earlier"] = [run_folder(run, None) for run in from_ or ()]
    with interruptible("Interrupted before the first trial."):
        spec = _read_while_ray_starts(space, given, where, console)
        outcome = _search(spec, where, console, wandb)
    print_end(outcome, console)


def _read_while_ray_starts(space: str, given: Mapping[str, Any], where: Mapping[str, Any], console: Console) -> Spec:
    """The space under the options that were given, with its notes printed; Ray is up behind it."""
    from tuner.machines.cluster import join, start_ray_early

    with quick_imports("torch"), console.status(f"Starting Ray, checking {space}"):
        start_ray_early(where["address"])  # seconds, in which the space is checked
        options = given_options(**given)
        from tuner.space.reader import read_space

        spec = read_space(space, options=options)
        from tuner.runs.new_run import check_place

        check_place(where["name"], where["out"])
        join(where["address"])
    for note in spec.notes:
        say(console, Text.assemble(("Note: ", "yellow"), note))
    return spec


def _search(spec: Spec, where: Mapping[str, Any], console: Console, wandb: Wandb | None) -> Outcome:
    from tuner.service.driver import SearchOptions
    from tuner.service.driver import search as run_search

    from .live import Display

    mode = wandb_mode(wandb and wandb.value)
    listeners = (Display(console), _mirror(mode, console))
    return run_search(spec, SearchOptions(**where, wandb=mode, listeners=listeners, confirm_listeners=(Display(console),), report=True))


@commands.command(
    epilog=examples(
        "tuner resume aae_unsup   after Ctrl-C, a crash or a reboot",
        "tuner resume aae_unsup --trials +50   50 trials more, also of a finished search",
        "tuner resume elsewhere/my --address 10.0.0.1:6379   on a Ray cluster",
    )
)
def resume(  # its length is that of its options
    context: typer.Context,
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    trials: Annotated[str | None, typer.Option(help="Number of trials: N in all, or +N more.", metavar="N|+N")] = None,
    hours: Hours = None,
    address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster, or 'local'.", metavar="HOST:PORT", show_default="as before")
    ] = None,
    wandb: Annotated[
        Wandb | None, typer.Option(help="Weights & Biases: online, offline or disabled.", metavar="MODE", show_default="as before")
    ] = None,
    data_root: DataRoot = None,
    dataset: Annotated[str | None, typer.Option(help="Where the run's data are now.", metavar="NAME", show_default="as before")] = None,
    out: Out = None,
    models: Annotated[
        list[Path] | None,
        typer.Option("--models", help="The model's file, unchanged since the run began.", metavar="FILE"),
    ] = None,
) -> None:
    """Continue a search that was interrupted, or add trials to one that is finished.

    Finished trials are not run again. Interrupted trials continue from their last checkpoint, at most a minute old, or start anew from
    their seed. The options that the search began with still hold.
    """
    console = new_console(lasting=True)
    print_warnings(new_console(stderr=True))
    from tuner.runs.results import read_run

    folder = run_folder(run, out, whole=True)
    before = read_run(folder)
    if before.spec_json.get("simulated"):
        from .simulate import resume_and_print

        foreign = [name for name in ("address", "wandb", "data_root", "dataset", "models") if is_typed(context, name)]
        resume_and_print(folder, trials, hours, [f"--{name.replace('_', '-')}" for name in foreign], console)
        return
    mode = wandb.value if wandb is not None else str(before.spec_json.get("wandb") or wandb_mode(None))
    with interruptible("Interrupted before a trial continued."):
        if before.status in ("stopped", "failed") or (before.status == "done" and trials is not None):
            from tuner.machines.cluster import address_again, start_ray_early

            start_ray_early(address_again(address, before.spec_json))
        with quick_imports("torch"), console.status(f"Reading {folder.name}"):
            from tuner.service.resume import ResumeOptions
            from tuner.service.resume import resume as run_resume

            from .live import Display

        listeners = (Display(console), _mirror(mode, console))
        given = ResumeOptions(
            trials=trials,
            hours=hours,
            address=address,
            data_root=data_root,
            dataset=dataset,
            models=models or (),
            listeners=listeners,
            confirm_listeners=(Display(console),),
            report=True,
            wandb=mode,
        )
        outcome = run_resume(folder, given)
    (print_end if outcome.ran else print_finished)(outcome, console)


def _mirror(mode: str, console: Console) -> Listener:
    from tuner.trackers.wandb import WandbRuns

    return WandbRuns(mode, say=lambda text: console.print(text, markup=False, soft_wrap=True))

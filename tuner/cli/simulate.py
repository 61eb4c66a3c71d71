"""`tuner simulate`, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from .options import (
    INTERRUPTED,
    OURS,
    SPACE,
    DataRoot,
    Dataset,
    Epochs,
    From,
    Hours,
    Limit,
    Models,
    Name,
    Out,
    Scale,
    Seed,
    Set,
    Trials,
    as_typed,
    complete_space,
    examples,
    folder_and_uri,
    given_options,
    interruptible,
    new_console,
    run_folder,
    say,
)  # fmt: skip

if TYPE_CHECKING:
    from tuner.service.simulate import Simulated

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "tuner simulate my.yaml --table runs/my --gpus 64   a night on 64 GPUs, in seconds",
        "tuner simulate asha4.yaml --table runs/my   what another rule would have stopped",
        "tuner simulate my.yaml --table runs/my --trials 20 --seed 7   how many trials were enough?",
    )
)
def simulate(  # its length is that of its options
    space: Annotated[str, typer.Argument(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
    table: Annotated[Path, typer.Option(help="Recorded trials: a run's folder, or a table made of one.", metavar="RUN|FILE")],
    gpus: Annotated[int, typer.Option(help="How many trials are trained at once.", metavar="N", min=1)] = 1,
    dataset: Dataset = None,
    scale: Scale = None,
    limit: Limit = None,
    trials: Trials = None,
    epochs: Epochs = None,
    hours: Hours = None,
    from_: From = None,
    name: Name = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    out: Out = None,
    models: Models = None,
    set_: Set = None,
) -> None:
    """Replay a search on recorded trials, under a virtual clock: nothing is trained.

    Sampler, early stopping, journal and study are those of `tuner search`. A configuration that was not recorded takes the epochs of the
    nearest one that was. The result is a run: `tuner show`, `tuner resume`.
    """
    console = new_console(lasting=True)
    from tuner.errors import UserError
    from tuner.service.simulate import SimulateOptions
    from tuner.service.simulate import simulate as run_simulation
    from tuner.space.reader import read_space

    folder, uri = folder_and_uri(out)
    if uri is not None:
        raise UserError(f"--out {uri}: a simulation is written to a folder of this machine. Name one, or leave --out out.")
    earlier = [run_folder(run, None) for run in from_ or ()]
    given = {
        "dataset": dataset, "scale": scale, "limit": limit, "trials": trials, "epochs": epochs, "hours": hours, "name": name, "seed": seed,
        "data_root": data_root, "models": models, "set": set_, "confirm": False,
    }  # fmt: skip
    with interruptible("Interrupted before the first trial."), console.status(f"Simulating {space}"):
        spec = read_space(space, options=given_options(**given))
        options = SimulateOptions(table=table, lanes=gpus, name=name, out=folder, data_root=data_root, earlier=earlier)
        outcome = run_simulation(spec, options)
    print_simulated(outcome, console)


def resume_and_print(folder: Path, trials: str | None, hours: float | None, foreign: Sequence[str], console: Console) -> None:
    """`tuner resume` of a simulation. `foreign`: flags that were given and say nothing to one."""
    from tuner.errors import UserError
    from tuner.service.simulate import resume_simulated

    if foreign:
        raise UserError(f"{folder.name} was simulated, and goes on so: {foreign[0]} says nothing to it. Leave it out.")
    with console.status(f"Simulating {folder.name}"):
        outcome = resume_simulated(folder, trials, hours=hours)
    print_simulated(outcome, console)


def print_simulated(outcome: Simulated, console: Console) -> None:
    """Prints the tables at the end of a simulation; raises its exit code where it is not 0."""
    from tuner.text import counted, duration, near

    from .results_view import outcome_view

    for part in outcome_view(outcome.results):
        console.print(part)
    replay = outcome.replay
    parts = [f"{counted(replay.exact, 'trial')} as recorded, {replay.nearest} as the nearest that was recorded"]
    if replay.held:
        parts.append(f"{replay.held} went on beyond what was recorded, with the last metrics held")
    say(console, Text(f"Simulated in {duration(outcome.seconds)}: {'; '.join(parts)}.", style="dim"))
    say(console, f"In {near(outcome.folder)}/; tuner show {as_typed(outcome.folder)} shows it again.")
    if outcome.status == "stopped" and outcome.results.because is not None:
        say(console, f"To go on: tuner resume {as_typed(outcome.folder)}")
    elif outcome.status == "stopped":
        say(new_console(stderr=True), f"Interrupted: to go on: tuner resume {as_typed(outcome.folder)}")
        raise typer.Exit(INTERRUPTED)
    if outcome.status == "failed":
        say(new_console(stderr=True), f"Given up: {outcome.reason or 'the simulation failed'}. What is above was kept.")
        raise typer.Exit(OURS)

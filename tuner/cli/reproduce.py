"""`tuner reproduce`: the figures and tables of the sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from .options import DataRoot, Epochs, Limit, Set, examples, interruptible, new_console, print_warnings, say

if TYPE_CHECKING:
    from tuner.reproduce.recipe import Job
    from tuner.reproduce.run import Told
    from tuner.reproduce.trained import Result
    from tuner.training.loop import Epoch

commands = typer.Typer()


def complete_recipe(incomplete: str) -> Iterator[str]:
    from tuner.reproduce.shelf import recipe_names

    yield from (name for name in recipe_names() if name.startswith(incomplete))


@commands.command(
    epilog=examples(
        "tuner reproduce --list",
        "tuner reproduce all_weights_one   minutes, on digits",
        "tuner reproduce all_weights_one --paper   the source's data and sizes",
        "tuner reproduce all_weights_one --seeds 1 --epochs 5   a first look",
    )
)
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="A recipe's name, or a YAML of your own.", metavar="NAME", autocompletion=complete_recipe)
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the recipes.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="The source's data, networks and lengths: hours to days, best on a GPU.")] = False,
    seeds: Annotated[int | None, typer.Option(help="Seeds of each training.", metavar="N", min=1)] = None,
    epochs: Epochs = None,
    limit: Limit = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="For trainings and pages.", metavar="FOLDER", show_default="reproduced")] = None,
    data_root: DataRoot = None,
) -> None:
    """Make a figure or table of the sources again, published values beside ours, as a page and as Markdown.

    Interrupted or killed, the same command goes on.
    """
    console = new_console()
    if list_ or name is None:
        _list(console)
        return
    from tuner.reproduce.reader import read_recipe
    from tuner.reproduce.recipe import SIZES, Asked
    from tuner.reproduce.run import FOLDER
    from tuner.reproduce.run import reproduce as made
    from tuner.text import near

    print_warnings(new_console(stderr=True))
    asked = Asked(size=SIZES[paper], seeds=seeds, epochs=epochs, limit=limit, settings=tuple(set_ or ()))
    with interruptible("Interrupted. The same command goes on."):
        found = made(read_recipe(name), asked, out or Path(FOLDER), _told(console), data_root)
    say(console, f"Made: {near(found.page)}, and {near(found.text)}")


def _list(console: Console) -> None:
    from tuner.reproduce.shelf import titles

    found = titles()
    width = max(map(len, found))
    for name, (title, source) in found.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "bold"), title, (f"  ({source})", "dim")), soft_wrap=True)


def _told(console: Console) -> Told:
    """A line for each training; in a terminal one that is renewed after every epoch."""
    from tuner.reproduce.numbers import label
    from tuner.reproduce.run import Told
    from tuner.text import duration

    status = console.status("") if console.is_terminal else None

    def begins(job: Job, number: int, of: int) -> None:
        console.print(Text(f"{number}/{of}  {job.training} on {job.data.name}, seed {job.seed}"), soft_wrap=True)
        if status:
            status.start()

    def epoch(job: Job, one: Epoch) -> None:
        if status:
            acc = f"  acc {one.metrics['acc']:.3f}" if "acc" in one.metrics else ""
            status.update(f"epoch {one.epoch} {one.phase}{acc}")

    def ends(result: Result) -> None:
        if status:
            status.stop()
        said = [f"{label(name)} {100 * value:.1f}" for name in ("acc", "nmi", "error") if (value := result.value(name)) is not None]
        console.print(Text(f"     {result.ended} in {duration(result.seconds)}  {'  '.join(said)}", style="dim"), soft_wrap=True)

    return Told(begins=begins, epoch=epoch, ends=ends)

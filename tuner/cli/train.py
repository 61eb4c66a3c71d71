"""`tuner train`: one configuration here, without Ray."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from .options import (
    WHAT,
    Colours,
    DataRoot,
    Dataset,
    Drop,
    Epochs,
    Header,
    Id,
    Label,
    Limit,
    Models,
    Samples,
    Scale,
    Seed,
    Set,
    Size,
    complete_model,
    examples,
    given_options,
    interruptible,
    new_console,
    print_warnings,
    said_of_data,
    say,
)  # fmt: skip

if TYPE_CHECKING:
    from tuner.api.train import Prepared
    from tuner.inference.clustered import Clustered
    from tuner.model import Hyper, Model
    from tuner.training.loop import Epoch

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "tuner train dec --dataset digits --epochs 5 --set hidden=200",
        "tuner train my_model --models my_model.py   a model of your own",
        "tuner train runs/aae_unsup/best.yaml   a search's best trial again",
        "tuner train runs/aae_unsup/best.yaml --seed 1   with another seed",
        "tuner train aae_unsup --plots   and its clusters in pictures, as one page",
    )
)
def train(
    what: Annotated[str, typer.Argument(help=WHAT, metavar="MODEL|YAML", autocompletion=complete_model)],
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
    epochs: Epochs = None,
    seed: Seed = None,
    data_root: DataRoot = None,
    models: Models = None,
    set_: Set = None,
    plots: Annotated[
        bool, typer.Option("--plots", help="Write the clustering in pictures, as one page: of a YAML beside it, else MODEL-DATA.html here.")
    ] = False,
) -> None:
    """Train one configuration on this machine: one line per epoch, no Ray, no account."""
    from tuner.api.pictured import Pictured
    from tuner.api.train import prepare
    from tuner.text import counted

    given = given_options(
        dataset=dataset, scale=scale, limit=limit, epochs=epochs, seed=seed, data_root=data_root, models=models, set=set_,
        **said_of_data(label=label, drop=drop, id=id_, header=header, samples=samples, size=size, colours=colours),
    )  # fmt: skip
    print_warnings(new_console(stderr=True))
    training = prepare(what, given)
    recipe, loaded = training.recipe, training.found.data
    console = new_console()
    for line in training.found.lines(getattr(training.hyper, "n_clusters", 1)):
        say(new_console(stderr=True), Text.assemble(("Note: ", "yellow"), f"{line}."))
    labels = f"{loaded.spec.n_classes} classes" if loaded.spec.n_classes else "no labels"
    about = f": {loaded.spec.n_samples:,} samples, {labels}; seed {recipe.seed}"
    say(console, Text.assemble((f"{recipe.model.name} on {loaded.name}", "bold"), about))
    with interruptible("Interrupted. Nothing was written."):
        pictured = Pictured(recipe.model, training.hyper, training.found) if plots else None
        epochs_ = training.epochs() if pictured is None else pictured.listen(training.epochs())
        epoch = _print_epochs(epochs_, training.hyper, recipe.model, console)
    if epoch.ended != "complete":
        say(console, Text(f"{str(epoch.ended).capitalize()} after {counted(epoch.epoch, 'epoch')}: {epoch.reason}", style="yellow"))
    if pictured is not None and epoch.ended != "diverged":
        say(console, Text(_drawn(what, training, pictured.clustered(epoch.snapshot()))))


def _drawn(what: str, training: Prepared, found: Clustered) -> str:
    """Writes the page of the pictures; the line that says where."""
    from tuner.api.pictured import page_of
    from tuner.report.write import write_pictures
    from tuner.text import near, size

    recipe = training.recipe
    page = write_pictures(
        page_of(what, recipe.model, training.data.name), found, f"{recipe.model.name} on {training.data.name}", f"seed {recipe.seed}"
    )
    return f"Pictures: {near(page)} ({size(page.stat().st_size)})"


def _print_epochs(epochs: Iterable[Epoch], h: Hyper, model: Model, console: Console) -> Epoch:
    """Prints a line for each epoch as it ends; the last one."""
    epoch: Epoch | None = None
    for epoch in epochs:
        line = _epoch_line(epoch, h, model)
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")  # one line per epoch; what is cut off are losses
        console.print(line, soft_wrap=True)
    assert epoch is not None, "every model has at least one epoch"
    return epoch


def _epoch_line(epoch: Epoch, h: Hyper, model: Model) -> Text:
    from tuner.metrics import METRICS
    from tuner.text import number
    from tuner.training.trial import planned_epochs

    total = planned_epochs(model, h)[0]
    m = epoch.metrics
    shown = [
        f"{name} {number(m[name], name)}" for name, measure in METRICS.items() if measure.shown and name in m
    ]  # none where it diverged
    losses = [f"{name.removeprefix('loss/')} {number(value)}" for name, value in m.items() if name.startswith("loss/")]
    return Text.assemble(
        (f"epoch {epoch.epoch:>{len(str(total))}}/{total} ", "bold"),
        (f"{epoch.phase:<8}  ", "dim"),
        "  ".join(shown),
        ("  ".join(["", *losses, f"{m['samples_per_s']:,.0f}/s" if "samples_per_s" in m else ""]).rstrip(), "dim"),
    )

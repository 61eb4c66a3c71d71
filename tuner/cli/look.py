"""The commands that only look: `check`, `models`, `describe`, `spaces`, `ls` and `show`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from tuner import shipped
from tuner.errors import UserError

from .options import (
    RUN,
    SPACE,
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
    NoConfirm,
    Out,
    Samples,
    Scale,
    Seed,
    Set,
    Size,
    Trials,
    complete_dataset,
    complete_model,
    complete_run,
    complete_space,
    examples,
    folder_and_uri,
    given_options,
    new_console,
    run_folder,
    said_of_data,
    say,
    write,
)  # fmt: skip

if TYPE_CHECKING:
    from tuner.runs.results import Results

commands = typer.Typer()


@commands.command(epilog="Example:  [bold]tuner check my.yaml --dataset npz:my.npz --scale minmax[/bold]")
def check(
    space: Annotated[str, typer.Argument(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
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
    seed: Seed = None,
    data_root: DataRoot = None,
    models: Models = None,
    set_: Set = None,
    no_confirm: NoConfirm = False,
) -> None:
    """Check a search space without starting anything: print all its errors, or what the search would do."""
    from tuner.data import datasets
    from tuner.search.budget import largest
    from tuner.space.reader import read_space
    from tuner.training.room import check_room

    from .space_view import space_view

    options = given_options(
        dataset=dataset, scale=scale, limit=limit, trials=trials, epochs=epochs, seed=seed, data_root=data_root, set=set_,
        models=models, confirm=False if no_confirm else None,
        **said_of_data(label=label, drop=drop, id=id_, header=header, samples=samples, size=size, colours=colours),
    )  # fmt: skip
    spec = read_space(space, options=options)
    console, found = new_console(), datasets.describe(spec.dataset, data_root)
    check_room(spec.loaded(), largest(spec), found)
    for part in space_view(spec, found):
        console.print(part)


@commands.command(epilog="Example:  [bold]tuner data my.csv --label species[/bold]")
def data(
    dataset: Annotated[
        str, typer.Argument(help="The path of a file, or a data set's name.", metavar="PATH", autocompletion=complete_dataset)
    ],
    scale: Scale = None,
    limit: Limit = None,
    label: Label = None,
    drop: Drop = None,
    id_: Id = None,
    header: Header = None,
    samples: Samples = None,
    size: Size = None,
    colours: Colours = None,
    data_root: DataRoot = None,
) -> None:
    """Look at data before anyone trains on them: what they hold, and what may be meant otherwise."""
    from tuner.data.datasets import DatasetSpec
    from tuner.data.examine import examine
    from tuner.data.raw import Columns

    from .tables import names_table

    said = said_of_data(label=label, drop=drop, id=id_, header=header, samples=samples, size=size, colours=colours)
    columns = Columns.of(said)
    spec = DatasetSpec(name=dataset, scale=scale, limit=limit, columns=columns)
    found, console = examine(spec, data_root), new_console()
    console.print(names_table([("data set", spec.name), *found.facts]))
    for note in found.notes:
        say(console, f"Found out: {note}.")
    for doubt in found.doubts:
        say(console, Text.assemble(("Doubt: ", "yellow"), f"{doubt}."))
    if not found.doubts:
        say(console, "All is well: nothing in it may be meant otherwise.")


@commands.command()
def models(models: Models = None) -> None:
    """List the models: those that come with tuner, then your own."""
    from tuner.api.known import models as known

    from .tables import names_table

    new_console().print(names_table(known(models or ()).items()))


@commands.command(epilog="Example:  [bold]tuner describe aae_unsup --set updates=separate[/bold]")
def describe(
    model: Annotated[str, typer.Argument(help="`tuner models` lists them.", metavar="MODEL", autocompletion=complete_model)],
    models: Models = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Choices that change the steps.", metavar="KEY=VALUE")] = None,
) -> None:
    """Describe a model: its hyper-parameters, its losses, and what each step trains. Spaces use these names."""
    from tuner.api.known import title_of_own
    from tuner.model import DataSpec, load_model
    from tuner.own_models import read_own
    from tuner.space.parameters import set_values
    from tuner.training.dryrun import owned_terms

    from .model_view import model_view

    own = read_own(models or ())
    found = load_model(model, own)
    h = found.hyper(set_values(found, set_ or []))
    console = new_console()
    source = own.get(model)
    console.print(title_of_own(source) if source else shipped.models()[found.name], style="bold")
    for part in model_view(found, h, owned_terms(found, h, DataSpec(n_samples=64, shape=(8, 8), n_classes=10))):
        console.print(part)


@commands.command()
def spaces() -> None:
    """List the search spaces that come with tuner."""
    from .tables import names_table

    new_console().print(names_table(shipped.spaces().items()))


@commands.command("ls")
def list_runs(out: Out = None) -> None:
    """List the runs."""
    from tuner.runs.results import list_runs as runs_in
    from tuner.text import near

    from .results_view import runs_table

    folder, uri = folder_and_uri(out)
    if uri is not None:
        from tuner.stores.downloads import bring_all

        bring_all(uri)
    runs, damaged = runs_in(folder)
    console = new_console()
    if runs:
        console.print(runs_table(runs))
    elif not damaged:
        say(console, f"There are no runs in {uri or near(folder)}/ yet. Start with: tuner search --space aae_unsup")
    if damaged:
        raise UserError("\n".join(map(str, damaged)))


@commands.command(
    epilog=examples(
        "tuner show aae_unsup --json | jq .best",
        "tuner show aae_unsup --by ace,silhouette   which trial to choose without labels: by the mean of its ranks",
        "tuner show aae_unsup --trial 12   its log: what happened to it, and what its process printed",
    )
)
def show(
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    trial: Annotated[int | None, typer.Option(help="This trial's log.", metavar="N", min=0)] = None,
    by: Annotated[
        str | None, typer.Option(help="Rank by what needs no labels: ace, stability, a metric, several.", metavar="NAMES")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else; of a log, one per line.")] = False,
    out: Out = None,
) -> None:
    """Show a run so far: its best trials, what they are worth on fresh seeds, how all ended, its files; or the log of one trial."""
    from tuner.runs.results import read_run

    from .results_view import tracebacks, written

    results = read_run(run_folder(run, out))
    if trial is not None:
        from tuner.runs.trial_logs import in_words, read_log

        log = read_log(results.folder, trial)
        write("".join(f"{line}\n" for line in (map(json.dumps, log) if as_json else in_words(log))))
        return
    if by is not None:
        _show_by(results, [name.strip() for name in by.split(",")], as_json=as_json)
        return
    from tuner.evidence.report import confirmation_of

    confirmed = confirmation_of(results)
    if as_json:
        write(json.dumps(results.summary() | ({"confirmed": confirmed.summary()} if confirmed else {}), indent=2) + "\n")
        return
    console = new_console()
    for part in (*_shown(results), *tracebacks(results)):
        console.print(part)
    if confirmed is not None:
        from .confirm_view import confirm_view

        console.print()
        for part in confirm_view(confirmed):
            console.print(part)
    console.print()
    for part in written(results.folder):
        console.print(part)


def _show_by(results: Results, names: list[str], *, as_json: bool) -> None:
    from tuner.evidence.selection import judged

    from .criteria_view import criteria_view

    found = judged(results, list(dict.fromkeys(names)))
    if as_json:
        write(json.dumps({"by": names, "configurations": [one.summary() for one in found]}, indent=2) + "\n")
        return
    console = new_console()
    for part in criteria_view(results, found):
        console.print(part)


def _shown(results: Results) -> Iterator[Any]:
    from .results_view import outcome_view

    spec = results.spec_json
    about = f"{spec.get('model')} on {spec.get('dataset', {}).get('name')}, {spec.get('method')}, seed {spec.get('seed')}"
    yield Text.assemble((f"{results.name}: {results.status}", "bold"), f", {about}")
    yield Text()
    yield from outcome_view(results)

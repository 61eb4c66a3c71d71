"""The commands for several machines: clusters, what would stop a search on them, and searches that they run by themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tuner.trackers.modes import wandb_mode

from .options import (
    OURS,
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
    Mlflow,
    Models,
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
    complete_space,
    examples,
    folder_and_uri,
    given_options,
    interruptible,
    new_console,
    said_of_data,
    say,
)

commands = typer.Typer()

# --- several machines --------------------------------------------------------------------------------------------------

cluster = typer.Typer(
    help="Start, look at and end Ray on several machines, with the tool that reads the file.",
    epilog=examples(
        "tuner cluster up local --nodes 3   several nodes on this machine",
        "tuner cluster copy ssh.yaml   then fill in what is marked",
        "tuner cluster up ssh.yaml",
        "tuner cluster down ssh.yaml --yes",
    ),
    no_args_is_help=True,
)
commands.add_typer(cluster, name="cluster")
ClusterFile = Annotated[str, typer.Argument(help="For ray up, kubectl, docker compose or sbatch; or `local`.", metavar="FILE")]
_TO_THE_TOOL = {"allow_extra_args": True, "ignore_unknown_options": True}


@cluster.command("up", context_settings=_TO_THE_TOOL)
def cluster_up(file: ClusterFile, context: typer.Context) -> None:
    """Start it. What follows FILE goes to the tool."""
    _launch("up", file, context)


@cluster.command("down", context_settings=_TO_THE_TOOL)
def cluster_down(file: ClusterFile, context: typer.Context) -> None:
    """End it. What follows FILE goes to the tool."""
    _launch("down", file, context)


@cluster.command("status", context_settings=_TO_THE_TOOL)
def cluster_status(file: ClusterFile, context: typer.Context) -> None:
    """Say how it stands. What follows FILE goes to the tool."""
    _launch("status", file, context)


def _launch(action: Literal["up", "down", "status"], file: str, context: typer.Context) -> None:
    from tuner.machines import launch

    code = launch.run(action, file, context.args)
    if code:
        raise typer.Exit(code if 0 < code < 128 else OURS)  # the tool's own; it has said why


@cluster.command("copy")
def cluster_copy(name: Annotated[str | None, typer.Argument(help="Without it, all are listed.", metavar="NAME")] = None) -> None:
    """Copy a file that comes with tuner into this folder, to be filled in."""
    from tuner.machines import launch

    console = new_console()
    if name is None:
        console.print("\n".join(launch.shipped()))
        return
    path = launch.copy(name)
    left = path.read_text(encoding="utf-8").count(launch.PLACEHOLDER)
    say(console, f"{path} is here." + (f" Fill in what is marked {launch.PLACEHOLDER}." if left else ""))


@commands.command(
    epilog=examples(
        "tuner doctor   this machine",
        "tuner doctor --address 10.0.0.1:6379 --out /shared/runs --dataset mnist --data-root /shared/data",
    )
)
def doctor(
    address: Annotated[str | None, typer.Option(help="The Ray cluster. Without it Ray starts here.", metavar="HOST:PORT")] = None,
    nodes: Annotated[int | None, typer.Option(help="Wait for so many nodes.", metavar="N", min=1, max=100_000)] = None,
    dataset: Dataset = None,
    data_root: DataRoot = None,
    out: Out = None,
) -> None:
    """Check before a search that it will work, here or on every node of a cluster: storage, data, versions, GPUs, Ray's token, W&B.

    Exit code 0: nothing stands in the way; 1: there are problems, each with what to do.
    """
    from tuner.machines.doctor import Checkup, examine, ready

    from . import tables

    console = new_console(lasting=True)
    folder, uri = folder_and_uri(out)
    what = Checkup(address=address, nodes=nodes, out=folder, uri=uri, dataset=dataset, data_root=data_root, wandb=wandb_mode(None))
    with interruptible("Interrupted. Nothing was changed."), console.status("Asking the nodes"):
        checks = examine(what)
    console.print(tables.checks(checks))
    if not ready(checks):
        raise typer.Exit(OURS)


# --- searches on a cluster, through Ray's jobs ----------------------------------------------------------------------------

JobsAddress = Annotated[
    str,
    typer.Option(
        help="The cluster's dashboard.", metavar="http://HOST:PORT", envvar="RAY_API_SERVER_ADDRESS", show_envvar=True, show_default=True
    ),
]
JobName = Annotated[str, typer.Argument(help="The name that `tuner submit` gave.", metavar="RUN")]
_LOCAL_DASHBOARD = "http://127.0.0.1:8265"


@commands.command(
    epilog=examples(
        "tuner submit --space my.yaml --address http://127.0.0.1:8265 --out /shared/runs",
        "tuner logs my-1121-194502 --follow",
        "tuner stop my-1121-194502 --address http://127.0.0.1:8265",
    )
)
def submit(
    space: Annotated[str, typer.Option(help=SPACE, metavar="SPACE", autocompletion=complete_space)],
    address: JobsAddress = _LOCAL_DASHBOARD,
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
    name: Annotated[str | None, typer.Option(help="Without it, the space's name and the time.", metavar="NAME")] = None,
    seed: Seed = None,
    wandb: Annotated[Wandb | None, typer.Option(help="As for `tuner search`; the login is the cluster's.", metavar="MODE")] = None,
    mlflow: Mlflow = False,
    data_root: Annotated[str | None, typer.Option(help="Where data files live on the cluster.", metavar="FOLDER")] = None,
    out: Annotated[str, typer.Option(help="A folder on the cluster that all its nodes see, or a URI.", metavar="FOLDER|URI")] = "~/runs",
    models: Models = None,
    set_: Set = None,
    no_confirm: NoConfirm = False,
    no_report: NoReport = False,
) -> None:
    """Run a search on a cluster and let go: it goes on when this machine sleeps. Prints the run's name once the search has begun."""
    from tuner.machines import jobs
    from tuner.stores.store import Store, is_uri

    content = {"label": label, "drop": drop, "id": id_, "header": header, "samples": samples, "size": size, "colours": colours}
    options = given_options(
        dataset=dataset, scale=scale, limit=limit, trials=trials, epochs=epochs, name=name, seed=seed,
        data_root=data_root and Path(data_root), models=models, set=set_, confirm=False if no_confirm else None,
        report=False if no_report else None, mlflow=mlflow or None,
        **said_of_data(**content),
    )  # fmt: skip
    words = jobs.search_words(
        {
            "dataset": dataset, "scale": scale, "limit": limit, **content, "trials": trials, "epochs": epochs, "seed": seed, "wandb": wandb,
            "set": set_,
        }
    )  # fmt: skip
    words = [*words, *(["--no-confirm"] if no_confirm else []), *(["--no-report"] if no_report else []), *(["--mlflow"] if mlflow else [])]
    what = jobs.Submission(space=space, options=options, out=out, data_root=data_root, words=words)
    with (
        interruptible("Interrupted. `tuner status --address` says whether it was submitted."),
        new_console(stderr=True).status("Submitting"),
    ):
        run = jobs.submit(what, address)
    console = new_console()
    console.print(run)  # alone on stdout's first line, for scripts
    at = f" --address {address}"
    where = Store(out).at(run).place if is_uri(out) else f"{out}/{run} on the cluster"
    say(console, f"It runs in {where}. tuner logs {run}{at} | tuner status{at} | tuner stop {run}{at}")


@commands.command(epilog="Example:  [bold]tuner logs my-1121-194502 --follow[/bold]")
def logs(
    run: JobName,
    address: JobsAddress = _LOCAL_DASHBOARD,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends. Ctrl-C ends this, not the search.")] = False,
) -> None:
    """Print what a submitted search has printed."""
    from tuner.machines import jobs

    with interruptible("The search goes on."):
        for text in jobs.logs(run, address, follow=follow):
            sys.stdout.write(text)
            sys.stdout.flush()

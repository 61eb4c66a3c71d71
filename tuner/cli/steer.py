"""The commands for searches that run, or have run: how they stand, orders to them, and what can be cleared away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuner.errors import UserError

from .options import OURS, RUN, Out, as_typed, complete_run, examples, folder_and_uri, interruptible, new_console, run_folder, say, write

if TYPE_CHECKING:
    from tuner.runs.clean import Cleaned

commands = typer.Typer()

RunName = Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)]
Address = Annotated[
    str | None,
    typer.Option(
        help="The dashboard of the cluster that it was submitted to.",
        metavar="http://HOST:PORT",
        envvar="RAY_API_SERVER_ADDRESS",
        show_envvar=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


# --- how they stand ----------------------------------------------------------------------------------------------------


@commands.command(
    epilog=examples(
        "tuner status   the searches that run here",
        "tuner status aae_unsup   one of them in full",
        "tuner status --address http://127.0.0.1:8265   those submitted to a cluster",
    )
)
def status(
    run: Annotated[str | None, typer.Argument(help=f"{RUN} Without it, all.", metavar="RUN", autocompletion=complete_run)] = None,
    address: Address = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Say which searches run and how far they are: here, or as submitted to a cluster."""
    from tuner.runs.standing import progress_of, running_in

    from . import status as found

    console = new_console()
    if address is not None:
        _submitted(run, address, as_json)
    elif run is not None:
        one = progress_of(run_folder(run, out))
        if as_json:
            _print_json(one.summary())
        else:
            for part in found.run_facts(one):
                console.print(part)
    else:
        folder, uri = folder_and_uri(out)
        running = running_in(folder)
        if as_json:
            _print_json([one.summary() for one in running])
        elif running:
            console.print(found.running_table(running, bars=console.is_terminal))
        else:
            say(console, f"No search runs in {uri or folder}/. `tuner ls` lists those that have run there.")


def _submitted(run: str | None, address: str, as_json: bool) -> None:
    from tuner.machines import jobs

    from .status import jobs_table

    console = new_console()
    found = jobs.jobs(address) if run is None else [jobs.job(run, address)]
    latest = [(job, jobs.last_words(job.name, address)) for job in found]
    if as_json:
        _print_json([asdict(job) | {"last_words": words} for job, words in latest])
    elif latest:
        console.print(jobs_table(latest))
    else:
        say(console, f"No search was submitted to {address} yet. Start with: tuner submit --space aae_unsup --address {address}")


def _print_json(content: Any) -> None:
    write(json.dumps(content, indent=2) + "\n")


# --- orders ------------------------------------------------------------------------------------------------------------


@commands.command(
    epilog=examples(
        "tuner stop aae_unsup   as Ctrl-C where it runs; tuner resume goes on with it",
        "tuner stop aae_unsup --trial 12   this one only, for good",
        "tuner stop my-1121-194502 --address http://127.0.0.1:8265",
    )
)
def stop(
    run: RunName,
    trial: Annotated[int | None, typer.Option(help="Stop this one; the search goes on with the others.", metavar="N", min=0)] = None,
    address: Address = None,
    out: Out = None,
) -> None:
    """Stop a search that runs, or one of its trials. Everything finished is kept.

    It may run on any machine that has this folder of runs. A stopped trial keeps its score so far, and does not go on with tuner resume.
    """
    from tuner.runs.orders import Order, give, wait_for_end
    from tuner.runs.results import read_run

    if address is not None:
        if trial is None:
            _stop_submitted(run, address)
        else:
            _on_the_head(run, address, ["stop", f"--trial={trial}"])
        return
    folder = _existing(run, out)
    with interruptible("Interrupted. If the order was taken up, the search follows it."):
        answer = give(folder, Order(do="stop", trial=trial))
        if answer is None:
            raise UserError(f"{folder.name} does not run: it is {read_run(folder).status}.")
        if trial is None:
            with new_console(stderr=True).status(f"{folder.name} writes down how its trials stand"):
                wait_for_end(folder)
            status = read_run(folder).status
            if status != "done":  # where the search is done, it was the confirmation that ran, and its driver has said so
                answer = f"{folder.name} is {status}. To go on: tuner resume {as_typed(folder)}"
    say(new_console(), answer)


def _stop_submitted(run: str, address: str) -> None:
    from tuner.machines import jobs

    with interruptible("The search was asked to stop."):
        job = jobs.stop(run, address)
    say(new_console(lasting=True), f"{job.name} is {job.state}.")
    if job.state in ("waiting", "running"):
        raise typer.Exit(OURS)


@commands.command(
    epilog=examples(
        "tuner enqueue aae_unsup --like 17 --set weights.cyclic=0.3",
        "tuner enqueue aae_unsup --set latent_dim=5 --set use_cyclic=false   the rest at the model's defaults",
        "tuner enqueue aae_unsup --like 17 --warm --set lr_ae=1e-4   goes on from the weights of trial 17",
        "tuner enqueue my-1121-194502 --like 17 --set lr_ae=1e-3 --address http://127.0.0.1:8265",
    )
)
def enqueue(
    run: RunName,
    like: Annotated[int | None, typer.Option(help="Copy this trial, but for what --set says.", metavar="TRIAL", min=0)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A value; may be repeated.", metavar="KEY=VALUE")] = None,
    warm: Annotated[bool, typer.Option("--warm", help="Start its training from that trial's weights.")] = False,
    address: Address = None,
    out: Out = None,
) -> None:
    """Hand a configuration to a search, to be tried next: a copy of a trial with changes, or a whole one.

    Without --like, what is not said has the space's fixed value or the model's default. It is one of the search's trials, and the
    sampler learns from it as from any other. Where the search does not run it is kept for tuner resume.

    With --warm it takes what fits of the weights that --like has kept. Its score is then compared with no other trial's: it cannot be the
    best, and the sampler is told nothing of it.
    """
    from tuner.runs.orders import Order, give

    if like is None and not set_:
        raise UserError("Say what is to be tried: --like TRIAL, --set KEY=VALUE, or both.")
    if warm and like is None:
        raise UserError("--warm starts from a trial's weights. Say whose: --like TRIAL.")
    if address is not None:
        words = [*([] if like is None else [f"--like={like}"]), *(f"--set={text}" for text in set_ or []), *(["--warm"] if warm else [])]
        _on_the_head(run, address, ["enqueue", *words])
        return
    folder = _existing(run, out)
    order = Order(do="enqueue", like=like, set=tuple(set_ or ()), warm=warm)
    with interruptible("Interrupted. `tuner status` and `tuner show` say whether it was taken up."):
        answer = give(folder, order)
        if answer is None:
            from tuner.service.steering import keep_for_resume

            missing = keep_for_resume(folder, order)
            more = f" --trials +{missing}" if missing else ""
            answer = f"{folder.name} does not run. This is kept, and tried first with: tuner resume {as_typed(folder)}{more}"
    say(new_console(), answer)


def _existing(run: str, out: str | None) -> Path:
    """The folder of a run that there is."""
    from tuner.runs.paths import SPEC
    from tuner.runs.results import no_such_run

    folder = run_folder(run, out)
    if not (folder / SPEC).is_file():
        raise no_such_run(folder)
    return folder


def _on_the_head(run: str, address: str, words: list[str]) -> None:
    """The same command where the search runs."""
    from tuner.machines import jobs

    with interruptible("Interrupted. If the cluster has taken the order up, the search follows it."):
        with new_console(stderr=True).status("Asking the cluster"):
            answer = jobs.order(run, address, words)
    say(new_console(), answer)


# --- clearing away -----------------------------------------------------------------------------------------------------


@commands.command(
    epilog=examples(
        "tuner clean aae_unsup --dry-run   what it would remove",
        "tuner clean runs/*",
    )
)
def clean(
    runs: Annotated[list[str], typer.Argument(help="Their names, or folders.", metavar="RUN...", autocompletion=complete_run)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it, and remove nothing.")] = False,
    out: Out = None,
) -> None:
    """Remove what is not needed to show a run, to resume it, or to use its winner; say what, and how much that was.

    What goes: checkpoints of trials that have ended, files that a killed driver left half-written, its lock and Ray's scratch folder.
    """
    from tuner.runs import clean as cleaning

    console = new_console(lasting=True)
    for found in cleaning.clean([_existing(run, out) for run in runs], dry_run=dry_run):
        console.print("\n".join(_cleaned(found, dry_run=dry_run)), soft_wrap=True)


def _cleaned(one: Cleaned, *, dry_run: bool) -> Iterator[str]:
    """What was removed, one line for each reason, and the sum."""
    from tuner.text import counted, size

    if not one.found:
        yield f"{one.folder.name}: nothing to remove."
        return
    yield f"{one.folder.name}: {size(sum(n for _, _, n in one.found))} {'could be removed' if dry_run else 'removed'}"
    for why in dict.fromkeys(why for why, _, _ in one.found):
        alike = [(path, n) for reason, path, n in one.found if reason == why]
        yield f"  {counted(len(alike), 'file')}, {size(sum(n for _, n in alike))}: {why}"

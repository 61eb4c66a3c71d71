"""`tuner confirm`."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.quick_imports import quick_imports

from .options import (
    RUN,
    DataRoot,
    Out,
    complete_run,
    examples,
    interruptible,
    new_console,
    print_warnings,
    run_folder,
)  # fmt: skip

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "tuner confirm aae_unsup   the best five and the model's default, ten fresh seeds each",
        "tuner confirm aae_unsup --top 3 --seeds 5",
        "tuner confirm aae_unsup --seeds 20   goes on: seeds that were trained are not trained again",
    )
)
def confirm(
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    top: Annotated[
        int | None, typer.Option(help="How many of the best configurations.", metavar="N", min=1, show_default="as before, or 5")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="How many fresh seeds each.", metavar="N", min=2, max=1000, show_default="as before, or 10")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Join this Ray cluster, or 'local'.", metavar="HOST:PORT", show_default="as before")
    ] = None,
    data_root: DataRoot = None,
    dataset: Annotated[str | None, typer.Option(help="Where the run's data are now.", metavar="NAME", show_default="as before")] = None,
    out: Out = None,
) -> None:
    """Train a search's best configurations again on fresh seeds, and say what its winner is worth.

    Always beside the model's default. Ctrl-C keeps everything, and the same command goes on. best.yaml then names the confirmed winner.
    """
    from tuner.runs.results import read_run

    from .confirm_view import end_of_confirmation, print_confirmed
    from .end import print_page, print_uploads

    console = new_console(lasting=True)
    print_warnings(new_console(stderr=True))
    folder = run_folder(run, out, whole=True)
    about = read_run(folder).spec_json
    with interruptible("Interrupted before the first training."):
        from tuner.machines.cluster import address_again, start_ray_early

        start_ray_early(address_again(address, about))
        with quick_imports("torch"), console.status(f"Reading {folder.name}"):
            from tuner.service.confirm import ConfirmOptions
            from tuner.service.confirm import confirm as run_confirm

            from .live import Display

        options = ConfirmOptions(
            top=top, seeds=seeds, address=address, data_root=data_root, dataset=dataset, listeners=(Display(console),),
            report=True,
        )  # fmt: skip
        outcome = run_confirm(folder, options)
    print_confirmed(outcome, console)
    print_page(outcome.page, console)
    print_uploads(outcome.sent, folder, console)
    end_of_confirmation(outcome)

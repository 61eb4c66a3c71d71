"""`tuner report` and `tuner watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import RUN, DataRoot, Out, complete_run, examples, new_console, run_folder, say

commands = typer.Typer()

RUNS = "A run's name, or its folder. Of several, they are compared."


@commands.command(
    epilog=examples(
        "tuner report aae_unsup   writes runs/aae_unsup/report.html, and report.md beside it",
        "tuner report idec vade dec --output models.html",
        "tuner report aae_unsup --wandb   and a report in W&B, with parallel coordinates, curves and pictures",
    )
)
def report(
    run: Annotated[list[str], typer.Argument(help=RUNS, metavar="RUN...", autocompletion=complete_run)],
    output: Annotated[
        Path | None, typer.Option(help="The page's file.", metavar="FILE", show_default="report.html, of one run in its folder")
    ] = None,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Make a report in W&B, too, or keep it for later where W&B does not answer.")
    ] = False,
    out: Out = None,
    data_root: DataRoot = None,
) -> None:
    """Write one page about a search, which opens in any browser without a network: its verdict, figures and tables.

    Every figure can be saved as PNG, SVG and CSV. The same text stands as Markdown beside it. Of several runs: a comparison.
    """
    from tuner.report.write import write_report
    from tuner.text import near, size

    written = write_report([run_folder(name, out) for name in run], output, data_root=data_root)
    say(new_console(), f"Report: {near(written.page)} ({size(written.page.stat().st_size)}), and {near(written.text)}")
    if wandb:
        from tuner.report.sent import send_to_wandb

        for part in written.parts:
            send_to_wandb(part, lambda text: say(new_console(), text))


@commands.command(
    epilog=examples(
        "tuner watch aae_unsup   then open http://127.0.0.1:8800/",
        "tuner watch aae_unsup --port 0   on any port that is free",
    )
)
def watch(
    run: Annotated[str, typer.Argument(help=RUN, metavar="RUN", autocompletion=complete_run)],
    port: Annotated[int, typer.Option(help="0: any that is free.", metavar="PORT", min=0, max=65535)] = 8800,
    host: Annotated[str, typer.Option(help="A loopback address: the page is for this machine alone.", metavar="ADDRESS")] = "127.0.0.1",
    out: Out = None,
) -> None:
    """Serve the page about a search to a browser of this machine while it runs; the page renews itself. Ctrl-C ends it.

    Nothing but reading: nothing that a browser asks for changes anything.
    """
    from tuner.report.watch import serve

    console = new_console()
    serve(run_folder(run, out), host, port, lambda url: say(console, f"{url}   Ctrl-C ends it."))

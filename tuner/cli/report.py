"""`tuner report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DataRoot, Out, complete_run, examples, new_console, run_folder, say

commands = typer.Typer()

RUNS = "A run's name, or its folder. Of several, they are compared."


@commands.command(
    epilog=examples(
        "tuner report aae_unsup   writes runs/aae_unsup/report.html, and report.md beside it",
        "tuner report idec vade dec --output models.html",
    )
)
def report(
    run: Annotated[list[str], typer.Argument(help=RUNS, metavar="RUN...", autocompletion=complete_run)],
    output: Annotated[
        Path | None, typer.Option(help="The page's file.", metavar="FILE", show_default="report.html, of one run in its folder")
    ] = None,
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

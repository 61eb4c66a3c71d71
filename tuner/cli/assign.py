"""`tuner assign`: a cluster for every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .options import (
    DataRoot,
    Models,
    Out,
    Trained,
    complete_dataset,
    examples,
    interruptible,
    new_console,
    print_warnings,
    say,
    trained_model,
)

commands = typer.Typer()

Source = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        help="An npy, npz, csv or parquet file, or a data set.",
        metavar="FILE|NAME",
        show_default="what it was trained on",
        autocompletion=complete_dataset,
    ),
]
Names = Annotated[str | None, typer.Option("--id", help="The column with the samples' names; it is carried through.", metavar="COLUMN")]


@commands.command(
    epilog=examples(
        "tuner assign idec --output clusters.csv   of the samples that it was trained on",
        "tuner assign idec --input new.parquet --id sample --output clusters.parquet --code",
        "tuner assign runs/idec/best.yaml --input npz:new.npz --output clusters.npz",
    )
)
def assign(
    run: Trained,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write: .csv, .parquet or .npz.", metavar="FILE")],
    source: Source = None,
    names: Names = None,
    code: Annotated[bool, typer.Option("--code", help="Write the latent code of every sample, too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output, if it is there.")] = False,
    any_range: Annotated[bool, typer.Option("--any-range", help="Take samples of another range than training's.")] = False,
    data_root: DataRoot = None,
    models: Models = None,
    out: Out = None,
) -> None:
    """Assign samples to the clusters of a run's best model: cluster, confidence, and what it is ahead of the next.

    Samples are scaled exactly as in training. A file of any size is read in pieces.
    """
    from tuner.inference.outputs import check_output

    check_output(output, overwrite=overwrite)
    console, progress = new_console(lasting=True), new_console(stderr=True)
    print_warnings(progress)
    what = trained_model(run, out)
    with interruptible("Interrupted. Nothing was written."):
        with progress.status("Reading the model") as status:
            from tuner.inference.clusters import Request, assign_to_file
            from tuner.inference.load import load_trained
            from tuner.text import counted, near

            trained = load_trained(what, data_root=data_root, models=models or ())
            request = Request(source=source, names=names, code=code, check_range=not any_range, data_root=data_root)

            def written(n: int) -> None:
                status.update(f"Assigning: {counted(n, 'sample')}")

            done = assign_to_file(trained, request, output, overwrite=overwrite, written=written)
    sizes = ", ".join(f"{cluster}: {n:,}" for cluster, n in done.sizes.items())
    about = f": {counted(done.rows, 'sample')} in {counted(len(done.sizes), 'cluster')}; confidence {done.confidence:.3f} on average"
    say(console, Text.assemble((near(output.absolute()), "bold"), about))
    say(console, Text(f"Samples of each cluster: {sizes}", style="dim"))

"""`tuner export`: a trained model for places without tuner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from .options import DataRoot, Models, Out, Trained, examples, interruptible, new_console, print_warnings, say, trained_model

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "tuner export idec --to idec-model   README.md in it has the lines that load it",
        "tuner export runs/idec/best.yaml --to idec-model --onnx   needs tuner\\[onnx]",
    )
)
def export(
    run: Trained,
    to: Annotated[Path, typer.Option("--to", help="The folder to write; it must be new or empty.", metavar="FOLDER")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the program as ONNX, too.")] = False,
    data_root: DataRoot = None,
    models: Models = None,
    out: Out = None,
) -> None:
    """Write a run's best model as a program that needs torch alone, with its weights and a model card.

    It takes samples as they are, scales them as in training, and gives the probability of every cluster and the code.
    """
    from tuner.inference.export import export as write
    from tuner.text import near, size

    console = new_console(lasting=True)
    print_warnings(new_console(stderr=True))
    what = trained_model(run, out)
    with interruptible("Interrupted. Nothing was written."):
        done = write(what, to, onnx=onnx, data_root=data_root, models=models or ())
    shape = ", ".join(map(str, done.shape))
    say(console, Text.assemble((near(done.folder.absolute()), "bold"), f": samples ({shape}) to {done.n_clusters} clusters"))
    for name in done.files:
        say(console, Text(f"  {name}  {size((done.folder / name).stat().st_size)}", style="dim"))
    say(console, "Fill in the licence in README.md before you pass it on; its first lines of Python load the model.")

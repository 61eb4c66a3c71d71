"""The commands for a model of your own: `new-model` writes one, `verify` tries it."""

from __future__ import annotations

import os
import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from .options import THEIRS, complete_model, examples, new_console, say

if TYPE_CHECKING:
    from tuner.testing.found import Broken

commands = typer.Typer()


@commands.command("new-model", epilog=examples("tuner new-model my_model.py", "tuner train my_model --models my_model.py"))
def new_model(
    file: Annotated[Path, typer.Argument(help="The file to write: NAME.py, by which the model is known then.", metavar="FILE")],
) -> None:
    """Write a model's file to start from: an auto-encoder with cluster centres, commented, which trains as it is."""
    from tuner.api.known import new_model as write

    write(file)
    shown = shlex.quote(str(file))
    console = new_console()
    say(console, f"{file} has an auto-encoder whose codes are drawn to cluster centres. Make it your method, and try it:")
    console.print(f"  tuner train {file.stem} --models {shown}\n  tuner verify {shown}", soft_wrap=True)


@commands.command(epilog=examples("tuner verify my_model.py", "tuner verify my_model.py --all   also what takes minutes"))
def verify(
    what: Annotated[str, typer.Argument(help="A model's file, or its name.", metavar="FILE|MODEL", autocompletion=complete_model)],
    everything: Annotated[bool, typer.Option("--all", help="Also the checks that take minutes.")] = False,
) -> None:
    """Check that a model keeps its promises: every term alive, the same seed the same result, a pack as good as alone."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there: tensors this small are slower on several threads
    from tuner.testing.checks import CHECKS, SLOW_CHECKS
    from tuner.testing.found import Broken, load

    if not what.endswith(".py") and Path(f"{what}.py").is_file():
        what = f"{what}.py"
    model, console = load(what), new_console(lasting=True)
    checks = (*CHECKS, *SLOW_CHECKS) if everything else CHECKS
    found: list[Broken] = []
    tried = 0
    for check in checks:
        tried += 1
        try:
            check(model)
        except Broken as broken:
            if any((broken.what, broken.place) == (other.what, other.place) for other in found):
                continue
            found.append(broken)
            console.print(Text.assemble(("FAILED  ", "bold red"), check.name), soft_wrap=True)
            _print_broken(broken, console)
            if broken.stops:
                break
        else:
            console.print(Text.assemble(("ok      ", "green"), check.name), soft_wrap=True)
    rest = len(checks) - tried
    if found:
        more = f" {rest} more checks wait until this is mended." if rest else ""
        say(console, f"{what}: {len(found)} of {tried} checks failed.{more}")
        raise typer.Exit(THEIRS)
    say(console, f"{what}: all {tried} checks hold.")


def _print_broken(broken: Broken, console: Console) -> None:
    parts = [broken.what, broken.means, broken.remedy and f"Remedy: {broken.remedy}"]
    if broken.place is not None:
        parts = [f"{broken.place}", f"    {broken.place.text}", *parts]
    width = console.width if console.is_terminal else 100
    for part in filter(None, parts):
        quoted = part.startswith("    ")
        lines = [part] if quoted else textwrap.wrap(part, width - 8, break_long_words=False, break_on_hyphens=False)
        for line in lines:
            console.print(f"        {line}", soft_wrap=True)

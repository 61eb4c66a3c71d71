"""What `tuner check` prints: everything that a search would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.text import megabytes, setting

from .tables import facts, list_table

if TYPE_CHECKING:
    from tuner.model import DataSpec
    from tuner.space.ranges import Range
    from tuner.space.spec import Spec


def space_view(spec: Spec, data: DataSpec) -> Iterator[RenderableType]:
    """The settings, the parameters that are searched and fixed, the model's defaults, and notes."""
    yield facts(_settings(spec, data))
    yield Text()
    yield _searched(spec)
    fixed: list[tuple[str, RenderableType]] = [
        (found.name, Text.assemble(setting(found.value), (f"  when {_when(found)}" if found.when else "", "dim")))
        for found in spec.parameters
        if not found.searched
    ]
    if fixed:
        yield Text()
        yield Text("Fixed", style="bold")
        yield facts(fixed)
    defaults = {key.removeprefix("parameters."): value for key, value in spec.filled.items() if key.startswith("parameters.")}
    if defaults:
        yield Text()
        yield Text(f"Left at {spec.model}'s defaults", style="bold")
        yield Text(" · ".join(f"{name}={setting(value)}" for name, value in defaults.items()))
    for note in spec.notes:
        yield Text()
        yield Text.assemble(("Note: ", "yellow"), note)


def _settings(spec: Spec, data: DataSpec) -> Iterator[tuple[str, RenderableType]]:
    from tuner.search.budget import largest, sizes
    from tuner.space.keys import KEYS  # not above: it imports torch, and commands that only list import the views, too
    from tuner.training.room import needed, of_machine

    def marked(text: str, *keys: str) -> Text:
        """Marked as a default where one of the keys is not in the file."""
        default = any(key in spec.filled for key in keys)
        return Text.assemble(text, ("  (default)" if default else "", "dim"))

    for row in (row for key in KEYS.values() for row in key.rows(spec.by_key, data)):
        yield row.label, marked(row.text, *row.filled)
    need = needed(spec.loaded(), largest(spec), data) / 1e9
    yield "a training", f"about {need:.2g} GB of memory; this machine has {of_machine() / 1e9:.3g} GB"
    yield "a checkpoint", f"up to {megabytes(sizes(spec, data).state)}"


def _searched(spec: Spec) -> Table:
    table = list_table("Searched")
    table.add_column("name", no_wrap=True)
    table.add_column("values", overflow="fold")
    table.add_column("when", overflow="fold", style="dim")
    for found in spec.searched():
        name = Text(found.name).append(" (switch)", style="dim") if found.name in spec.switches else Text(found.name)
        table.add_row(name, _values(found), _when(found))
    return table


def _values(found: Range) -> str:
    prior = found.prior
    if prior is None:
        return _range(found)
    spread = "" if prior.spread is None else f" {'×÷' if found.log else '±'} {prior.spread:g}"
    return f"{_range(found)}, first around {setting(prior.value)}{spread}"


def _range(found: Range) -> str:
    if found.kind == "values":
        return " | ".join(setting(value) for value in found.values)
    assert found.min is not None and found.max is not None
    scale = " on a log scale" if "log" in found.kind else ""
    step = f" in steps of {found.q:g}" if found.q not in (None, 1) else ""
    whole = ", whole" if found.kind == "int_uniform" or found.q == 1 else ""
    return f"{setting(found.min)} … {setting(found.max)}{whole}{step}{scale}"


def _when(found: Range) -> str:
    conditions = ", ".join(f"{name} = {' | '.join(map(setting, values))}" for name, values in found.when.items())
    return f"{conditions}, otherwise {setting(found.otherwise)}" if found.otherwise is not None else conditions

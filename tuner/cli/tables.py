"""What the views share: tables without lines, names of states in colour, which metrics are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.runs.states import STATES

if TYPE_CHECKING:
    from tuner.machines.checks import Check

COLOURS = {name: state.colour for name, state in STATES.items()}


def states(counts: Mapping[str, int], *, always: Sequence[str] = ()) -> Text:
    """`6 complete · 4 pruned`, in colour; states that nobody is in are left out."""
    shown = [state for state in (*COLOURS, *counts) if counts.get(state) or state in always]
    parts = [Text(f"{counts.get(state, 0)} {state}", style=COLOURS.get(state, "")) for state in dict.fromkeys(shown)]
    return Text(" · ").join(parts)


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Names on the left, what they are on the right, no lines."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, what in rows:
        table.add_row(name, what)
    return table


def list_table(title: str | None = None, *, caption: str | None = None) -> Table:
    """A rule below the names of its columns, no other lines."""
    return Table(
        title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", title_style="bold",
        pad_edge=False, show_edge=False,
    )  # fmt: skip


def checks(found: Sequence[Check]) -> Table:
    """`tuner doctor`: what was found, and below it what to do."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found:
        text = Text(one.found)
        if one.todo:
            text.append(f"\n→ {one.todo}", style="dim")
        table.add_row(one.name, Text(one.state, style={"ok": "green", "note": "cyan", "problem": "bold red"}[one.state]), text)
    return table


def names_table(rows: Iterable[tuple[str, str]]) -> Table:
    """`tuner models`, `tuner spaces`."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, what in rows:
        table.add_row(name, what)
    return table

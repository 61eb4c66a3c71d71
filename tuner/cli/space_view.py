"""What `tuner check` prints: everything that a search would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tuner.text import NEAR, counted, megabytes, setting

from .tables import LABELLED, RULES, facts, list_table

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
    from tuner.search.budget import sizes

    def marked(text: str, *keys: str) -> Text:
        """Marked as a default where one of the keys is not in the file."""
        default = any(key in spec.filled for key in keys)
        return Text.assemble(text, ("  (default)" if default else "", "dim"))

    uses = " (uses the labels)" if spec.metric.name in LABELLED else ""
    gpu = "a GPU where there is one" if spec.resources.gpu == "auto" else f"{spec.resources.gpu:g} GPU"
    budget = f", all together {spec.checkpoint_gb:g} GB" if spec.checkpoint_gb else ""
    packs = {"auto": "in packs where they pay", 1: "each by itself"}.get(spec.resources.pack, f"in packs of up to {spec.resources.pack}")
    yield "name", marked(spec.name, "name")
    yield "model", spec.model
    yield "data set", _dataset(spec, data)
    yield "metric", marked(f"{spec.metric.name}, {spec.metric.goal}{uses}", "metric.goal")
    yield "score", marked(f"{spec.metric.name} {RULES[spec.score]}", "score")
    yield "method", marked(spec.method, "method")
    yield "trials", marked(str(spec.trials), "trials")
    yield "epochs", marked(str(spec.epochs), "epochs")
    yield "seed", marked(str(spec.seed), "seed")
    yield "pre-training seed", marked(str(spec.pretrain_seed), "pretrain_seed")
    yield "precision", marked(spec.precision, "precision")
    yield "stopped early", marked(_early(spec), "early_terminate.grace", "early_terminate.reduction")
    yield "each trial has", marked(f"{spec.resources.cpu:g} CPU, {gpu}", "resources.cpu", "resources.gpu")
    yield "trials train", marked(packs, "resources.pack")
    yield "retries", marked(f"{counted(spec.retries, 'time')} if a trial's process is killed", "retries")
    yield "a checkpoint", f"up to {megabytes(sizes(spec, data).state)}{budget}"


def _dataset(spec: Spec, data: DataSpec) -> str:
    name = spec.dataset.name + (f", limit {spec.dataset.limit:,}" if spec.dataset.limit else "")
    name += f", scale {spec.dataset.scale}" if spec.dataset.scale else ""
    shape, labels = "x".join(map(str, data.shape)), f"{data.n_classes} classes" if data.n_classes else "no labels"
    near = f"; {NEAR[spec.dataset.name]}" if spec.dataset.name in NEAR else ""
    return f"{name}: {data.n_samples:,} samples of {shape}, {labels}{near}"


def _early(spec: Spec) -> str:
    asha = spec.early_terminate
    if asha is None:
        return "nothing"
    return f"asha: all but the best 1/{asha.reduction} after {asha.grace}, {asha.grace * asha.reduction}, … epochs"


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

"""A search as a W&B report: its specification, which is kept in the run's folder, and the report made of it, where W&B answers.

The report is made with W&B's own package for it, wandb-workspaces, in a process of its own: there it may print, retry and hang.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tuner.atomic import write_whole
from tuner.errors import UserError, first_line

from .wandb_login import asked

SPECIFICATION = "report.json"  # in the run's `wandb`
PACKAGE = "wandb_workspaces"
TIMEOUT_S = 90
GRID = 24  # columns of W&B's grid of panels


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A parameter of the search. `log`: drawn on a logarithmic scale."""

    name: str
    log: bool


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What the report holds. `group`, `search`: by which W&B knows the runs of the search, and the run of its own. `curves`: metrics, the
    one that was searched for first. `media`, `tables`: names of what the search's own run was given. `winner`: of what they are, so that
    they are not sent twice. `id`, `url`: of the report, once it was made."""

    project: str
    entity: str | None
    title: str
    group: str
    search: str
    text: Sequence[str]
    goal: str
    parameters: Sequence[Axis]
    curves: Sequence[str]
    media: Sequence[str]
    tables: Sequence[str]
    winner: str
    id: str | None = None
    url: str | None = None

    def write(self, folder: Path) -> Path:
        """Into the folder of the run."""
        path = folder / "wandb" / SPECIFICATION
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")
        return path

    @staticmethod
    def of(content: dict[str, Any]) -> Specification:
        lists = {name: tuple(content[name]) for name in ("text", "curves", "media", "tables")}
        return Specification(**{**content, **lists, "parameters": tuple(Axis(**one) for one in content["parameters"])})

    @staticmethod
    def read(folder: Path) -> Specification | None:
        """The run's, if it has one.

        Raises:
            UserError: it is damaged.
        """
        path = folder / "wandb" / SPECIFICATION
        try:
            return Specification.of(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({first_line(error)}). Remove it: tuner report --wandb writes it anew.") from error


def built(specification: Specification) -> Any:
    """The report as `wandb_workspaces` has it; it is W&B's once its `save` was called."""
    wr = importlib.import_module(f"{PACKAGE}.reports.v2")
    one, where = specification, {"entity": specification.entity or "", "project": specification.project}
    score = wr.SummaryMetric(one.curves[0])
    best_first = [wr.OrderBy(name=score, ascending=one.goal == "minimize")]
    of_group = f"Metric('Group') == {one.group!r} and Metric('JobType') == "
    trials = wr.Runset(**where, name="Trials", filters=f"{of_group}'trial'", order=best_first)
    itself = wr.Runset(**where, name="The search", filters=f"{of_group}'search'")
    return wr.Report(
        project=one.project,
        title=one.title,
        width="fluid",
        blocks=[
            *(wr.P(text=line) for line in one.text),
            wr.H2(text="Trials"),
            wr.PanelGrid(runsets=[trials], panels=list(_of_trials(wr, one))),
            wr.H2(text="Tables and pictures"),
            wr.PanelGrid(runsets=[itself], panels=list(_of_search(wr, one))),
        ],
        **({"entity": one.entity} if one.entity else {}),
    )


def _of_trials(wr: Any, one: Specification) -> Iterator[Any]:
    """The panels over the trials' runs."""
    axes = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(axis.name), log=axis.log) for axis in one.parameters]
    axes.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(one.curves[0])))
    half = GRID // 2
    yield wr.ParallelCoordinatesPlot(title="Every trial across all parameters", columns=axes, layout=wr.Layout(w=GRID, h=10))
    yield wr.ParameterImportancePlot(with_respect_to=one.curves[0], layout=wr.Layout(y=10, w=half, h=9))
    for i, name in enumerate(one.curves):
        place = wr.Layout(x=half * ((i + 1) % 2), y=10 + 9 * ((i + 1) // 2), w=half, h=9)
        yield wr.LinePlot(title=f"{name} by epoch", x="Step", y=[name], layout=place)


def _of_search(wr: Any, one: Specification) -> Iterator[Any]:
    """The panels over the search's own run."""
    for i, name in enumerate(one.tables):
        yield wr.WeavePanelSummaryTable(table_name=name, layout=wr.Layout(y=10 * i, w=GRID, h=10))
    below = 10 * len(one.tables)
    for i, name in enumerate(one.media):
        place = wr.Layout(x=8 * (i % 3), y=below + 10 * (i // 3), w=8, h=10)
        yield wr.MediaBrowser(title=name.rpartition("/")[2], num_columns=1, media_keys=[name], layout=place)


def can_be_made() -> bool:
    """Whether W&B's package for reports is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def create(specification: Specification) -> tuple[Specification, str | None]:
    """Makes the report, or makes the one anew that it was; and why it could not."""
    if not can_be_made():
        return specification, "that takes wandb-workspaces: pip install 'tuner[wandb-report]'"
    answer = asked("tuner.trackers.wandb_report", asdict(specification), TIMEOUT_S)
    if "why" in answer:
        return specification, str(answer["why"])
    return replace(specification, **answer), None


def _save(content: dict[str, Any]) -> dict[str, str]:
    import wandb

    one = Specification.of(content)
    wandb.setup(settings=wandb.Settings(silent=True))
    entity = one.entity or wandb.Api().default_entity
    report = built(replace(one, entity=entity))
    report.id = one.id or ""
    report.save()
    return {"entity": entity, "id": report.id, "url": report.url}


if __name__ == "__main__":
    try:
        print(json.dumps(_save(json.load(sys.stdin))))
    except Exception as error:  # the specification is kept, with this as the reason
        print(json.dumps({"why": first_line(error)}))

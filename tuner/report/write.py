"""A report is made: read the runs, write the page and the text beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.atomic import write_whole
from tuner.errors import UserError

from .markdown import markdown
from .material import read_material
from .page import page, pictures_page
from .sections import Part
from .winner import pictures

if TYPE_CHECKING:
    from tuner.inference.clustered import Clustered

    from .figure import Figure

REPORT = "report.html"  # in the run's folder; of several runs, in the current one


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written. `parts`: of the page, one of each run."""

    page: Path
    text: Path
    parts: Sequence[Part] = ()


def write_report(folders: Sequence[Path], output: Path | None = None, *, data_root: Path | None = None) -> Written:
    """Writes the page about the runs in `folders`, and the text beside it. `output`: the page's file; by default report.html, of one run
    in its folder, of several in the current one. `data_root`: the folder of data files, of which the winner's pictures are made.

    Raises:
        UserError: a run is damaged or not there, or the file cannot be written.
    """
    target = output or (folders[0] / REPORT if len(folders) == 1 else Path(REPORT))
    if target.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"A report is an HTML file, but '{target}' does not end in .html. Say, for example, {target.with_suffix('.html')}.")
    if target.is_dir():
        raise UserError(f"'{target}' is a folder. Name the file that the report is to be.")
    parts = [Part.of(read_material(folder), data_root=data_root) for folder in folders]
    text = target.with_suffix(".md")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, page(parts))
        write_whole(text, markdown(parts))
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}.") from error
    return Written(page=target, text=text, parts=parts)


def write_pictures(target: Path, found: Clustered, title: str, lead: str) -> Path:
    """Writes the page of one trained model's pictures.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_whole(target, pictures_page(title, lead, pictures(found)))
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target


def figures_of(folder: Path) -> Mapping[str, Figure]:
    """The figures of a run's page by name.

    Raises:
        UserError: the run is damaged or not there.
    """
    return {figure.name: figure for section in Part.of(read_material(folder)).sections for figure in section.figures}

"""`tuner reproduce`: a recipe's trainings are done, and its page and text written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.atomic import write_whole
from tuner.data.datasets import describe, load
from tuner.data.names import NEAR
from tuner.errors import UserError
from tuner.report.figure import Section
from tuner.report.markdown import markdown_page
from tuner.report.page import pictures_page
from tuner.runs.lock import RunLock
from tuner.text import counted, near
from tuner.training.room import check_room
from tuner.training.trial import check_fits

from .recipe import LETTERS, SIZES, Asked, Job, Recipe
from .trained import CHECKPOINT_S, Kept, Result, train_one
from .views import VIEWS, Shown

if TYPE_CHECKING:
    from tuner.data.datasets import Data, DatasetSpec
    from tuner.training.loop import Epoch

FOLDER = "reproduced"  # in the current one


@dataclass(frozen=True, kw_only=True)
class Told:
    """Who hears of what is done. `begins`: a training, its number and how many there are; `epoch`: it ended one; `ends`: it ended."""

    begins: Callable[[Job, int, int], None]
    epoch: Callable[[Job, Epoch], None]
    ends: Callable[[Result], None]


@dataclass(frozen=True, kw_only=True)
class Made:
    page: Path
    text: Path


def reproduce(recipe: Recipe, asked: Asked, out: Path, told: Told, data_root: Path | None = None) -> Made:
    """Does the trainings that are not done yet, and writes the page and the text. `out`: the folder of everything; one that was
    interrupted goes on there.

    Raises:
        UserError: data are absent, a model does not fit them, a training needs more memory than is here, or another process works in the
            folder. All of it is found before anything is trained.
    """
    jobs = recipe.asked(asked)
    folder = out / (recipe.name if asked.size == SIZES[0] else f"{recipe.name}-{asked.size}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with RunLock(folder):
            kept = _kept(recipe, jobs, folder, data_root)
            results = list(_results(kept, told))
            sections = [_section(recipe, number, results, kept) for number in range(len(recipe.views))]
            return _write(recipe, asked, folder, [section for section in [*sections, *_ends(recipe, results)] if section])
    except OSError as error:
        raise UserError(f"{near(folder)} cannot be written: {error.strerror or error}.") from error


def _kept(recipe: Recipe, jobs: Sequence[Job], folder: Path, data_root: Path | None) -> list[Kept]:
    """With the data, each set read once."""
    for job in jobs:
        if job.seed == 0:
            check_room(job.model, job.hyper(), describe(job.data, data_root))
    data: dict[DatasetSpec, Data] = {}
    drawn = {id(job) for view in recipe.views if view.figures for job in recipe.chosen(view, jobs) if job.seed == 0}
    found = []
    for job in jobs:
        if job.data not in data:
            data[job.data] = load(job.data, data_root)
        check_fits(job.model, job.hyper(), data[job.data])
        found.append(Kept(folder=folder, job=job, data=data[job.data], pictured=id(job) in drawn))
    return found


def _results(all_kept: Sequence[Kept], told: Told, every_s: float = CHECKPOINT_S) -> Iterator[Result]:
    for number, kept in enumerate(all_kept, 1):
        found = kept.result()
        if found is None:
            told.begins(kept.job, number, len(all_kept))
            found = train_one(kept, partial(told.epoch, kept.job), every_s)
            told.ends(found)
        yield found


def _section(recipe: Recipe, number: int, results: Sequence[Result], kept: Sequence[Kept]) -> Section:
    view = recipe.views[number]
    chosen = {id(job) for job in recipe.chosen(view, [one.job for one in results])}
    mine = [one for one in results if id(one.job) in chosen]
    pictured = [one for one in kept if one.pictured and id(one.job) in chosen] if view.figures else []
    return VIEWS[view.kind](Shown(recipe=recipe, view=view, results=mine, kept=pictured))


def _ends(recipe: Recipe, results: Sequence[Result]) -> Iterator[Section]:
    """What the letters mean, and where the published values stand."""
    said = recipe.published
    if said:
        letters = dict.fromkeys(letter for one in said for letter in one.letters)
        sources = dict.fromkeys(one.source for one in said)
        text = ["; ".join(f"{letter}: {LETTERS[letter]}" for letter in LETTERS if letter in letters) + ".", f"From: {'; '.join(sources)}."]
        if not all(one.verified for one in said):
            text.append("A value marked u or a is a hint: nothing here is measured by it.")
        yield Section(title="Published values", text=text)
    sets = dict.fromkeys(one.job.data.name for one in results)
    yield Section(title="Data", text=[f"{name} is {NEAR[name]}." for name in sets if name in NEAR])


def _write(recipe: Recipe, asked: Asked, folder: Path, sections: Sequence[Section]) -> Made:
    lead = f"From: {recipe.source}."
    changed = f", with {' '.join(asked.changes)}" if asked.changes else ""
    command = f"tuner reproduce {recipe.name}{' --paper' if asked.size != SIZES[0] else ''}"
    seeds = counted(asked.seeds or recipe.seeds[asked.size], "seed")
    done = f"{command}{changed}: the size '{asked.size}', {counted(len(recipe.asked(asked)), 'training')} over {seeds}."
    first = Section(title="What is shown", text=[*([f"The source: {recipe.says}"] if recipe.says else []), done])
    page, text = folder / f"{recipe.name}.html", folder / f"{recipe.name}.md"
    write_whole(page, pictures_page(recipe.title, lead, [first, *sections]))
    write_whole(text, markdown_page(recipe.title, lead, [first, *sections], page.name))
    return Made(page=page, text=text)

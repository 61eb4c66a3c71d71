"""`tuner.reproduce`: a figure or table of the sources, made again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Place, Settings, at_least, path_or_none
from .arguments import settings as texts

if TYPE_CHECKING:
    from tuner.reproduce.run import Made


def reproduce(
    recipe: Place,
    *,
    paper: bool = False,
    seeds: int | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    set: Settings = (),  # noqa: A002 - the flag's name
    out: Place | None = None,
    data_root: Place | None = None,
) -> Made:
    """Does the trainings of a recipe that are not done yet, in this process, and writes its page and its text: what `tuner reproduce` does.

    `recipe`: one of `tuner.recipes()`, or a YAML of your own. `paper`: the source's data, networks and lengths; else minutes, on digits.
    `seeds`: of each training; `epochs`, `limit`, `set`: change every training that has them. `out`: the folder of everything, `reproduced`
    by default. Gives the files: `page` (HTML) and `text` (Markdown).

    Raises:
        UserError: no such recipe, or what is wrong with it; data are absent, a model does not fit them, or a training needs more memory
            than is here. Nothing has been trained then.
    """
    from tuner.reproduce.reader import read_recipe
    from tuner.reproduce.recipe import SIZES, Asked
    from tuner.reproduce.run import FOLDER, Told
    from tuner.reproduce.run import reproduce as made

    lengths = {"seeds": at_least(1, seeds, "seeds"), "epochs": at_least(1, epochs, "epochs"), "limit": at_least(1, limit, "limit")}
    asked = Asked(size=SIZES[paper], settings=tuple(texts(set)), **lengths)
    nobody = Told(begins=lambda job, number, of: None, epoch=lambda job, epoch: None, ends=lambda result: None)
    return made(read_recipe(os.fspath(recipe)), asked, path_or_none(out) or Path(FOLDER), nobody, path_or_none(data_root))


def recipes() -> Mapping[str, tuple[str, str]]:
    """The title and the source of each recipe that comes with tuner, by its name."""
    from tuner.reproduce.shelf import titles

    return titles()

"""Which models there are: those that come with tuner, and the caller's own. Nothing of them is imported."""

from __future__ import annotations

import os
from pathlib import Path

from tuner import layout, shipped
from tuner.errors import UserError
from tuner.own_given import Models, brought
from tuner.own_models import Source, is_shipped, named_like_a_model, read_own


def models(models: Models = ()) -> dict[str, str]:
    """The models by name, each with its title, authors, year and address. `models`: of your own, as for `search`.

    Raises:
        UserError: there is no such file, or two models have one name.
    """
    own = read_own(brought(models))
    return {**shipped.models(), **{name: title_of_own(source) for name, source in own.sources.items()}}


def new_model(file: str | os.PathLike[str]) -> Path:
    """Writes a model's file to start from, NAME.py, by which the model is known then: as `tuner new-model`.

    Raises:
        UserError: it is no model's name, is there already, or cannot be written.
    """
    path = Path(file)
    named_like_a_model(path)
    if is_shipped(path.stem):
        raise UserError(f"'{path.stem}' is a model that comes with tuner. Name the file otherwise.")
    text = (layout.folder("models") / "_template.py").read_text(encoding="utf-8")
    name = "".join(part.capitalize() for part in path.stem.split("_"))
    try:
        with path.open("x", encoding="utf-8") as written:
            written.write(text.replace("MyModel", name))
    except FileExistsError as error:
        raise UserError(f"{path} is there already, and is left as it is. Name another file.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def title_of_own(source: Source) -> str:
    """What its file says of itself, and where it comes from."""
    return f"{shipped.title(source.files.get(f'{source.name}.py', ''))} ({source.shown})".strip()

"""Models of your own as Python hands them over: paths, or classes themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .own_models import Source, of_class

OwnModel = str | os.PathLike[str] | type | Source
Models = OwnModel | Sequence[OwnModel]
_KINDS = (str, os.PathLike, type, Source)


def brought(models: Models | None) -> list[str | Path | type | Source]:
    """What was given in Python, or else what TUNER_MODELS names, as for the command line. None is nothing.

    Raises:
        UserError: it is neither a path nor a class.
    """
    given: list[Any] = list(models) if isinstance(models, Iterable) and not isinstance(models, _KINDS) else [models]
    given = [one for one in given if one is not None]
    wrong = [one for one in given if not isinstance(one, _KINDS)]
    if wrong:
        raise UserError(
            f"'models' must be files, folders, or subclasses of Model, but is {wrong[0]!r}. A class is handed over itself: models=MyModel."
        )
    if not given:
        given = [path for path in os.environ.get("TUNER_MODELS", "").split(os.pathsep) if path]
    return [one if isinstance(one, type | Source) else Path(one) for one in given]


def source_of(kind: type | Source) -> Source:
    """Of a class that was handed over itself.

    Raises:
        UserError: it stands in no file.
    """
    return kind if isinstance(kind, Source) else of_class(kind)


def name_of(model: Any) -> str:
    """The name that a model is known by, where it was handed over itself in place of it.

    Raises:
        UserError: it is neither a name nor a class.
    """
    if isinstance(model, type | Source):
        return source_of(model).name
    if not isinstance(model, str | os.PathLike):
        raise UserError(f"A model is said by its name, or is a subclass of Model itself, but this is {model!r}.")
    return os.fspath(model)


def portable(models: Any) -> Any:
    """The same, with the texts of files in place of classes, where these have one: to be pickled. What is in a list or a dict, too."""
    if isinstance(models, list | tuple):
        return type(models)(map(portable, models))
    if isinstance(models, Mapping):
        return {name: portable(one) for name, one in models.items()}
    try:
        return source_of(models) if isinstance(models, type) else models
    except UserError:  # it cannot be trained either, which says why
        return models


def with_itself(model: Any, models: Models) -> list[str | Path | type | Source]:
    """What was brought, and the model where it was handed over itself."""
    return [model, *brought(models)] if isinstance(model, type | Source) else brought(models)

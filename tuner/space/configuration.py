"""What `tuner train` trains: a model at its defaults, or the configuration in a file, such as a search's `best.yaml`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuner.data.datasets import Data, DatasetSpec, check_named
from tuner.data.files import find
from tuner.data.fingerprint import Fingerprint
from tuner.errors import UserError, did_you_mean
from tuner.model import Model, load_model
from tuner.own_models import NONE, OwnModels, kept_source
from tuner.training.engine import PRECISIONS

from .entries import read_fixed
from .keys import read_key
from .located import Located, Problems, given
from .reading import Reading
from .yaml_lines import parse, read_text

_ASKED = ("model", "dataset", "epochs", "seed", "pretrain_seed", "precision", "parameters")
# What best.yaml says beside it, which trains nothing.
_TOLD = ("weights", "search", "trial", "metric", "score", "metrics", "data", "confirmed", "code")
logger = logging.getLogger("tuner")
_DIGITS = DatasetSpec(name="digits")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One configuration. `values`: hyper-parameters and weights that are not at their defaults. `pretrain_seed`: None is the seed's.
    `identity`: of the data that it was found with, where it says so."""

    model: Model
    dataset: DatasetSpec = _DIGITS
    values: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    pretrain_seed: int | None = None
    precision: str = PRECISIONS[0]
    identity: Fingerprint | None = None

    def check(self, data: Data) -> None:
        """Raises UserError where these are not the data that the configuration was found with."""
        differences = self.identity.differences(data.identity) if self.identity else []
        if differences:
            raise UserError(
                f"The configuration was found with other data: {data.name} now has {' and '.join(differences)}. Bring the data back, or "
                "name the ones to train on: --dataset NAME."
            )


def read_recipe(what: str, seed: int | None = None, own: OwnModels = NONE) -> Recipe:
    """`what`: a model's name, or a file's path. `seed`: in place of the file's seeds. `own`: the models that are known beside tuner's.

    Raises:
        UserError: there is neither, or everything that is wrong with the file, each with its line.
    """
    if what.endswith((".yaml", ".yml")) or os.path.isfile(what):  # noqa: PTH113 - Path.is_file raises where a name is too long
        recipe = _from_file(what, own)
    else:
        recipe = Recipe(model=load_model(what, own))
    if seed is None:
        return recipe
    problems = Problems(title=f"--seed {seed}", file="")
    said = read_key(Reading(nodes={"seed": given("--seed", seed)}, problems=problems), "seed")
    problems.raise_if_any()
    return replace(recipe, seed=said, pretrain_seed=None)


def _from_file(what: str, own: OwnModels) -> Recipe:
    problems = Problems(title=what, file=Path(what).name, what="a configuration")
    said = parse(read_text(Path(what), what), problems)
    parameters = said.get("parameters")
    if parameters is not None and isinstance(parameters.value, dict) and any(isinstance(p.value, dict) for p in parameters.value.values()):
        raise UserError(f"{what} is a search space, not one configuration. Search it: tuner search --space {what}")
    for key, node in said.items():
        if key not in (*_ASKED, *_TOLD):
            problems.at(node, f"a configuration has no key '{key}'.{did_you_mean(key, _ASKED)} Known are {', '.join(_ASKED)}.")
    for key, example in (("model", "name a model; `tuner models` lists them."), ("parameters", "hold the values that best.yaml holds.")):
        if key not in said:
            problems.at(None, f"'{key}' is missing: {example}")
    keys = Reading(
        nodes={key: node for key, node in said.items() if key in _ASKED}, problems=problems, own=_with_kept(own, said, Path(what))
    )
    read_key(keys, "model")
    model = keys.model
    seed = read_key(keys, "seed")
    recipe = Recipe(
        model=model or load_model("kmeans"),  # which is not trained: there is a problem then
        dataset=_beside(_dataset(keys, problems), Path(what)),
        values={} if model is None else _values(said, model, problems),
        seed=seed,
        pretrain_seed=read_key(keys, "pretrain_seed") if "pretrain_seed" in said else None,
        precision=read_key(keys, "precision"),
    )
    recipe = replace(recipe, identity=_identity(said, problems))
    problems.raise_if_any()
    return recipe


def _with_kept(own: OwnModels, said: Mapping[str, Located], file: Path) -> OwnModels:
    """With the model's source that the search kept beside its best.yaml, in place of one that has changed since.

    Raises:
        UserError: what is kept is not what the search ran.
    """
    name, code = said.get("model"), said.get("code")
    if name is None or name.word is None or code is None or code.word is None:
        return own
    brought = own.get(name.word)
    kept = kept_source(file.absolute().parent, name.word, code.word)
    if brought is not None and brought.code != code.word:
        logger.warning("%s is not the code that %s was found with: it has changed. Its numbers may differ.", brought.shown, file.name)
    return own if brought is not None or kept is None else OwnModels({**own.sources, name.word: kept})


def _dataset(keys: Reading, problems: Problems) -> DatasetSpec:
    if "dataset" not in keys.nodes:
        return _DIGITS
    dataset: DatasetSpec = read_key(keys, "dataset")
    try:
        if dataset.name:
            check_named(dataset)
    except UserError as error:
        problems.at(keys.nodes["dataset"], str(error))
    return dataset


def _beside(dataset: DatasetSpec, file: Path) -> DatasetSpec:
    """With the place of its file, where that lies beside the configuration or one or two folders above it, and not where its name says."""
    kind, _, path = dataset.name.partition(":")
    if not path or find(path, None).exists():
        return dataset
    folders = [file.absolute().parent, *file.absolute().parent.parents][:3]
    near = next((place for folder in folders for name in (path, Path(path).name) if (place := folder / name).is_file()), None)
    return replace(dataset, name=f"{kind}:{near}") if near else dataset


def _identity(said: Mapping[str, Located], problems: Problems) -> Fingerprint | None:
    node = said.get("data")
    if node is None or node.value is None:
        return None
    content = {name: one.value for name, one in node.value.items()} if isinstance(node.value, dict) else {}
    kinds = {"rows": int, "columns": int, "values": str, "labels": str | None}
    if any(not isinstance(content.get(name), kind) for name, kind in kinds.items()):
        problems.at(node, "'data' must be what a search wrote: rows, columns, values and labels. Leave it out to train on any data.")
        return None
    return Fingerprint.read(content)


def _values(said: Mapping[str, Located], model: Model, problems: Problems) -> dict[str, Any]:
    """`parameters`, and `epochs` where it stands beside them."""
    section, known = said.get("parameters"), model.parameters()
    if section is not None and not isinstance(section.value, dict):
        problems.at(section, f"'parameters' must be a mapping of names to values, but got {section.shown}.")
    entries = dict(section.value) if section is not None and isinstance(section.value, dict) else {}
    if "epochs" in said:
        entries["epochs"] = said["epochs"]
    values = {}
    for name, node in entries.items():
        if name not in known:
            problems.at(node, model.unknown(name))
        elif (found := read_fixed(name, node, known[name], problems)) is not None:
            values[name] = found.value
    return values

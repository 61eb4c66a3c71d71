"""A run's best model, or the one beside a `best.yaml`, ready to assign samples."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tuner.data.datasets import Data, DatasetSpec
from tuner.data.datasets import load as load_data
from tuner.data.fingerprint import Fingerprint
from tuner.data.scaling import Intake
from tuner.errors import UserError
from tuner.own_given import Models, brought
from tuner.own_models import read_own
from tuner.runs.paths import BEST_WEIGHTS, SPEC
from tuner.runs.results import no_such_run
from tuner.runs.winner import BEST
from tuner.search.same_data import whereabouts
from tuner.space.configuration import Recipe, read_recipe
from tuner.training import checkpoint
from tuner.training.checkpoint import Snapshot
from tuner.training.engine import best_device, set_precision

from .assign import Assigner


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained model with where it comes from. `dataset`: that it was trained on, with the place of its file; `identity`: of these data,
    where it is known; `file`: its configuration; `folder`: which holds it and the weights."""

    assigner: Assigner
    snapshot: Snapshot
    recipe: Recipe
    dataset: DatasetSpec
    identity: Fingerprint | None
    file: Path

    @property
    def folder(self) -> Path:
        return self.file.parent


def load_trained(what: Path, *, data_root: Path | None = None, device: str | None = None, models: Models = ()) -> Trained:
    """`what`: a run's folder, or a `best.yaml` with its weights beside it. `device`: None is the GPU where there is one. `models`: of your
    own; a run has a copy of its model.

    Raises:
        UserError: there is none, it has no weights, or nobody knows how its data were scaled.
    """
    file = _best_file(what)
    recipe = read_recipe(str(file), own=read_own(brought(models)))
    path = file.parent / BEST_WEIGHTS
    if not path.is_file():
        raise _no_weights(file, path)
    snapshot = checkpoint.load(path)
    _check_same(file, recipe, snapshot)
    device = device or best_device()
    set_precision(recipe.precision, device)
    dataset = _dataset(recipe, file.parent, data_root)
    intake = snapshot.intake or _intake_of_an_older_run(file, dataset, recipe, data_root)
    assigner = Assigner(snapshot, intake=intake, model=recipe.model, device=device)
    return Trained(assigner=assigner, snapshot=snapshot, recipe=recipe, dataset=dataset, identity=recipe.identity, file=file)


def load_assigner(what: Path, *, data_root: Path | None = None, device: str | None = None) -> Assigner:
    """As `load_trained`, for who needs nothing but the clusters."""
    return load_trained(what, data_root=data_root, device=device).assigner


def training_data(trained: Trained, data_root: Path | None = None) -> Data:
    """The data that the model was trained on, scaled.

    Raises:
        UserError: they are absent, or others by now.
    """
    data = load_data(trained.dataset, data_root)
    differences = trained.identity.differences(data.identity) if trained.identity else []
    if differences:
        found = " and ".join(differences)
        raise UserError(f"{trained.assigner.model.name} was trained on other data: {data.name} now has {found}. Bring the data back.")
    return data


def _no_weights(file: Path, path: Path) -> UserError:
    """Says where they may be, and how there may be others."""
    if not (file.parent / SPEC).is_file():
        return UserError(f"{file} has no weights beside it: {path} is absent. Copy {BEST_WEIGHTS} of the run's folder there, too.")
    run = file.parent.name
    return UserError(
        f"{run} has no weights of its best trial: {path} is absent. They were deleted, or could not be brought from the machine that "
        f"trained them; the search said so. Bring the file back, or train again: `tuner confirm {run}` keeps the weights of its winner."
    )


def _best_file(what: Path) -> Path:
    if what.suffix in (".yaml", ".yml"):
        return what
    if (what / BEST).is_file():
        return what / BEST
    if not (what / SPEC).is_file():
        raise no_such_run(what)
    raise UserError(f"{what.name} has no {BEST}: none of its trials is complete yet. `tuner show {what.name}` says how they ended.")


def _check_same(file: Path, recipe: Recipe, snapshot: Snapshot) -> None:
    """Raises UserError where configuration and weights are not of one trial."""
    ours = recipe.model.hyper(recipe.values).flat()
    unlike = [name for name, value in snapshot.config.items() if name in ours and ours[name] != value]
    if snapshot.model != recipe.model.name:
        unlike = ["model"]
    if unlike:
        theirs = snapshot.model if unlike == ["model"] else f"{unlike[0]}={snapshot.config[unlike[0]]}"
        raise UserError(f"{file} and {BEST_WEIGHTS} beside it are not of one trial: the weights were trained with {theirs}.")


def _dataset(recipe: Recipe, folder: Path, data_root: Path | None) -> DatasetSpec:
    """With the place where its file lies now, if that can be found."""
    if not (folder / SPEC).is_file() or ":" not in recipe.dataset.name:
        return recipe.dataset
    about = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    return replace(recipe.dataset, name=whereabouts(about, folder, data_root)) if "dataset_at" in about else recipe.dataset


def _intake_of_an_older_run(file: Path, dataset: DatasetSpec, recipe: Recipe, data_root: Path | None) -> Intake:
    """Learned again from the data that the run was made with."""
    try:
        data = load_data(dataset, data_root)
        recipe.check(data)
    except UserError as error:
        raise UserError(
            f"The weights of {file} were written by an older tuner, which did not note how their data were scaled, and {dataset.name} "
            f"cannot say it either: {error}"
        ) from error
    return data.intake

"""`tuner.train`: one configuration in this process, without Ray. `tuner train` prepares its training here, too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from tuner.data.datasets import Data, DatasetSpec
from tuner.data.dense import dense
from tuner.data.examine import Findings, examine
from tuner.errors import UserError
from tuner.inference.assign import Assigner, Assignment
from tuner.model import Hyper, Model
from tuner.own_given import Models, name_of, with_itself
from tuner.own_models import read_own
from tuner.space.configuration import Recipe, read_recipe
from tuner.space.parameters import set_values
from tuner.space.reader import Options
from tuner.text import number
from tuner.training import checkpoint, loop
from tuner.training.checkpoint import Snapshot
from tuner.training.engine import best_device, set_precision
from tuner.training.loop import Epoch
from tuner.training.room import check_room
from tuner.training.trial import check_fits

from .arguments import Named, OfFile, Place, Settings, columns_of, options
from .pictured import Pictured
from .samples import column_names, dataset_name, named

if TYPE_CHECKING:
    import plotly.graph_objects

    from tuner.inference.clustered import Clustered


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A training that can begin: its configuration, the hyper-parameters with what was overridden, and what was found of the data."""

    recipe: Recipe
    hyper: Hyper
    found: Findings

    @property
    def data(self) -> Data:
        return self.found.data

    def epochs(self) -> Iterator[Epoch]:
        """Trains, on the GPU where there is one."""
        set_precision(self.recipe.precision, best_device())
        recipe, device = self.recipe, best_device()
        return loop.train(recipe.model, self.hyper, self.data, seed=recipe.seed, pretrain_seed=recipe.pretrain_seed, device=device)


def prepare(what: str, given: Options, shown: str | None = None) -> Prepared:
    """`what`: a model's name, or a configuration's file; `given` overrides it. `shown`: what messages call the data.

    Raises:
        UserError: what cannot be, all in one message.
    """
    recipe = read_recipe(what, given.seed, read_own(given.models))
    model = recipe.model
    epochs = {} if given.epochs is None else {"epochs": given.epochs}
    h: Hyper = model.hyper({**recipe.values, **epochs, **set_values(model, list(given.set))})
    chosen = recipe.dataset if given.dataset is None else DatasetSpec(name=given.dataset)
    columns = columns_of(given, chosen.columns)
    limit = chosen.limit if given.limit is None else given.limit
    found = examine(replace(chosen, scale=given.scale or chosen.scale, limit=limit, columns=columns), given.data_root)
    found = found if shown is None else replace(found, data=replace(found.data, name=shown))
    if given.dataset is None and given.limit is None and given.scale is None and columns == chosen.columns:
        recipe.check(found.data)
    check_fits(model, h, found.data)
    check_room(model, h, found.data.spec)
    return Prepared(recipe=recipe, hyper=h, found=found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """One trained configuration. Shapes: N samples.

    `epochs`: of each one `epoch`, `phase`, `cluster_epoch` and its `metrics`. `metrics`: of the last. `ended`: complete | collapsed |
    diverged, the latter two with a `reason`. `labels`: (N,) the cluster of each sample, int64; None where it diverged. `config`: every
    hyper-parameter and weight by name.
    """

    epochs: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, float]
    ended: str
    reason: str | None
    labels: NDArray[np.int64] | None
    config: Mapping[str, Any]
    seed: int
    model: Model
    snapshot: Snapshot
    _clustered: Callable[[], Clustered] | None = field(default=None, repr=False)

    @property
    def figures(self) -> dict[str, plotly.graph_objects.Figure]:
        """The clustering in pictures, by name, as plotly's figures, which a notebook shows: maps of the code by cluster and class, at the
        end and after a few epochs, and what else `tuner train --plots` draws.

        Raises:
            UserError: it diverged.
        """
        from .figures import figures_of_training

        return figures_of_training(self._pictured())

    def plots(self, path: Place) -> Path:
        """Writes the pictures as one page: as `tuner train --plots`. Gives its file.

        Raises:
            UserError: it diverged, or the file cannot be written.
        """
        from tuner.report.write import write_pictures

        found = self._pictured()
        return write_pictures(Path(path), found, f"{self.model.name} on {found.data.name}", f"seed {self.seed}")

    def _pictured(self) -> Clustered:
        if self._clustered is None:
            raise UserError(f"The training {self.ended}, so there are no clusters to be drawn: {self.reason}")
        return self._clustered()

    def save(self, path: Place) -> None:
        """Writes the weights, with all that using them needs, as one safetensors file. Raises OSError where it cannot be written."""
        checkpoint.save(replace(self.snapshot, tensors=self.snapshot.weights()), Path(path))

    def assign(self, data: Any, *, code: bool = False) -> Assignment:
        """A cluster for every sample, old or new, as `Best.assign`."""
        return Assigner(self.snapshot, device=best_device(), model=self.model).assign(np.asarray(dense(data)), code=code)

    def __repr__(self) -> str:
        return f"Training({self.snapshot.model!r}: {self.ended} after {len(self.epochs)} epochs)"


def train(
    what: Named,
    *,
    data: Any = None,
    labels: Any = None,
    dataset: str | None = None,
    scale: str | None = None,
    limit: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    data_root: Place | None = None,
    models: Models = (),
    set: Settings = (),  # noqa: A002 - the flag's name
    plots: Place | None = None,
    display: bool = False,
    **of_file: Unpack[OfFile],
) -> Training:  # its length is that of its arguments, which are the command's
    """Trains one configuration in this process: what `tuner train` does, with the same numbers.

    `what`: a model's name, one of your own, a class, itself, or a configuration such as a search's best.yaml. `data`: samples (N, D) as a
    numpy array, a pandas or pyarrow table, a torch tensor or a sparse matrix; or a file's path, or a data set's name, as `dataset`.
    `labels`: (N,) of data in memory, or the column of `data` that holds them: they are scored against, and learned from by semi-supervised
    models alone. `models`: of your own, as for `search`. `of_file`: label, drop, id, header, samples, size and colours, of a file of data.
    `plots`: the file of a page with the pictures of its clusters, unless it diverged. `display`: print a line for each epoch, and what is
    doubtful about the data. Everything else is the flag of its name.

    Raises:
        UserError: what cannot be, all in one message.
    """
    with tempfile.TemporaryDirectory(prefix="tuner-train-") as folder:
        name = dataset_name(data, labels, dataset, Path(folder))
        shown = "data" if data is not None and named(data) is None else None
        sizes = {"limit": limit, "epochs": epochs, "seed": seed}
        given = options(dataset=name, scale=scale, data_root=data_root, models=with_itself(what, models), set=set, **sizes, **of_file)
        prepared = prepare(name_of(what), given, shown)
    if shown is not None:  # the file, which is gone again, had none
        prepared = replace(prepared, found=replace(prepared.found, names_D=column_names(data, labels)))
    for line in prepared.found.lines(getattr(prepared.hyper, "n_clusters", 1)) if display else ():
        print(f"Note: {line}.")
    training = _trained(prepared, display=display)
    if plots is not None and training.labels is not None:
        training.plots(plots)
    return training


def _trained(prepared: Prepared, *, display: bool) -> Training:
    lines: list[dict[str, Any]] = []
    last: Epoch | None = None
    pictured = Pictured(prepared.recipe.model, prepared.hyper, prepared.found)
    for last in pictured.listen(prepared.epochs()):
        lines.append({"epoch": last.epoch, "phase": last.phase, "cluster_epoch": last.cluster_epoch, "metrics": last.metrics})
        if display:
            print(f"epoch {last.epoch} {last.phase}  " + "  ".join(f"{name} {number(value, name)}" for name, value in last.metrics.items()))
    assert last is not None, "every model has at least one epoch"
    snapshot = last.snapshot()
    found, clusters = None, None
    if last.ended != "diverged":
        assigner = Assigner(snapshot, device=best_device(), model=prepared.recipe.model)
        found, clusters = np.concatenate([part.cluster_N for part in assigner.known(prepared.data)]), partial(pictured.clustered, snapshot)
    return Training(
        epochs=lines, metrics=last.metrics, ended=str(last.ended), reason=last.reason, labels=found, config=prepared.hyper.flat(),
        seed=prepared.recipe.seed, model=prepared.recipe.model, snapshot=snapshot, _clustered=clusters,
    )  # fmt: skip

"""What a search's winner can be asked for: a `best.yaml` with its weights beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.data.dense import dense
from tuner.errors import UserError
from tuner.own_given import Models

from .arguments import Place, path_or_none

if TYPE_CHECKING:
    from tuner.inference.assign import Assignment
    from tuner.inference.card import Contents
    from tuner.inference.clusters import Assigned


class Winner:
    """What has a trained model. `_trained_in`: a run's folder, or a best.yaml; `_models`: of the user's own. Shapes: N samples, D
    features."""

    _trained_in: Path
    _models: Models = ()

    def assign(self, data: Any = None, *, code: bool = False, any_range: bool = False, data_root: Place | None = None) -> Assignment:
        """A cluster for every sample, old or new: `cluster_N`, `confidence_N` and more.

        `data`: (N, D) as it was before training scaled it, as a numpy array, a pandas or pyarrow table, a torch tensor or a sparse matrix;
        without it, the samples that the model was trained on, with training's own clusters, row for row. `code`: with the latent.
        `any_range`: take samples of another range than training's.

        Raises:
            UserError: samples of another width or range, or a model that assigns no new samples.
        """
        import numpy as np

        if isinstance(data, str | os.PathLike):
            raise UserError(f"'data' must be samples, but is {data!r}. A file or a data set: assign_to('clusters.csv', input={data!r}).")
        from tuner.inference.assign import joined
        from tuner.inference.load import load_trained, training_data

        root = path_or_none(data_root)
        trained = load_trained(self._trained_in, data_root=root, models=self._models)
        assigner = trained.assigner
        if data is None:
            return joined(assigner.known(training_data(trained, root), code=code), assigner, code=code)
        return assigner.assign(np.asarray(dense(data)), code=code, check_range=not any_range)

    def assign_to(
        self,
        output: Place,
        *,
        input: str | None = None,  # noqa: A002 - these two are the flags' names
        id: str | None = None,  # noqa: A002
        code: bool = False,
        overwrite: bool = False,
        any_range: bool = False,
        data_root: Place | None = None,
    ) -> Assigned:
        """Writes a file of clusters (csv, parquet or npz) for a file of samples of any size, read in pieces: what `tuner assign` does.

        `input`: a file or a data set; without it, what the model was trained on. `id`: the column with the samples' names, which is carried
        through. Gives how many samples each cluster got.

        Raises:
            UserError: an input or an output that cannot be, or samples on which the model was not trained. Nothing has been written then.
        """
        from tuner.inference.clusters import Request, assign_to_file
        from tuner.inference.load import load_trained
        from tuner.inference.outputs import check_output

        check_output(Path(output), overwrite=overwrite)
        root = path_or_none(data_root)
        request = Request(source=input, names=id, code=code, check_range=not any_range, data_root=root)
        trained = load_trained(self._trained_in, data_root=root, models=self._models)
        return assign_to_file(trained, request, Path(output), overwrite=overwrite)

    def export(self, to: Place, *, onnx: bool = False, data_root: Place | None = None) -> Contents:
        """Writes the model into the new folder `to`, for places where tuner is not installed: a `torch.export` program with a dynamic batch
        and the scaling inside, safetensors, and a model card with the lines that load it. `onnx`: the program as ONNX, too.

        Raises:
            UserError: it cannot be exported, the folder is not empty or cannot be written, or packages are absent.
        """
        from tuner.inference.export import export

        return export(self._trained_in, Path(to), onnx=onnx, data_root=path_or_none(data_root), models=self._models)


class Best(Winner):
    """A configuration with its weights: a best.yaml."""

    def __init__(self, path: Path, models: Models = ()) -> None:
        self.path = self._trained_in = path
        self._models = models

    def __repr__(self) -> str:
        return f"Best({str(self.path)!r})"

"""A file of clusters for a file of samples, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.data.datasets import Data, DatasetSpec, load, read_raw, rows_of
from tuner.errors import UserError
from tuner.model import Model

from .assign import Assignment
from .load import Trained, training_data
from .outputs import Columns, output
from .sources import Piece, samples, source_name

ROW = "row"  # the column that says which row of the input it is, from 0 on, where the samples have no names
_CODE = "code"
_COLUMNS = ("cluster", "confidence", "margin", "distance", "next_distance", _CODE)
_NOTHING = np.empty((0, 0))


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be assigned. `source`: a file or a data set; None: what the model was trained on. `names`: the column, or array, with a
    name for every sample. `code`: with the latent. `check_range`: refuse samples on another scale than training's."""

    source: str | None = None
    names: str | None = None
    code: bool = False
    check_range: bool = True
    data_root: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """What was written: how many samples each cluster got, by its number, and the mean of their confidence."""

    sizes: dict[int, int]
    confidence: float

    @property
    def rows(self) -> int:
        return sum(self.sizes.values())


def assign_to_file(
    trained: Trained, request: Request, path: Path, *, overwrite: bool = False, written: Callable[[int], None] | None = None
) -> Assigned:
    """Writes `path` (csv, parquet or npz) whole or not at all: the sample's name or row, `cluster`, `confidence`, `margin`, where the
    method has centres `distance` and `next_distance`, and the code. `written`: is told after every piece how many samples there are.

    Raises:
        UserError: an input or an output that cannot be, or samples on which the model was not trained.
    """
    _check_names(request.names)
    sizes: Counter[int] = Counter()
    confidence = 0.0
    with output(path, overwrite=overwrite) as out:
        for piece, found in _assigned(trained, request):
            out.write(_columns(piece, found, sizes.total(), request.names))
            sizes.update(found.cluster_N.tolist())
            confidence += float(found.confidence_N.sum(dtype=np.float64))
            if written is not None:
                written(sizes.total())
        if not sizes:
            raise UserError(f"{request.source or trained.dataset.name} holds no samples.")
    return Assigned(sizes=dict(sorted(sizes.items())), confidence=confidence / sizes.total())


def _check_names(names: str | None) -> None:
    if names in _COLUMNS or (names or "").startswith(f"{_CODE}_"):
        raise UserError(f"--id {names} cannot be: the output has a column of that name itself. Rename the column in the input.")


def _columns(piece: Piece, found: Assignment, at: int, names: str | None) -> Columns:
    rows_B = np.arange(at, at + len(found)) if piece.names_B is None else piece.names_B
    columns = {names or ROW: rows_B, "cluster": found.cluster_N, "confidence": found.confidence_N, "margin": found.margin_N}
    if found.distance_N is not None and found.next_distance_N is not None:
        columns |= {"distance": found.distance_N, "next_distance": found.next_distance_N}
    if found.code_NZ is not None:
        columns[_CODE] = found.code_NZ
    return columns


# --- samples with their clusters -----------------------------------------------------------------------------------------


def _assigned(trained: Trained, request: Request) -> Iterator[tuple[Piece, Assignment]]:
    """Each piece with its clusters: those of training, where the samples are known to be training's."""
    assigner, source = trained.assigner, request.source
    if source is None:
        yield from _own(trained, request, _training_data(trained, request.data_root))
        return
    if knows_its_own(assigner.model) and (data := _same_data(trained, request)) is not None:
        yield from _own(trained, request, data)
        return
    held: list[Piece] = []

    def passed_on() -> Iterator[np.ndarray]:
        columns = trained.dataset.columns
        for piece in samples(source, assigner.piece, names=request.names, data_root=request.data_root, columns=columns):
            held.append(piece)
            yield piece.x_B

    for found in assigner.pieces(passed_on(), code=request.code, check_range=request.check_range):
        yield held.pop(), found


def knows_its_own(model: Model) -> bool:
    """Whether it has clusters of its own for the samples that it was trained on."""
    return type(model).assign_rows is not Model.assign_rows


def _training_data(trained: Trained, root: Path | None) -> Data:
    try:
        return training_data(trained, root)
    except UserError as error:
        raise UserError(f"{error} Other samples are named by --input FILE.") from error


def _same_data(trained: Trained, request: Request) -> Data | None:
    """The input, where it is what the model was trained on; else None."""
    if trained.identity is None:
        return None
    try:
        name, known = source_name(str(request.source)), trained.dataset
        data = load(DatasetSpec(name=name, scale=known.scale, columns=known.columns), request.data_root)
    except UserError:  # it is no such data set; as a file of samples it may do
        return None
    return None if trained.identity.differences(data.identity) else data


def _own(trained: Trained, request: Request, data: Data) -> Iterator[tuple[Piece, Assignment]]:
    """Training's samples in their order, with training's clusters."""
    assigner, root = trained.assigner, request.data_root
    found = assigner.known(data, code=request.code)
    if request.names is not None:
        if trained.dataset.limit is not None:
            raise UserError(f"{trained.assigner.model.name} was trained on a part of {trained.dataset.name}. For its names: --input FILE.")
        source, columns = request.source or trained.dataset.name, trained.dataset.columns
        pieces = samples(source, assigner.piece, names=request.names, data_root=root, columns=columns)
        yield from zip(pieces, found, strict=True)
        return
    rows_N = None if trained.dataset.limit is None else rows_of(trained.dataset, len(read_raw(trained.dataset, root).x_N))
    at = 0
    for part in found:
        yield Piece(x_B=_NOTHING, names_B=None if rows_N is None else rows_N[at : at + len(part)]), part
        at += len(part)

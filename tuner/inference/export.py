"""A trained model is taken away: a program, its weights and a model card, in a folder that needs no tuner."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tuner.atomic import whole
from tuner.errors import UserError, first_line
from tuner.own_given import Models
from tuner.training import checkpoint

from .assign import Assigner
from .card import CARD, ONNX, PROGRAM, WEIGHTS, Contents, card
from .load import Trained, load_trained
from .program import OUTPUTS, check, fresh_parts, program_of

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_ONNX_NEEDS = ("onnx", "onnxscript", "onnxruntime")


def export(
    trained_or_path: Trained | Path | str,
    folder: Path | str,
    *,
    onnx: bool = False,
    data_root: Path | None = None,
    models: Models = (),
) -> Contents:
    """Writes a trained model into a new folder, for places where tuner is not installed.

    - `model.pt2`: a `torch.export` program. In: (B, *shape) float32, B from 1 on, on the scale that the training data had before they were
      scaled. Out: probabilities (B, K), whose argmax is the cluster, and the code (B, Z).
    - `model.safetensors`: all weights by name, with the configuration, the seed and the scaling in the header.
    - `README.md`: the model card, with the lines of Python that load the program.
    - `model.onnx`, with `onnx`: the program for other runtimes. Needs the packages of `tuner[onnx]`.

    Each program is compared with the model before the folder appears; it appears whole or not at all.

    `trained_or_path`: a run's folder, a `best.yaml` with its weights beside it, or what `load_trained` gave. `folder`: is made; one that is
    there must be empty. `data_root`: where data files lie, for a run of an older tuner. `models`: of your own, as for `load_trained`.

    Raises:
        UserError: there is no such model, it cannot be exported (a transductive one, or one whose `assign` is no program), the folder is
            not empty or cannot be written, or packages are absent.
    """
    folder = Path(folder).expanduser()
    _check_free(folder)
    if onnx:
        _check_onnx()
    given = trained_or_path
    trained = given if isinstance(given, Trained) else load_trained(Path(given), data_root=data_root, device="cpu", models=models)
    name = trained.assigner.model.name
    if trained.assigner.model.transductive:
        raise UserError(
            f"{name} cannot be exported: it is transductive. It knows the clusters of the samples that it was trained on, and of no "
            "others; `tuner assign` writes those."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole(folder) as part:
            return replace(_write(trained, part, onnx=onnx), folder=folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _write(trained: Trained, folder: Path, *, onnx: bool) -> Contents:
    """Everything, into a folder that is made here."""
    model, intake = trained.assigner.model, trained.assigner.intake
    assigner = Assigner(trained.snapshot, intake=intake, device="cpu", model=model)
    program = program_of(assigner, fresh_parts(assigner, trained.snapshot))
    folder.mkdir()
    with _quietly():
        _write_program(program, assigner, folder / PROGRAM)
        if onnx:
            _write_onnx(program, assigner, folder / ONNX)
    weights = replace(trained.snapshot, tensors=trained.snapshot.weights(), values=[], intake=intake)
    checkpoint.save(weights, folder / WEIGHTS)
    (folder / WEIGHTS).chmod((folder / PROGRAM).stat().st_mode)  # safetensors lets nobody else read it
    p_BK, code_BZ = (node.meta["val"] for node in program.graph.output_node().args[0])
    contents = Contents(folder=folder, shape=intake.spec.shape, n_clusters=p_BK.shape[1], code_width=code_BZ.shape[1], onnx=onnx)
    (folder / CARD).write_text(card(trained, contents), encoding="utf-8")
    return contents


def _check_free(folder: Path) -> None:
    """Raises UserError where something is there."""
    if folder.is_dir():
        if any(folder.iterdir()):
            raise UserError(f"{folder} is not empty. Name a new folder, or an empty one: nothing is overwritten.")
        return
    near = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if near == folder:
        raise UserError(f"{folder} is a file. Name a new folder.")
    if not near.is_dir():
        raise UserError(f"{folder} cannot be written: {near} is a file.")


def _check_onnx() -> None:
    absent = [name for name in _ONNX_NEEDS if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"ONNX needs {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} absent: pip install 'tuner[onnx]'.")


def _write_program(program: ExportedProgram, assigner: Assigner, path: Path) -> None:
    torch.export.save(program, path)
    check(torch.export.load(path).module(), assigner, PROGRAM)


def _write_onnx(program: ExportedProgram, assigner: Assigner, path: Path) -> None:
    import onnxruntime

    try:
        found = torch.onnx.export(program, input_names=["x"], output_names=list(OUTPUTS), dynamo=True, verbose=False, optimize=True)
        assert found is not None
        found.save(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # torch, onnxscript and onnxruntime each raise kinds of their own
        raise UserError(f"{assigner.model.name} cannot be written as ONNX: {_reason(error)}. Export it without.") from error

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p_BK, code_BZ = map(torch.from_numpy, session.run(list(OUTPUTS), {"x": x.numpy()}))
        return p_BK, code_BZ

    check(run, assigner, ONNX)


def _reason(error: Exception) -> str:
    """Of many lines of the exporter's the one that says what is missing."""
    found = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", str(error))
    return first_line(error) if found is None else f"ONNX has no operator for {found[1]}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporters say of themselves."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)

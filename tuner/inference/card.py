"""The model card of an exported model: what it is, how to use it without tuner, and where it comes from. Markdown, with the header that
Hugging Face reads."""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tuner import __version__
from tuner.data.scaling import Scaling
from tuner.model import Model
from tuner.runs.paths import SPEC
from tuner.runs.results import Results, read_run
from tuner.runs.winner import read_best
from tuner.text import counted

from .load import Trained
from .origin import origin

PROGRAM, WEIGHTS, CARD, ONNX = "model.pt2", "model.safetensors", "README.md", "model.onnx"
_FILL = "*fill in*"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What was exported. `shape`: of one sample; `n_clusters`: K; `code_width`: Z; `onnx`: whether there is an ONNX file, too."""

    folder: Path
    shape: tuple[int, ...]
    n_clusters: int
    code_width: int
    onnx: bool

    @property
    def files(self) -> tuple[str, ...]:
        """By name, the card first."""
        return (CARD, PROGRAM, WEIGHTS, *([ONNX] if self.onnx else []))


def card(trained: Trained, contents: Contents) -> str:
    """The text of the card, from the model, its `best.yaml` and, where they are beside it, the run and its confirmation."""
    results = read_run(trained.folder) if (trained.folder / SPEC).is_file() else None
    parts = (
        _head(trained, contents),
        _use(trained, contents),
        _data(trained),
        _configuration(trained),
        origin(read_best(trained.file), results, trained.snapshot.seed),
        _to_fill(),
        _versions(results, contents),
    )
    return "\n".join(line for part in parts for line in part)


def _head(trained: Trained, contents: Contents) -> Iterator[str]:
    model, data = trained.assigner.model, _data_name(trained)
    yield from ("---", "license: unknown # fill in, such as mit or cc-by-4.0", "library_name: pytorch")
    yield from ("tags: [clustering, deep-clustering, torch-export]", "---", "", f"# {model.name} on {data}", "")
    yield f"Assigns samples of {_shape(contents.shape)} to {contents.n_clusters} clusters; trained on `{data}`. The method:"
    yield from (_method(model), "")


def _method(model: Model) -> str:
    """The first line of a model's file: its name, authors, year and URL. A user's own model may have none."""
    module = sys.modules.get(type(model).__module__)
    doc = (module.__doc__ if module is not None else None) or getattr(model, "paper", "")
    return str(doc).strip().partition("\n")[0] or model.name


# --- how to use it -----------------------------------------------------------------------------------------------------


def _use(trained: Trained, contents: Contents) -> Iterator[str]:
    shape, scaling = contents.shape, trained.assigner.intake.scaling
    yield from ("## Use it", "", "In this folder, with torch and numpy:", "", "```python")
    yield from example(shape, trained.assigner.rows_at_once)
    yield from ("```", "", "| file | what |", "|---|---|")
    out = f"probabilities (B, {contents.n_clusters}), code (B, {contents.code_width})"
    io = f"In: float32 ({_inside(('B', *shape))}), B from 1 on. Out: {out}."
    yield f"| `{PROGRAM}` | A `torch.export` program, for the CPU. {io} |"
    yield f"| `{WEIGHTS}` | All weights by name, those that only training needs included; configuration, seed and scaling in the header. |"
    if contents.onnx:
        yield f"| `{ONNX}` | The program for ONNX runtimes: input `x`, outputs `probabilities` and `code`. |"
    yield from ("", f"Give it samples as the data set has them{_range(scaling, ': values within ')}. {_scaled(scaling)}")
    yield from ("The program does not check this: on samples of another scale its clusters mean nothing.", "")


def example(shape: tuple[int, ...], rows: int) -> Iterator[str]:
    """The lines of Python that load the program and use it. `rows`: how many samples it is given at a time."""
    of = _inside(("N", *shape))
    yield "import numpy as np"
    yield "import torch"
    yield ""
    yield f'model = torch.export.load("{PROGRAM}").module()'
    yield f'x = torch.from_numpy(np.load("samples.npy").astype("float32")).reshape({_inside((-1, *shape))})  # ({of})'
    yield "with torch.no_grad():"
    yield f"    parts = [model(part) for part in x.split({rows})]"
    yield "probabilities = torch.cat([p for p, _ in parts])"
    yield "codes = torch.cat([z for _, z in parts])"
    yield "clusters = probabilities.argmax(1)"


def _scaled(scaling: Scaling) -> str:
    how = {
        "minmax": f"The program itself scales them to [0, 1], by the training data's minimum {scaling.low:g} and maximum {scaling.high:g}.",
        "standard": "The program itself scales every feature by the mean and the deviation that it had in the training data.",
    }
    return how.get(scaling.kind, "Nothing is scaled.")


def _range(scaling: Scaling, before: str = "") -> str:
    """Of the training data, where it is known."""
    if not math.isfinite(scaling.low):
        return ""
    return f"{before}[{scaling.low:g}, {scaling.high:g}], which deviate by {scaling.deviation:.3g} from their mean"


# --- where it comes from -----------------------------------------------------------------------------------------------


def _data(trained: Trained) -> Iterator[str]:
    spec, identity, dataset = trained.assigner.intake.spec, trained.identity, trained.dataset
    yield from ("## Data", "", "| | |", "|---|---|", f"| data set | `{_data_name(trained)}` |", f"| samples | {spec.n_samples:,} |")
    if dataset.limit is not None:
        yield f"| limit | the first {dataset.limit:,} of one fixed permutation |"
    yield f"| shape of a sample | ({_inside(spec.shape)}) |"
    yield f"| values | {_range(trained.assigner.intake.scaling) or 'not noted'} |"
    yield f"| scale | {trained.assigner.intake.scaling.kind} |"
    yield f"| classes | {'no labels' if spec.n_classes is None else spec.n_classes} |"
    if "n_labels" in (values := trained.assigner.h.flat()):
        yield f"| labels that it was trained with | {values['n_labels']:,} |"
    if identity is not None:
        yield f"| sha256 of the values, scaled | `{identity.values}` |"
        if identity.labels is not None:
            yield f"| sha256 of the labels | `{identity.labels}` |"
    yield from (f"| licence of the data | {_FILL} |", f"| how they were collected, and may be used | {_FILL} |", "")


def _configuration(trained: Trained) -> Iterator[str]:
    """As YAML that `tuner train` takes; JSON is YAML."""
    recipe, snapshot = trained.recipe, trained.snapshot
    values = trained.assigner.h.flat()
    epochs = values.pop("epochs")
    yield from ("## Configuration", "", f"{counted(snapshot.epoch, 'epoch')}, {snapshot.cluster_epoch:,} of them of clustering.")
    yield from ("Saved as a file, this trains it again: `tuner train FILE.yaml`.", "", "```yaml", f"model: {recipe.model.name}")
    dataset = {name: value for name, value in recipe.dataset.written().items() if value is not None} | {"name": _data_name(trained)}
    yield f"dataset: {json.dumps(dataset)}"
    yield from (f"epochs: {epochs}", f"seed: {snapshot.seed}", f"pretrain_seed: {snapshot.pretrain_seed}")
    yield from (f"precision: {recipe.precision}", "parameters:")
    yield from (f"  {name}: {json.dumps(value)}" for name, value in values.items())
    yield from ("```", "")


# --- the rest ----------------------------------------------------------------------------------------------------------


def _to_fill() -> Iterator[str]:
    yield from ("## Licence and intended use", "", "| | |", "|---|---|")
    for what in (
        "licence of the weights and the program",
        "author, and how to reach them",
        "intended use",
        "not to be used for",
        "citation",
    ):
        yield f"| {what} | {_FILL} |"
    yield ""


def _versions(results: Results | None, contents: Contents) -> Iterator[str]:
    trained = {} if results is None else dict(results.spec_json.get("versions") or {})
    names = ("torch", "numpy", "safetensors", *(["onnx", "onnxruntime"] if contents.onnx else []))
    now = {"tuner": __version__, "python": platform.python_version(), **{name: metadata.version(name) for name in names}}
    yield from ("## Versions", "", "| | trained with | exported with |", "|---|---|---|")
    yield from (f"| {name} | {trained.get(name) or '–'} | {now.get(name, '–')} |" for name in _in_order(now, trained))
    commit = None if results is None else results.spec_json.get("commit")
    yield from ([f"| commit of tuner | {commit} | – |"] if commit else [])
    yield from ("", f"Written by `tuner export` on {time.strftime('%Y-%m-%d')}.", "")


def _in_order(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))


def _data_name(trained: Trained) -> str:
    """Without the folder of a file: it says more of a user's machine than of the data."""
    kind, _, path = trained.recipe.dataset.name.partition(":")
    return f"{kind}:{Path(path).name}" if path else kind


def _shape(shape: tuple[int, ...]) -> str:
    return counted(shape[0], "feature") if len(shape) == 1 else f"shape ({_inside(shape)})"


def _inside(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(str, shape))

"""What a finished search has to show, as artifacts of its own MLflow run."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.space.tracking import Mlflow

from .exhibits import Exhibits
from .mlflow import search_id
from .mlflow_store import Store


def log_exhibits(asked: Mlflow, folder: Path, about: Mapping[str, Any], exhibits: Exhibits, page: Path) -> None:
    """Adds them to the search's own run, in place of earlier ones of the same names. `folder`, `about`: the run's, and its `spec.json`.

    Raises:
        LookupError: MLflow was not told of the search.
        mlflow.exceptions.MlflowException: it does not take them.
    """
    store = Store.of(asked, folder, search_id(about, folder.name))
    run = store.runs().get("search")
    if run is None:
        raise LookupError("MLflow was not told of the search")
    with tempfile.TemporaryDirectory() as made:
        _write(Path(made), exhibits, page)
        store.client.log_artifacts(run.info.run_id, made)
    store.log(run.info.run_id, tags={f"winner.{name}": value for name, value in exhibits.about.items()})


def _write(place: Path, exhibits: Exhibits, page: Path) -> None:
    """As files: images as they are, figures as plotly's JSON, tables as MLflow itself writes them."""
    for name in ("images", "figures", "tables", "winner"):
        (place / name).mkdir()
    shutil.copy(page, place / page.name)
    for name, content in exhibits.images.items():
        (place / "images" / f"{name}.png").write_bytes(content)
    for name, figure in exhibits.figures.items():
        (place / "figures" / f"{name}.json").write_text(figure.to_json())
    for name, sheet in exhibits.tables.items():
        table = {"columns": list(sheet.columns), "data": [list(row) for row in sheet.rows]}
        (place / "tables" / f"{name}.json").write_text(json.dumps(table, default=str))
    for path in exhibits.winner:
        shutil.copy(path, place / "winner" / path.name)

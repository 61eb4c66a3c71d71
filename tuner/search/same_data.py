"""Whether the data of a run are those that it was made with, and where they lie now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.data.datasets import DatasetSpec
from tuner.data.fingerprint import Fingerprint
from tuner.errors import UserError


def whereabouts(about: Mapping[str, Any], folder: Path, data_root: Path | None) -> str:
    """The run's data set with the place where its file lies now. A file that has moved is looked for in the run's folder and the two above
    it, in the data folder and in the current one; where it is in none, the place stays as it was."""
    kind, _, path = str(about["dataset_at"]).partition(":")
    if not path or Path(path).is_file():
        return str(about["dataset_at"])
    given = Path(str(about["dataset"]["name"]).partition(":")[2] or path)
    names = dict.fromkeys([given, Path(Path(path).name)])
    near = [folder, folder.parent, folder.parent.parent, *([data_root] if data_root else []), Path.cwd()]
    found = next((place / name for place in near for name in names if (place / name).is_file()), None)
    return f"{kind}:{found.absolute()}" if found else str(about["dataset_at"])


def check_data(run: str, before: Fingerprint | None, now: Fingerprint, dataset: DatasetSpec) -> None:
    """Raises UserError where the data set, as it is now, is not the one that the run was made with. `before`: None where
    the version that began it did not note them."""
    differences = before.differences(now) if before is not None else []
    if differences:
        raise UserError(
            f"{run} was made with other data: {dataset.name} now has {' and '.join(differences)}. Nothing was changed. Bring the data "
            f"back, or say where they are: tuner resume {run} --dataset npz:PATH. For these data start a new search."
        )

"""Which columns of a table are features, which one holds the labels, and which ones somebody may have meant otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, did_you_mean

from .raw import NO_LABELS, Columns

LABELS = ("label", "y")  # the first of these names is taken. Files with the columns x, y, label are common
# Names under which others keep labels, or what rows are called: said, never guessed, since they may be features as well.
_LIKE_LABELS = {
    "label", "labels", "y", "target", "targets", "class", "classes", "cls", "gnd", "gt", "truth", "ground_truth", "groundtruth", "y_true",
    "category", "categories", "cluster", "clusters", "cluster_id", "species", "diagnosis", "outcome", "group", "cell_type", "celltype",
    "class_label", "label_id", "labelid", "class_id", "classid",
}  # fmt: skip
_LIKE_IDS = {
    "id", "ids", "_id", "index", "idx", "row", "row_id", "rowid", "row_number", "unnamed: 0", "uuid", "guid", "key", "sample_id",
    "sampleid", "patient_id", "user_id", "record_id", "object_id", "nr", "no", "no.", "#",
}  # fmt: skip
_OF_IDS = re.compile(r"[_ .-](id|ID|Id)$|^(id|ID|Id)[_ .-]|[a-z](Id|ID)$")
_OF_LABELS = re.compile(r"(?:^|[_ .-])(?:label|class|target|category|cluster|truth|annotation|true)s?\d*(?:[_ .-]|$)", re.IGNORECASE)
_OF_X = re.compile(r"(?:^|[_ .-])x(?:[_ .-]|$)")
_MOST_CLASSES = 50  # a column of whole numbers with more of them looks like counts


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Where a table's columns go. `label`: the column of labels; `features`: the others in order. `names`: of all columns."""

    names: tuple[str, ...]
    label: int | None
    features: tuple[int, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self.names[i] for i in self.features)


def roles(where: str, names: Sequence[str], wanted: Columns, words: Sequence[int] = ()) -> Roles:
    """`where`: the file, and the line of its header. `names`: of the columns; without a header their numbers from 1 on. `words`: columns
    of a file without a header that hold words.

    Raises:
        UserError: a column that was named is not there, or no feature is left.
    """
    out = {_at(where, "drop", name, names) for name in wanted.drop}
    if wanted.id is not None and wanted.id != NO_LABELS:
        out.add(_at(where, "id", wanted.id, names))
    lower = [name.strip().lower() for name in names]
    notes: list[str] = []
    label = None
    if wanted.label is not None and wanted.label != NO_LABELS:
        label = _at(where, "label", wanted.label, names)
    elif wanted.label is None:
        label = next((lower.index(name) for name in LABELS if name in lower and lower.index(name) not in out), None)
        left = [at for at in words if at not in out]
        if label is None and len(left) == 1:
            label = left[0]
            notes.append(f"column {label + 1} holds words: they are the labels")
    features = tuple(i for i in range(len(names)) if i != label and i not in out)
    if not features:
        holds = f"'{names[label]}' holds the labels" if label is not None else "all are left out"
        raise UserError(f"{where.split(':')[0]}: at least one column must be a feature, but {holds} and there is no other.")
    found = Roles(names=tuple(names), label=label, features=features, notes=tuple(notes))
    doubts = tuple(_named_doubts(found, lower, wanted))
    return Roles(names=found.names, label=label, features=features, notes=found.notes, doubts=doubts)


def _at(where: str, key: str, name: str, names: Sequence[str]) -> int:
    """The place of a column that somebody named."""
    stripped = [known.strip() for known in names]
    if stripped.count(name) > 1:
        places = ", ".join(str(i + 1) for i, known in enumerate(stripped) if known == name)
        raise UserError(f"{where}: '{key}' names '{name}', but {stripped.count(name)} columns are called so ({places}). Rename them.")
    if name in stripped:
        return stripped.index(name)
    alike = [i for i, known in enumerate(stripped) if known.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    shown = ", ".join(stripped[:12]) + (", …" if len(stripped) > 12 else "")
    raise UserError(f"{where}: there is no column '{name}' for '{key}'.{did_you_mean(name, stripped)} Columns are {shown}.")


def _named_doubts(found: Roles, lower: Sequence[str], wanted: Columns) -> list[str]:
    """Of columns whose names say that they are no features."""
    doubts = []
    if found.label is not None and wanted.label is None and lower[found.label] == "y" and any(map(_OF_X.search, lower)):
        beside = next(name for name in lower if _OF_X.search(name))
        doubts.append(f"column 'y' is taken as the labels, beside a column '{beside}'. If they are coordinates, say label: none")
    for i in found.features:
        name = found.names[i].strip()
        if wanted.label is None and lower[i] in _LIKE_LABELS:
            other = f"label: {name}, or drop: [{name}]" if found.label is None else f"drop: [{name}], or label: {name}"
            doubts.append(f"column '{name}' looks like labels, and is a feature. Say {other}; label: none if it is one")
        elif wanted.label is not None and wanted.label != NO_LABELS and lower[i] in ("label", "labels", "y", "target", "class"):
            doubts.append(f"column '{name}' looks like labels, too, and is a feature. Say drop: [{name}] if it is none")
        elif wanted.id is None and _names_rows(name):
            doubts.append(f"column '{name}' looks like an identifier, and is a feature. Say id: {name}; id: none if it is one")
    return doubts


def _names_rows(name: str) -> bool:
    """Whether a column of this name usually does: `id`, `sample_id`, `PassengerId`, `row no.`."""
    return name.strip().lower() in _LIKE_IDS or _OF_IDS.search(name.strip()) is not None


def doubts_of_values(x_ND: NDArray[Any], names: Sequence[str], wanted: Columns, labelled: bool) -> list[str]:
    """Of columns whose values say that they only count rows, or are labels. Only these columns are whole numbers."""
    lower = [name.strip().lower() for name in names]
    if len(x_ND) < 10:
        return []
    some = x_ND[:2000]
    whole = [i for i in range(x_ND.shape[1]) if bool((some[:, i] == np.round(some[:, i])).all())]
    doubts = [] if wanted.id is not None else _doubts_of_ids(x_ND, names, whole)
    if wanted.label != NO_LABELS:
        for i in whole:
            few = 2 <= len(np.unique(some[:, i])) <= _MOST_CLASSES
            if few and lower[i] not in _LIKE_LABELS and _OF_LABELS.search(lower[i]):
                name, too = names[i].strip(), ", too" if labelled else ""
                way = f"Say label: {name}, or drop: [{name}]; label: none if it is one"
                doubts.append(f"column '{name}' looks like labels{too}, and is a feature. {way}")
    likely = [i for i in whole if i == x_ND.shape[1] - 1 or i == 0]
    if labelled or wanted.label is not None or len(whole) > max(1, x_ND.shape[1] // 5) or x_ND.shape[1] < 2:
        return doubts
    for i in likely:
        classes = np.unique(x_ND[:, i])
        if (
            lower[i] not in _LIKE_LABELS
            and not _OF_LABELS.search(lower[i])
            and 2 <= len(classes) <= min(_MOST_CLASSES, len(x_ND) // 5)
            and np.ptp(classes) < 2 * len(classes)
        ):
            name = names[i].strip()
            doubts.append(
                f"column '{name}' holds {len(classes)} whole numbers and looks like labels. Say label: {name}; label: none if not"
            )
    return doubts


def _doubts_of_ids(x_ND: NDArray[Any], names: Sequence[str], whole: Sequence[int]) -> list[str]:
    """Of columns that count rows, sort them, or give each a number of its own. `whole`: those of whole numbers."""
    doubts = []
    few = len(whole) <= max(1, x_ND.shape[1] // 5)
    steps = np.sign(np.diff(x_ND[:2000], axis=0))
    rising = [i for i in range(x_ND.shape[1]) if i in whole or abs(int(steps[:, i].sum())) == len(steps)]
    for i in rising:
        name, x_N = names[i].strip(), x_ND[:, i]
        if _names_rows(name):
            continue
        steps_N = np.diff(x_N)
        kinds = len(np.unique(x_N)) if few or bool((steps_N >= 0).all()) else 0
        if bool((np.diff(np.sort(x_N)) == 1).all()):
            doubts.append(f"column '{name}' counts the rows, and is a feature. Say id: {name}; id: none if it is one")
        elif bool((steps_N > 0).all()) or bool((steps_N < 0).all()):
            how = "rises" if steps_N[0] > 0 else "falls"
            doubts.append(f"column '{name}' {how} from row to row, and is a feature. Say id: {name} if it names them; id: none if not")
        elif i in whole and kinds > _MOST_CLASSES and bool((steps_N >= 0).all()):
            doubts.append(
                f"column '{name}' never falls from row to row, and is a feature. Say id: {name} if it names them; id: none if not"
            )
        elif i in whole and kinds == len(x_N) and few:
            doubts.append(f"column '{name}' never holds a number twice, and is a feature. Say id: {name} if it names rows; id: none if not")
    return doubts

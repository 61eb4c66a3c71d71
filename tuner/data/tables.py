"""Tables with named and typed columns: parquet and feather through pyarrow, and OpenML through scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError, first_line

from .arrow import columns_of, is_lists, is_numbers, spread
from .classes import Labels, from_array, from_words
from .columns import doubts_of_values, roles
from .csv_files import side_by_side
from .raw import Columns, Raw

_FLOAT32 = float(np.finfo(np.float32).max)


def read_parquet(path: Path, wanted: Columns) -> Raw:
    """Raises UserError: it is no parquet file, or holds what cannot be used."""
    from pyarrow import ArrowException, parquet

    with path.open("rb"):  # pyarrow says less of a file that is absent
        pass
    try:
        table = parquet.ParquetFile(str(path)).read()
    except (ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is no parquet file, or is damaged: {first_line(error)}.") from error
    return _of_arrow(str(path), table, wanted)


def read_feather(path: Path, wanted: Columns) -> Raw:
    """Raises UserError: it is no feather file, or holds what cannot be used."""
    from pyarrow import ArrowException, feather

    with path.open("rb"):
        pass
    try:
        table = feather.read_table(str(path), memory_map=False)
    except (ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is no feather file, or is damaged: {first_line(error)}.") from error
    return _of_arrow(str(path), table, wanted)


def _of_arrow(where: str, table: Any, wanted: Columns) -> Raw:
    found = roles(where, columns_of(where, table.column_names), wanted)
    features: dict[str, NDArray[Any]] = {}
    notes = []
    for name in found.feature_names:
        column = table.column(name)
        if is_lists(column.type):
            x_ND = spread(where, name, column)
            features |= {f"{name}[{i}]": x_ND[:, i] for i in range(x_ND.shape[1])}
            notes.append(f"column '{name}' holds lists: their {x_ND.shape[1]} entries are features")
        else:
            features[name] = _numbers(where, name, column)
    names = tuple(features)
    x_ND = _joined(where, list(features.values()), names)
    labels = Labels(y_N=None)
    if found.label is not None:
        labels = _labels(f"{where}: {found.names[found.label]}", table.column(found.names[found.label]))
    doubts = doubts_of_values(x_ND, names, wanted, labelled=found.label is not None)
    raw = _raw(where, x_ND, labels, names, (*found.doubts, *doubts))
    return replace(raw, notes=(*notes, *raw.notes))


def _numbers(where: str, name: str, column: Any) -> NDArray[Any]:
    from pyarrow import types

    if not is_numbers(column.type):
        raise UserError(
            f"{where}: column '{name}' must hold numbers, but its type is {column.type}. If it holds the labels, say "
            f"label: {name}; drop: [{name}] leaves it out."
        )
    if types.is_decimal(column.type):
        column = column.cast("float64")
    if column.null_count:
        raise UserError(
            f"{where}: column '{name}' must hold finite numbers, but {column.null_count:,} of its values are "
            f"missing. Fill them in, or leave such rows out, before; drop: [{name}] leaves the column out."
        )
    values: NDArray[Any] = column.to_numpy()
    return values


def _labels(where: str, column: Any) -> Labels:
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_integer(kind) and not column.null_count and not types.is_dictionary(column.type):
        return from_array(where, column.to_numpy(), len(column))
    if types.is_floating(kind) and not types.is_dictionary(column.type):
        return from_array(where, column.to_numpy().astype(np.float64), len(column))
    return from_words(where, ["" if value is None else str(value) for value in column.to_pylist()])


def _joined(where: str, columns: Sequence[NDArray[Any]], names: Sequence[str]) -> NDArray[np.float64]:
    for column, name in zip(columns, names, strict=True):
        if column.dtype.kind == "f" and not bool(np.all(np.abs(column) <= _FLOAT32)):
            at = int(np.argmin(np.abs(column) <= _FLOAT32))
            raise UserError(f"{where}: column '{name}' must hold finite numbers, but holds {column[at]} in row {at + 1}.")
    return side_by_side([np.asarray(column) for column in columns])


def _raw(where: str, x_ND: NDArray[np.float64], labels: Labels, names: tuple[str, ...], doubts: tuple[str, ...]) -> Raw:
    if len(x_ND) < 2:
        raise UserError(f"{where}: at least 2 samples are needed, but it holds {len(x_ND)}.")
    return Raw(x_N=x_ND, y_N=labels.y_N, unknown_N=labels.unknown_N, names_D=names, notes=labels.notes, doubts=(*doubts, *labels.doubts))


def read_openml(name: str, folder: Path, wanted: Columns) -> Raw:
    """A data set of OpenML by its number or its name, kept in `folder` by scikit-learn.

    Raises:
        UserError: there is none, it cannot be fetched, or it holds what cannot be used.
    """
    from sklearn.datasets import fetch_openml

    which: dict[str, Any] = {"data_id": int(name)} if name.isdecimal() else {"name": name}
    try:
        found = fetch_openml(**which, data_home=str(folder), as_frame=True, parser="auto")
    except ImportError as error:
        raise UserError(f"openml:{name} needs pandas: pip install pandas.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"openml:{name} cannot be had: {first_line(error)}.") from error
    import pyarrow

    where, frame = f"openml:{name}", found.frame
    target = found.target.name if getattr(found.target, "name", None) is not None and wanted.label is None else None
    if target is not None:
        wanted = Columns(label=target, drop=wanted.drop, id=wanted.id, header=wanted.header)
    return _of_arrow(where, pyarrow.Table.from_pandas(frame, preserve_index=False), wanted)

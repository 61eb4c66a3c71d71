"""Columns of pyarrow's tables: their names, numbers, and lists, as embeddings are kept, whose entries are features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError


def columns_of(where: str, names: Sequence[str]) -> list[str]:
    """Of all columns those that are no index of pandas', which it writes as `__index_level_0__`: that names the rows.

    Raises:
        UserError: two have the same name.
    """
    found = [name for name in names if not name.startswith("__index_level_")]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise UserError(f"{where}: {found.count(twice)} columns are called '{twice}'. Rename them.")
    return found


def is_numbers(kind: Any) -> bool:
    """Whether a column of this type of pyarrow's holds numbers."""
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def is_lists(kind: Any) -> bool:
    """Whether a column of this type of pyarrow's holds lists of numbers."""
    from pyarrow import types

    return bool((types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)) and is_numbers(kind.value_type))


def spread(where: str, name: str, column: Any, width: int | None = None) -> NDArray[Any]:
    """(N, width) of a column of N lists. `width`: None for whatever the first list has.

    Raises:
        UserError: a list, or an entry, is missing, or the lists are not of one length.
    """
    import pyarrow
    from pyarrow import compute

    array = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
    way_out = f"drop: [{name}] leaves the column out."
    if array.null_count:
        raise UserError(f"{where}: column '{name}' must hold a list in every row, but {array.null_count:,} are missing; {way_out}")
    lengths_N = compute.list_value_length(array).to_numpy(zero_copy_only=False)
    if width is None:
        width = int(lengths_N[0]) if len(lengths_N) else 0
    if not (lengths_N == width).all():
        row = int(np.argmax(lengths_N != width))
        raise UserError(
            f"{where}: column '{name}' must hold lists of one length, but the first has {width} entries and that of row {row + 1} has "
            f"{lengths_N[row]}. Make them equally long; {way_out}"
        )
    values = array.flatten()
    if values.null_count:
        raise UserError(f"{where}: column '{name}' must hold finite numbers, but {values.null_count:,} entries are missing; {way_out}")
    if pyarrow.types.is_decimal(values.type):
        values = values.cast("float64")
    x_ND: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(array), width)
    return x_ND

"""Rows as a pandas frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuner.errors import UserError

if TYPE_CHECKING:
    import pandas


def frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pandas.DataFrame:
    """`columns`: which are there even without rows.

    Raises:
        UserError: there is no pandas.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError("A frame needs pandas: pip install pandas. Without it, `results.trials` has the same.") from error
    return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=list(columns))

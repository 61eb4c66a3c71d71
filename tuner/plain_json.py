"""JSON as this program writes it, and what may stand in it: whoever reads a file of somebody else's asks here."""

from __future__ import annotations

import json
from typing import Any


def is_whole(value: Any, low: int = 0, high: float = 2**63) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300  # not NaN either


def load_json(raw: bytes | str) -> Any:
    """JSON as this program writes it: without NaN.

    Raises:
        ValueError: it is not that, or nested beyond all measure.
    """
    if not isinstance(raw, str):
        raw = raw.decode(json.detect_encoding(raw), "surrogatepass")
    try:
        return _DECODER.decode(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON's")


_DECODER = json.JSONDecoder(parse_constant=_no_number)  # once: a journal has many lines

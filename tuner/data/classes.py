"""Labels as people write them: words, whole numbers of any length, one-hot rows, and rows whose label is not known."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError

# How programs write that a label is not known: pandas, R, spreadsheets, UCI. `-1` is scikit-learn's and HDBSCAN's.
UNKNOWN = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "?", "-1", "-1.0")
# The same as words; capitals do not matter.
_UNKNOWN_WORDS = {
    "na", "n/a", "n.a.", "nan", "null", "-", "--", "---", ".", "unknown", "unlabeled", "unlabelled", "unassigned", "undefined", "missing",
    "not known", "not available",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """`y_N`: values that sort as the classes do; where `unknown_N` is True they mean nothing. `notes`: what was decided. `doubts`: what may
    be meant otherwise."""

    y_N: NDArray[Any] | None
    unknown_N: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def not_known(names: Collection[str]) -> set[str]:
    """Which of these labels say that there is none."""
    found = {name for name in names if name in UNKNOWN or name.lower() in _UNKNOWN_WORDS}
    return found - {"-"} if "+" in names else found  # the strands of DNA


def is_number(cell: str) -> bool:
    """Whether a cell of a text is a number. Python's own rule would take 1_0, too."""
    return _NUMBER.fullmatch(cell.strip()) is not None or cell.strip().lower().lstrip("+-") in ("nan", "inf", "infinity")


def from_words(where: str, words: Sequence[str]) -> Labels:
    """Labels of a text file: as they are written, so that 01 is not 1. Numbers are sorted by size, anything else as words.

    Raises:
        UserError: they are fractions, so no classes.
    """
    places: dict[str, int] = {}
    codes_N = np.fromiter((places.setdefault(word, len(places)) for word in words), dtype=np.int64, count=len(words))
    return from_codes(where, list(places), codes_N)


def from_codes(where: str, words: Sequence[str], codes_N: NDArray[Any]) -> Labels:
    """As `from_words`, where `codes_N` says which of the `words` each row has."""
    names = {word.strip() for word in words}
    unknown = not_known(names)
    two_signs = bool(names & {"-1", "-1.0"}) and (names - unknown) in ({"1"}, {"+1"}, {"1.0"})
    unknown -= {"-1", "-1.0"} if two_signs else set()
    known = sorted(names - unknown)
    number = all(_NUMBER.fullmatch(name) for name in known)
    odd = next((name for name in known if number and not _WHOLE.fullmatch(name) and not float(name).is_integer()), None)
    if odd is not None:
        raise UserError(f"{where} must hold whole numbers or words, but holds {odd}. Leave y out where there are no labels.")
    if number:  # by size, and where two are equal as they are written
        known.sort(key=lambda name: (int(name) if _WHOLE.fullmatch(name) else int(float(name)), name))
    ranks = {name: rank for rank, name in enumerate(known)}
    y_N = np.array([ranks.get(word.strip(), -1) for word in words], dtype=np.int64)[codes_N]
    apart = _stands_apart([int(float(name)) for name in known]) if number else None
    return _told(y_N, y_N < 0, sorted(unknown), two_signs, apart or _none_of(known))


def _none_of(names: Sequence[str]) -> str | None:
    """The class that is called so, which may be one."""
    return next((name for name in names if name.lower() == "none"), None)


def _stands_apart(values: Sequence[int]) -> int | None:
    """Of sorted classes the one that is written where a label is missing, -9, 255 or 999: the others count, and it is far from them."""
    if len(values) < 3:
        return None
    low, high = values[0], values[-1]
    if low < -1 and values[1] >= 0:
        return low
    others = values[:-1]
    return high if others[0] >= 0 and others[-1] < 2 * len(others) and high >= 99 and high > 10 * others[-1] else None


def from_array(where: str, y_N: NDArray[Any], n_samples: int) -> Labels:
    """Labels of an array: (N,), (N, 1), or one-hot (N, C).

    Raises:
        UserError: it has another shape, type or length, or holds fractions.
    """
    y_N = _flat(where, y_N, n_samples)
    if len(y_N) != n_samples:
        raise UserError(f"{where} must hold one label for each of the {n_samples} rows of x, but holds {len(y_N)}.")
    if y_N.dtype.kind not in "biufUS":
        raise UserError(f"{where} must hold whole numbers or words, but its type is {y_N.dtype}.")
    if y_N.dtype.kind in "US":
        return _of_words(y_N)
    unknown_N = np.zeros(n_samples, dtype=np.bool_)
    said = []
    if y_N.dtype.kind == "f":
        unknown_N = np.isnan(y_N)
        said += ["NaN"] * bool(unknown_N.any())
        odd = y_N[~unknown_N & ~(np.isfinite(y_N) & (y_N == np.round(y_N)))]
        if len(odd):
            raise UserError(f"{where} must hold whole numbers or words, but holds {odd[0]}. Leave y out where there are no labels.")
    minus = (y_N == -1) if y_N.dtype.kind in "if" else np.zeros(n_samples, dtype=np.bool_)
    two_signs = bool(minus.any()) and set(np.unique(y_N[~unknown_N & ~minus]).tolist()) == {1}
    if minus.any() and not two_signs:
        unknown_N, said = unknown_N | minus, [*said, "-1"]
    odd = None if y_N.dtype.kind == "b" else _stands_apart([int(value) for value in np.unique(y_N[~unknown_N])])
    return _told(y_N, unknown_N, said, two_signs, odd)


def _of_words(y_N: NDArray[Any]) -> Labels:
    words_N = y_N.astype(np.str_) if y_N.dtype.kind == "U" else np.char.decode(y_N, "utf-8", "replace")
    names_C, codes_N = np.unique(np.char.strip(words_N), return_inverse=True)
    unknown = not_known(names_C.tolist())
    odd = _none_of([name for name in names_C.tolist() if name not in unknown])
    return _told(y_N, np.isin(names_C, sorted(unknown))[codes_N.reshape(-1)], sorted(unknown), two_signs=False, odd=odd)


def _flat(where: str, y_N: NDArray[Any], n_samples: int) -> NDArray[Any]:
    if y_N.ndim == 2 and 1 in y_N.shape and y_N.size == n_samples:  # as MATLAB and data frames have it
        return y_N.reshape(-1)
    if y_N.ndim == 2 and len(y_N) == n_samples and y_N.dtype.kind in "biuf":
        ones_N, zeros_N = (y_N == 1).sum(axis=1), (y_N == 0).sum(axis=1)
        if np.all(ones_N + zeros_N == y_N.shape[1]) and np.all(ones_N <= 1):  # one-hot; a row of zeros is not known
            return np.where(ones_N == 1, y_N.argmax(axis=1), -1)
    if y_N.ndim != 1:
        raise UserError(f"{where} must hold one label for each row, shape (N,), or be one-hot, but has the shape {y_N.shape}.")
    return y_N


def _told(y_N: NDArray[Any], unknown_N: NDArray[np.bool_], said: Sequence[str], two_signs: bool, odd: int | str | None) -> Labels:
    notes = ["labels -1 and 1 are two classes: only beside other classes does -1 mean not known"] if two_signs else []
    way = "Write -1, NaN or nothing where a label is not known"
    doubts = () if odd is None else (f"label {odd} is taken as a class, but may stand for labels that are not known. {way}",)
    if not unknown_N.any():
        return Labels(y_N=y_N, notes=tuple(notes), doubts=doubts)
    written = ", ".join(word or "empty" for word in said)
    if unknown_N.all():
        return Labels(
            y_N=None,
            notes=(
                *notes,
                f"no label is known ({written}): the data have none",
            ),
        )
    count = int(unknown_N.sum())
    notes.append(f"{count:,} of {len(y_N):,} rows have no label ({written}): they are clustered, and left out of every score")
    return Labels(y_N=y_N, unknown_N=unknown_N, notes=tuple(notes), doubts=doubts)

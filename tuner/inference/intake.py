"""Whether samples are such as a model was trained on: their width, their values, their range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.data.raw import WIDE
from tuner.data.scaling import Intake
from tuner.errors import UserError
from tuner.model import Model

# How far from the training data's values is another scale, not another sample. `_BEYOND`: in widths of training's range on either side.
_BEYOND, _NARROWER, _ENOUGH = 1.0, 10.0, 32
_FLOAT32 = float(np.finfo(np.float32).max)
_WAY_OUT = "Bring them to the scale of the training data, or switch the check off (--any-range, any_range=True)."


def flat(x: NDArray[Any], intake: Intake, model: str, at: int) -> NDArray[Any]:
    """(B, D) in float32, or in float64 where that alone holds the values before they are scaled. `at`: the row of the first sample, for
    the message.

    Raises:
        UserError: another width or shape, or what is no finite number.
    """
    x, spec = np.asarray(x), intake.spec
    if x.dtype.kind not in "fiub":
        raise UserError(f"Samples must be numbers, but their type is {x.dtype}.")
    if x.ndim < 2 or x.shape[1:] not in ((spec.n_features,), spec.shape):
        known = " or ".join(dict.fromkeys(_words((spec.n_features,)) if s == (spec.n_features,) else _words(s) for s in _shapes(spec)))
        raise UserError(f"{model} was trained on samples with {known}, but these have {_words(x.shape[1:])}.")
    x_BD = np.ascontiguousarray(x.reshape(len(x), spec.n_features), dtype=np.float64 if x.dtype.str[1:] in WIDE else np.float32)
    finite_B = (np.abs(x_BD) <= _FLOAT32).all(axis=1)
    if not finite_B.all():
        row = int(np.argmin(finite_B))
        column = int(np.argmin(np.abs(x_BD[row]) <= _FLOAT32))
        raise UserError(f"Values must be finite in float32, but row {at + row}, feature {column} holds {x_BD[row, column]:g}.")
    return x_BD


def _shapes(spec: Any) -> list[tuple[int, ...]]:
    return [(spec.n_features,), spec.shape]


def _words(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"{shape[0]:,} feature" + "s" * (shape[0] != 1)
    return f"the shape {shape}"


class RangeCheck:
    """Refuses samples on another scale than the training data's, such as 0 to 255 where those were 0 to 1."""

    def __init__(self, intake: Intake, model: Model) -> None:
        self._scaling, self._model, self._at = intake.scaling, model, 0
        self._pixels = model.rebuilds_pixels

    def see(self, x_BD: NDArray[Any]) -> None:
        """
        Raises:
            UserError: with the figure.
        """
        known, first, self._at = self._scaling, self._at, self._at + len(x_BD)
        if not len(x_BD):
            return
        low, high, width = float(np.min(x_BD)), float(np.max(x_BD)), known.high - known.low
        trained = f"{self._model.name}'s training data lie within [{known.low:g}, {known.high:g}]"
        if low < known.low - _BEYOND * width or high > known.high + _BEYOND * width:
            row, column = np.unravel_index(int(np.argmax(np.abs(x_BD - (known.low + known.high) / 2))), x_BD.shape)
            raise UserError(f"{trained}, but row {first + int(row)} holds {x_BD[row, column]:g}. {_WAY_OUT}")
        if self._pixels and known.kind == "none" and (low < 0 or high > 1):
            raise UserError(f"{self._model.name} takes pixels in [0, 1], but these samples lie within [{low:g}, {high:g}]. {_WAY_OUT}")
        if first == 0 and len(x_BD) >= _ENOUGH:  # fewer say little of a whole
            deviation = float(x_BD.std(dtype=np.float64))
            if deviation * _NARROWER < known.deviation:
                raise UserError(
                    f"{self._model.name}'s training data deviate by {known.deviation:g} from their mean, but these samples by "
                    f"{deviation:g} only. {_WAY_OUT}"
                )

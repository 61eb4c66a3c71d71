"""What scaling learned of a data set: a small value that travels with the weights, so that new samples are scaled exactly as in training.

Shapes: N data set, D features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UserError
from tuner.model import DataSpec
from tuner.plain_json import is_number, is_whole

SCALES = ("minmax", "minmax_all", "standard", "robust", "log1p", "lognorm", "none")
COUNTS_OF_A_ROW = 10_000.0  # what a row of counts is brought to by `lognorm`, as scanpy's users have it
_FAR = 1e6  # deviations
_AT_A_TIME = 4096  # rows, whose float64 copies are in memory at once


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How values are scaled, with the numbers that were learned from the training data before they were scaled.

    `kind`: one of `SCALES`. `low`, `high`, `deviation`: of all values together. `mean_D`, `deviation_D`: of every feature, for `standard`
    (mean and deviation) and `robust` (median and interquartile range) only; a deviation of 0 is that of a feature that never varies.
    `low_D`, `high_D`: of every feature, for `minmax` on tables only. All are float64, and so is the arithmetic.
    """

    kind: str = "none"
    low: float = -math.inf
    high: float = math.inf
    deviation: float = 0.0
    mean_D: tuple[float, ...] = ()
    deviation_D: tuple[float, ...] = ()
    low_D: tuple[float, ...] = ()
    high_D: tuple[float, ...] = ()

    @staticmethod
    def fit(kind: str | None, x_ND: NDArray[Any], *, table: bool = False) -> Scaling:
        """`kind`: None is `none`. `table`: samples are rows of columns, not images: `minmax` is then of each column.

        Raises:
            UserError: `log1p` of values of -1 or less, `lognorm` of negative ones.
        """
        mean, low, high = float(x_ND.mean(dtype=np.float64)), float(np.min(x_ND)), float(np.max(x_ND))
        parts = (x_ND[i : i + _AT_A_TIME].astype(np.float64) for i in range(0, len(x_ND), _AT_A_TIME))
        squares = sum(float(np.square(part - mean).sum()) for part in parts)
        found = Scaling(kind=kind or "none", low=low, high=high, deviation=math.sqrt(squares / x_ND.size))
        if kind == "lognorm" and low < 0:
            raise UserError(f"'scale' is lognorm, which is of counts, but the least value is {low:g}. Use standard or minmax.")
        if kind == "log1p" and low <= -1:
            raise UserError(f"'scale' is log1p, which is of values above -1, but the least value is {low:g}. Use standard or minmax.")
        low_D, high_D = x_ND.min(axis=0).astype(np.float64), x_ND.max(axis=0).astype(np.float64)
        if kind == "minmax" and table:
            return replace(found, low_D=tuple(low_D.tolist()), high_D=tuple(high_D.tolist()))
        if kind not in ("standard", "robust"):
            return found
        if kind == "standard":
            mean_D, deviation_D = x_ND.mean(axis=0, dtype=np.float64), x_ND.std(axis=0, dtype=np.float64)
            far_D = np.abs(mean_D) > _FAR * deviation_D  # a sum of such values is rounded by more than float32 is
            if far_D.any():
                first_D = x_ND[0, far_D].astype(np.float64)
                mean_D[far_D] = first_D + (x_ND[:, far_D] - first_D).mean(axis=0, dtype=np.float64)
        else:
            mean_D, deviation_D = _quartiles(x_ND)
        # A constant feature's deviation is rounding noise, not 0; dividing by it would blow the noise up to a signal.
        deviation_D = np.where(high_D > low_D, deviation_D, 0.0)
        return replace(found, mean_D=tuple(mean_D.tolist()), deviation_D=tuple(deviation_D.tolist()))

    def apply(self, x_ND: NDArray[Any]) -> NDArray[np.float32]:
        """(N, D) scaled as the training data were, in float64, and then float32; the argument itself where nothing changes."""
        if self.kind == "none":
            return x_ND.astype(np.float32, copy=False)
        scaled_ND = np.empty(x_ND.shape, dtype=np.float32)
        for i in range(0, len(x_ND), _AT_A_TIME):
            scaled_ND[i : i + _AT_A_TIME] = self._scaled(x_ND[i : i + _AT_A_TIME].astype(np.float64))
        return scaled_ND

    def _scaled(self, x_BD: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.kind == "log1p":
            return np.log1p(x_BD)
        if self.kind == "lognorm":
            sums_B1 = x_BD.sum(axis=1, keepdims=True)
            return np.log1p(x_BD * (COUNTS_OF_A_ROW / np.where(sums_B1 > 0, sums_B1, 1.0)))
        if self.kind in ("standard", "robust"):
            start_D, width_D = np.array(self.mean_D), np.array(self.deviation_D)
        elif self.low_D:
            start_D, width_D = np.array(self.low_D), np.array(self.high_D) - np.array(self.low_D)
        else:
            start_D, width_D = np.array(self.low), np.array(self.high - self.low)
        varies_D = width_D > 0
        scaled_BD: NDArray[np.float64] = np.where(varies_D, (x_BD - start_D) / np.where(varies_D, width_D, 1.0), 0.0)
        return np.clip(scaled_BD, 0, 1) if self.kind in ("minmax", "minmax_all") else scaled_BD

    def written(self) -> dict[str, Any]:
        """As JSON holds it: without infinities, which JSON does not have."""
        return {name: value for name, value in asdict(self).items() if value not in (math.inf, -math.inf, ())}


def _quartiles(x_ND: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of every feature, as scikit-learn's RobustScaler: the median, and the range between the quartiles; 1 where that is 0."""
    found_3D = np.empty((3, x_ND.shape[1]))
    for i in range(0, x_ND.shape[1], 64):  # some columns at a time: sorting takes a copy
        found_3D[:, i : i + 64] = np.percentile(x_ND[:, i : i + 64].astype(np.float64), (25, 50, 75), axis=0)
    width_D = found_3D[2] - found_3D[0]
    return found_3D[1], np.where(width_D > 0, width_D, 1.0)


AS_IT_IS = Scaling()  # of values of which nothing is known


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What a trained network takes: samples of the shape and scale that it was trained on."""

    spec: DataSpec
    scaling: Scaling

    def written(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"spec": asdict(self.spec), "scaling": self.scaling.written()}

    @staticmethod
    def read(content: object) -> Intake:
        """What `written` gave.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(content, Mapping) or not all(isinstance(content.get(part), Mapping) for part in ("spec", "scaling")):
            raise ValueError("'intake' must hold 'spec' and 'scaling'")
        spec, scaling = dict(content["spec"]), dict(content["scaling"])
        shape = spec.get("shape")
        if not isinstance(shape, list) or not shape or not all(is_whole(n, 1) for n in shape):
            raise ValueError("'shape' must be a list of whole numbers")
        counts = [spec.get("n_samples"), spec.get("n_test"), spec.get("n_classes") or 0, spec.get("n_unknown", 0)]
        if not all(is_whole(n) for n in counts) or not isinstance(spec.get("unit_range"), bool):
            raise ValueError("'spec' must hold n_samples, n_classes, unit_range and n_test")
        known = Intake(spec=DataSpec(**{**spec, "shape": tuple(shape)}), scaling=Scaling(**_numbers(scaling)))
        kind, n_features = known.scaling.kind, known.spec.n_features
        lengths = {len(known.scaling.mean_D), len(known.scaling.deviation_D)}
        if lengths != {n_features if kind in ("standard", "robust") else 0}:
            raise ValueError("'scaling' must hold a mean and a deviation of every feature")
        lengths = {len(known.scaling.low_D), len(known.scaling.high_D)}
        if lengths not in ({0}, {n_features if kind == "minmax" else 0}):
            raise ValueError("'scaling' must hold the least and the largest value of every feature")
        return known


def _numbers(scaling: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in scaling.items()}
    if found.get("kind") not in SCALES:
        raise ValueError(f"'kind' must be one of {' | '.join(SCALES)}")
    numbers = [v for name, value in found.items() if name != "kind" for v in (value if isinstance(value, tuple) else (value,))]
    if not all(map(is_number, numbers)):
        raise ValueError("'scaling' must hold numbers")
    return found

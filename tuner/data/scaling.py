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

from tuner.model import DataSpec
from tuner.plain_json import is_number, is_whole

SCALES = ("minmax", "standard", "none")
_AT_A_TIME = 4096  # rows, whose float64 copies are in memory at once


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How values are scaled, with the numbers that were learned from the training data before they were scaled.

    `kind`: one of `SCALES`. `low`, `high`, `deviation`: of all values together. `mean_D`, `deviation_D`: of every feature, for `standard`
    only; a deviation of 0 is that of a feature that never varies. All are float64.
    """

    kind: str = "none"
    low: float = -math.inf
    high: float = math.inf
    deviation: float = 0.0
    mean_D: tuple[float, ...] = ()
    deviation_D: tuple[float, ...] = ()

    @staticmethod
    def fit(kind: str | None, x_ND: NDArray[np.float32]) -> Scaling:
        """`kind`: None is `none`."""
        mean, low, high = float(x_ND.mean(dtype=np.float64)), float(np.min(x_ND)), float(np.max(x_ND))
        parts = (x_ND[i : i + _AT_A_TIME].astype(np.float64) for i in range(0, len(x_ND), _AT_A_TIME))
        squares = sum(float(np.square(part - mean).sum()) for part in parts)
        found = Scaling(kind=kind or "none", low=low, high=high, deviation=math.sqrt(squares / x_ND.size))
        if kind != "standard":
            return found
        mean_D, deviation_D = x_ND.mean(axis=0, dtype=np.float64), x_ND.std(axis=0, dtype=np.float64)
        # A constant feature's deviation is rounding noise, not 0; dividing by it would blow the noise up to a signal.
        deviation_D = np.where(deviation_D > 1e-6 * np.abs(mean_D), deviation_D, 0.0)
        return replace(found, mean_D=tuple(mean_D.tolist()), deviation_D=tuple(deviation_D.tolist()))

    def apply(self, x_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) scaled as the training data were; the argument itself where nothing changes."""
        if self.kind == "minmax":
            low, high = np.float32(self.low), np.float32(self.high)
            return np.clip((x_ND - low) / (high - low), 0, 1) if high > low else np.zeros_like(x_ND)
        if self.kind == "standard":
            mean_D, deviation_D = np.array(self.mean_D), np.array(self.deviation_D)
            varies_D = deviation_D > 0
            return np.where(varies_D, (x_ND - mean_D) / np.where(varies_D, deviation_D, 1.0), 0.0).astype(np.float32)
        return x_ND

    def written(self) -> dict[str, Any]:
        """As JSON holds it: without infinities, which JSON does not have."""
        return {name: value for name, value in asdict(self).items() if value not in (math.inf, -math.inf, ())}


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
        counts = [spec.get("n_samples"), spec.get("n_test"), spec.get("n_classes") or 0]
        if not all(is_whole(n) for n in counts) or not isinstance(spec.get("unit_range"), bool):
            raise ValueError("'spec' must hold n_samples, n_classes, unit_range and n_test")
        known = Intake(spec=DataSpec(**{**spec, "shape": tuple(shape)}), scaling=Scaling(**_numbers(scaling)))
        lengths = {len(known.scaling.mean_D), len(known.scaling.deviation_D)}
        if lengths != {known.spec.n_features if known.scaling.kind == "standard" else 0}:
            raise ValueError("'scaling' must hold a mean and a deviation of every feature")
        return known


def _numbers(scaling: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in scaling.items()}
    if found.get("kind") not in SCALES:
        raise ValueError(f"'kind' must be one of {' | '.join(SCALES)}")
    numbers = [v for name, value in found.items() if name != "kind" for v in (value if isinstance(value, tuple) else (value,))]
    if not all(map(is_number, numbers)):
        raise ValueError("'scaling' must hold numbers")
    return found

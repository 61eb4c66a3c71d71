"""What earlier runs of a space have found: complete trials that the sampler is told of, and that are none of the search's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Told:
    """A complete trial of an earlier run. `chosen`: a value for each searched parameter whose condition holds; `values`: of the metrics
    that decide."""

    run: str
    trial: int
    chosen: Mapping[str, Any]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """`told`: how many of its complete trials; `left_out`: how many of them today's space does not have; `why`: of the first of these."""

    run: str
    told: int
    left_out: int
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The runs that a search was warm-started from, and what was taken of them."""

    runs: tuple[EarlierRun, ...] = ()
    trials: tuple[Told, ...] = ()

    def plain(self) -> dict[str, Any]:
        """For spec.json."""
        return {"runs": [asdict(run) for run in self.runs], "trials": [asdict(trial) for trial in self.trials]}

    @staticmethod
    def of(plain: Mapping[str, Any] | None) -> Earlier:
        """From spec.json."""
        if not plain:
            return Earlier()
        return Earlier(runs=tuple(EarlierRun(**run) for run in plain["runs"]), trials=tuple(Told(**trial) for trial in plain["trials"]))

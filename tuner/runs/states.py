"""How a trial can end: one table, with all that depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class State:
    """`optuna`: Optuna's state for it. `level`: of the line in the trial's log. `exit_code`: of its W&B run; 255 is W&B's own for an
    interrupt. `worst`: whether the trial has no score, and the sampler is given the worst one."""

    optuna: Literal["COMPLETE", "PRUNED", "FAIL"]
    level: Literal["INFO", "WARNING", "ERROR"] = "INFO"
    exit_code: int = 0
    colour: str
    worst: bool = False


STATES: Mapping[str, State] = {
    "complete": State(optuna="COMPLETE", colour="green"),
    "pruned": State(optuna="PRUNED", colour="cyan"),
    "stopped": State(optuna="FAIL", exit_code=255, colour="magenta"),
    "failed": State(optuna="FAIL", level="ERROR", exit_code=1, colour="red"),
    "diverged": State(optuna="COMPLETE", level="WARNING", colour="yellow", worst=True),
    "collapsed": State(optuna="COMPLETE", level="WARNING", colour="yellow", worst=True),
}
BY_ITSELF = tuple(name for name, state in STATES.items() if state.optuna == "COMPLETE")  # a trial's training ends it so

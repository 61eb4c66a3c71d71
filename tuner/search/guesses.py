"""The guesses of whoever wrote the space, `prior`, as its first proposals.

Optuna's TPESampler has a prior of its own, in the middle of each range and as wide as that, and offers no way to put another in its
place (5.0; its `prior_weight` is being removed). So the guesses are the trials that TPE learns from: those that it would draw at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

from tuner.space.ranges import Range

GUESSED = 10  # configurations: as many as TPE draws at random before it learns
_SHARE = 0.5  # of the draws among `values` that are the guess
_DRAWS = 100  # at one that lies in the range

Guess = Callable[[Range], Any]  # a value for a parameter; None: the sampler's


def guessed(found: Range, rng: Random) -> Any:
    """A draw around the guess, within the range: normal, on a log scale where the range is; None where the sampler is to choose."""
    prior = found.prior
    assert prior is not None
    if found.kind == "values":
        return prior.value if rng.random() < _SHARE else None
    assert prior.spread is not None and found.min is not None and found.max is not None
    for _ in range(_DRAWS):
        off = rng.gauss(0.0, 1.0)
        value = prior.value * math.exp(off * math.log(prior.spread)) if found.log else prior.value + off * prior.spread
        if found.min <= value <= found.max:
            return _on_grid(found, value)
    return prior.value


def _on_grid(found: Range, value: float) -> int | float:
    """The nearest value that the range has."""
    low, high = found.min, found.max
    assert low is not None and high is not None
    if found.options is not None:
        step = int(found.q or 1)
        return int(low) + step * round((value - int(low)) / step)
    return float(value) if found.q is None else float(min(high, low + found.q * round((value - low) / found.q)))

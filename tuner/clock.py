"""Which time it is: this machine's, or that of a simulation."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two clocks of the module `time`."""

    def time(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds since some moment."""


SYSTEM: Clock = time

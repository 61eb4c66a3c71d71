"""What Ray Tune shows while it runs: nothing, because the listeners do."""

from __future__ import annotations

from typing import Any

from ray import tune


class Silent(tune.ProgressReporter):
    """In a notebook Tune's own clears the cell's output, even where `verbose` is 0, and with it what we show there."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: str) -> None:
        """Is never asked for."""

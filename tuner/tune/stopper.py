"""Ends single trials, or the whole search, when a person orders it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from .patches import kill_process


class StopWhenAsked(Stopper):
    """Ends the search when somebody asks for it, without waiting for the epochs that are being trained; and single trials."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.trials: Sequence[TuneTrial] = ()
        self.unwanted: set[int] = set()  # trials that are to end with the epoch that they are in

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        unwanted = result["ended"] is None and result["line"]["trial"] in self.unwanted
        if unwanted:
            result["ended"] = "stopped"  # for the searcher and the callback, who hear of it next
        return unwanted

    def stop_all(self) -> bool:
        if self.asked.is_set():
            for trial in self.trials:
                kill_process(trial)  # checkpoints are written whole or not at all
        return self.asked.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

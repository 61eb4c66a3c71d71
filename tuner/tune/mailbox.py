"""Pre-training epochs on their way to the driver, which must not wait for the next `tune.report`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    pass


class Mailbox:
    """Takes what should reach the driver before the next `tune.report`, which brings it again. A Ray actor."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._unwanted: set[int] = set()

    def put(self, line: dict[str, Any]) -> bool:
        """Whether the trial is to go on."""
        self._lines.append(line)
        return line["trial"] not in self._unwanted

    def stop(self, trial: int) -> None:
        """A trial is not to go on with its pre-training."""
        self._unwanted.add(trial)

    def take(self) -> list[dict[str, Any]]:
        """All that came since the last time, in its order."""
        lines, self._lines = self._lines, []
        return lines


LOOK_EVERY_S = 0.2  # for pre-training epochs in the mailbox
ANSWER_S = 30.0  # the mailbox's longest, before it counts as lost


class MailboxReader:
    """Reads the mailbox without waiting for it, unless told to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._asked: Any = None
        self._looked = 0.0

    def open(self) -> None:
        """Makes the mailbox where there is none yet: most models have no pre-training."""
        if self._actor is None:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # lost with this driver only
            options: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
            self._actor = ray.remote(Mailbox).options(name=self._name, **options).remote()

    def stop(self, trial: int) -> None:
        if self._actor is not None:
            self._actor.stop.remote(trial)

    def look(self, *, now: bool = False) -> list[dict[str, Any]]:
        """What has come. `now`: all that was put before this call; else what is there without waiting for an answer."""
        if self._actor is None:
            return []
        lines: list[dict[str, Any]] = []
        if self._asked is not None:
            if not now and not ray.wait([self._asked], timeout=0)[0]:
                return []
            lines += ray.get(self._asked, timeout=ANSWER_S)
            self._asked = None
        if now:
            lines += ray.get(self._actor.take.remote(), timeout=ANSWER_S)
        elif time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._asked = self._actor.take.remote()
        return lines

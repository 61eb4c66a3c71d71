"""Pre-training epochs on their way to the driver, which must not wait for the next `tune.report`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuner.capture import Line
from tuner.runs.records import EpochLine


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A pre-training epoch. `captured`: what was logged and printed meanwhile."""

    line: EpochLine
    captured: Sequence[Line]


class Mailbox:
    """Takes what should reach the driver before the next `tune.report`, which brings it again. A Ray actor."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._stopped: set[int] = set()

    def put(self, mail: Mail) -> bool:
        """Whether the trial is to go on."""
        self._mails.append(mail)
        return mail.line["trial"] not in self._stopped

    def stop(self, trial: int) -> None:
        """A trial is not to go on with its pre-training."""
        self._stopped.add(trial)

    def take(self) -> list[Mail]:
        """All that came since the last time, in its order."""
        mails, self._mails = self._mails, []
        return mails


LOOK_EVERY_S = 0.2  # for pre-training epochs in the mailbox
ANSWER_S = 30.0  # the mailbox's longest, before it counts as lost


class MailboxReader:
    """Reads the mailbox without waiting for it, unless `now` is given."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._answer: Any = None  # to come
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

    def look(self, *, now: bool = False) -> list[Mail]:
        """What has come. `now`: all that was put before this call; else what is there without waiting for an answer."""
        if self._actor is None:
            return []
        mails: list[Mail] = []
        if self._answer is not None:
            if not now and not ray.wait([self._answer], timeout=0)[0]:
                return []
            mails += ray.get(self._answer, timeout=ANSWER_S)
            self._answer = None
        if now:
            mails += ray.get(self._actor.take.remote(), timeout=ANSWER_S)
        elif time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._answer = self._actor.take.remote()
        return mails

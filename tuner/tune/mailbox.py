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
    """A pre-training epoch. `captured`: what was logged and printed meanwhile; `key`: no other mail's."""

    line: EpochLine
    captured: Sequence[Line]
    key: str


class Mailbox:
    """Takes what should reach the driver before the next `tune.report`, which brings it again. A Ray actor.

    Where an answer is lost on its way Ray calls again, so that a second call of a method does no more than the first one did.
    """

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._newest: dict[int, str] = {}  # the key of each trial's last mail
        self._stopped: set[int] = set()

    def put(self, mail: Mail) -> bool:
        """Whether the trial is to go on."""
        trial = mail.line["trial"]
        if self._newest.get(trial) != mail.key:
            self._newest[trial] = mail.key
            self._mails.append(mail)
        return trial not in self._stopped

    def stop(self, trial: int) -> None:
        """A trial is not to go on with its pre-training."""
        self._stopped.add(trial)

    def take(self, last: str | None) -> list[Mail]:
        """All that came after the mail with this key, in its order. Those up to it have arrived, and are let go."""
        keys = [mail.key for mail in self._mails]
        if last in keys:
            del self._mails[: keys.index(last) + 1]
        return self._mails


LOOK_EVERY_S = 0.2  # for pre-training epochs in the mailbox
ANSWER_S = 30.0  # the mailbox's longest, before it counts as lost


class MailboxReader:
    """Reads the mailbox without waiting for it, unless `now` is given."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._answer: Any = None  # to come
        self._last: str | None = None  # the key of the last mail that arrived
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
            mails += self._received(self._answer)
            self._answer = None
        if now:
            mails += self._received(self._actor.take.remote(self._last))
        elif time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._answer = self._actor.take.remote(self._last)
        return mails

    def _received(self, answer: Any) -> list[Mail]:
        mails: list[Mail] = ray.get(answer, timeout=ANSWER_S)
        if mails:
            self._last = mails[-1].key
        return mails

"""Packs under Ray: one actor for each GPU, or each share of cores, trains many trials; each trial's own actor only passes them on.

To Tune a trial stays a trial: its actor hands its configuration in, awaits each epoch and reports it. The host lets a trial run one
epoch ahead of what was fetched, so that the scheduler's verdict arrives while the next epoch trains; the extra epoch of a trial that
is stopped is thrown away.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tuner.capture import Captured, Line, captured_for
from tuner.machines.versions import check_code

from . import memory

if TYPE_CHECKING:
    from tuner.search.trainer import Report, Reports, Trainer
    from tuner.training.pool import Pool, RoomError


STRAGGLERS_S = 0.25  # how long a round waits for trials whose last epoch has not been fetched, and for one to take a free slot
ARRIVAL_S = 2.0  # how long the first round waits for one more trial: their processes start one after another


@dataclass(eq=False)
class HostedTrial:
    """A trial that trains on this host. Epochs up to `done` were fetched, and are not handed out again."""

    config: Mapping[str, Any]
    done: int
    reports: Reports | None = None  # None until it has entered the pool
    unfetched: deque[Report] = field(default_factory=deque)
    failure: BaseException | None = None
    alone: bool = False  # its pack failed: it is tried by itself, to find out whose fault that was
    finished: bool = False
    captured: Captured = field(default_factory=Captured)  # while it trained, since its last report
    left: bool = False  # it left, or its process died and another one has come for it


class PackHost:
    """Trains the trials that join it, in packs. A Ray actor with a thread for each trial that waits for an epoch, and one that trains."""

    def __init__(self, trainer: Trainer, width: int, code: Mapping[str, str | None] | None = None) -> None:
        """`code`: the driver's, where that is another process."""

        if code is not None:
            check_code(code)
        trainer.reset_process(trainer.spec.seed)
        self._trainer, self._model = trainer, trainer.spec.loaded()
        self._hosted: dict[int, HostedTrial] = {}
        self._pool = self._empty_pool(width)
        self._turn, self._changed = threading.Condition(), 0.0
        threading.Thread(target=self._train, name="packs", daemon=True).start()

    # --- called by the trials' processes ---

    def join(self, trial: int, config: Mapping[str, Any], done: int, most: int | None = None) -> int:
        """Takes a trial in, at its beginning or its checkpoint, and says how wide packs are here. `done`: the last of its epochs that was
        fetched, from whichever host. `most`: what a wider pack was too much for."""
        with self._turn:
            self._forget(trial)
            if most is not None and most < self._pool.widths.most:
                self._narrow(most)
            self._hosted[trial] = HostedTrial(config, done)
            self._changed = time.monotonic()
            self._turn.notify_all()
            return self._pool.widths.most

    def next(self, trial: int) -> Report | None:
        """The trial's next epoch; waits for it. None where the trial is not here: this process is another than the one it joined."""
        with self._turn:
            hosted = self._hosted.get(trial)
            if hosted is None:
                return None
            if hosted.reports is not None:
                hosted.reports.settle(hosted.done)
            self._turn.wait_for(lambda: hosted.unfetched or hosted.failure or hosted.left)
            if hosted.left:
                return None
            if not hosted.unfetched:
                assert hosted.failure is not None
                raise hosted.failure
            report = hosted.unfetched.popleft()
            hosted.done = report.line["epoch"]
            self._turn.notify_all()
            return report

    def captured(self, trial: int) -> list[Line]:
        """What was logged and printed in the trial's last epoch, where that failed."""
        hosted = self._hosted.get(trial)
        return [] if hosted is None else hosted.captured.take()

    def leave(self, trial: int) -> None:
        """Forgets the trial, which needs no further epoch."""
        with self._turn:
            self._forget(trial)
            self._changed = time.monotonic()

    def _forget(self, trial: int) -> None:
        """Wakes the thread that waits for the trial: the thread of a dead process would wait for ever."""
        hosted = self._hosted.pop(trial, None)
        if hosted is not None:
            hosted.left = True
            self._turn.notify_all()

    def load(self) -> int:
        """How many trials are here."""
        return len(self._hosted)

    def occupancy(self) -> tuple[int, int, int]:
        """Epochs that trials were trained for, that slots and that packs were run for."""
        return self._pool.lane_epochs, self._pool.slot_epochs, self._pool.pack_epochs

    # --- the thread that trains ---

    def _train(self) -> None:
        patience = ARRIVAL_S
        while True:
            with self._turn:
                self._turn.wait_for(self._ready)
                # A free slot is taken soon, if at all; a pack that grows is built anew.
                while len(self._hosted) < self._pool.widths.most and (left := self._changed + patience - time.monotonic()) > 0:
                    self._turn.wait(left)
                patience = STRAGGLERS_S
                deadline = time.monotonic() + STRAGGLERS_S
                while len(self._ready()) < len(self._training()) and (left := deadline - time.monotonic()) > 0:
                    self._turn.wait(left)
                for trial in self._pool.members.keys() - self._hosted.keys():
                    self._pool.leave(trial)
                for trial, hosted in self._hosted.items():
                    if hosted.reports is None and hosted.failure is None:
                        self._enter(trial)
                ready = self._ready()
            if ready:
                self._round(ready)

    def _training(self) -> list[int]:
        return [trial for trial, hosted in self._hosted.items() if not hosted.finished and hosted.failure is None]

    def _ready(self) -> list[int]:
        """The trials that may train: none gets more than one epoch ahead of what was fetched."""
        return [trial for trial in self._training() if not self._hosted[trial].unfetched]

    def _round(self, ready: list[int]) -> None:
        from tuner.training.pool import RoomError

        try:
            for trial, epoch in self._pool.round(ready):
                hosted = self._hosted.get(trial)  # type: ignore[call-overload]  # a pool knows its members by any hashable
                if hosted is None or hosted.reports is None:  # it left, or joined again, meanwhile
                    continue
                report = hosted.reports.of(epoch)
                with self._turn:
                    hosted.finished = epoch.ended is not None
                    if epoch.epoch > hosted.done:
                        hosted.unfetched.append(replace(report, said=hosted.captured.take()))
                        self._turn.notify_all()
        except RoomError as error:
            with self._turn:
                self._after(error)
                self._turn.notify_all()
        except BaseException as error:  # no trial may wait for a thread that has died
            with self._turn:
                for trial in self._training():
                    self._hosted[trial].failure = error
                self._pool = self._empty_pool(self._pool.widths.most, self._pool)
                self._turn.notify_all()

    def _after(self, error: RoomError) -> None:
        """A pack failed. If it was too large for the memory, all trials start again in narrower packs. Otherwise each of its trials is
        tried alone, and the one that caused the failure fails."""
        many = len(error.members) > 1
        if many and memory.reason_of(error.__cause__):
            width = len(error.members) // 2
            with captured_for(*(self._hosted[trial].captured for trial in self._training())):
                print(f"{len(error.members)} trials in a pack are too many for the memory: going on with packs of {width}", flush=True)
            self._narrow(width)
            return
        for member in error.members:
            hosted = self._hosted.get(member)  # type: ignore[call-overload]
            if hosted is not None and many:
                hosted.alone, hosted.reports = True, None
            elif hosted is not None:
                hosted.failure = error.__cause__
                self._pool.leave(member)

    def _narrow(self, width: int) -> None:
        self._pool = self._empty_pool(width, self._pool)
        for trial in self._training():
            self._hosted[trial].reports = None

    def _enter(self, trial: int) -> None:
        """Puts a trial into the pool, at its last checkpoint or its beginning: the same seed gives the same epochs, and those fetched
        are not given again."""
        hosted, spec = self._hosted[trial], self._trainer.spec
        if trial in self._pool.members:
            self._pool.leave(trial)
        while hosted.unfetched:  # they come again, what was captured for them may not
            hosted.captured.add_lines(hosted.unfetched.popleft().said)
        try:
            with captured_for(hosted.captured):
                hosted.reports, seed = self._trainer.reports(trial, hosted.config), int(hosted.config["seed"])
                how: dict[str, Any] = {"seed": seed, "pretrain_seed": spec.pretrain_seed_of(hosted.config), "start": hosted.reports.start}
                self._pool.join(trial, spec.hyper(hosted.config), **how, alone=hosted.alone, said=hosted.captured)
        except Exception as error:  # this trial's, whatever it is
            hosted.failure = error
            self._turn.notify_all()

    def _empty_pool(self, width: int, before: Pool | None = None) -> Pool:
        """`before`: the one that it replaces, whose epochs count on."""
        from tuner.training.pool import Pool, Widths

        data = self._trainer.data()
        on_gpu = data.x_ND.is_cuda
        widths = Widths(most=width, least=1 if on_gpu else 2, exact=not on_gpu)
        pool = Pool(self._model, data, widths, self._trainer.spec.objectives)
        if before is not None:
            pool.lane_epochs, pool.slot_epochs, pool.pack_epochs = before.lane_epochs, before.slot_epochs, before.pack_epochs
        return pool

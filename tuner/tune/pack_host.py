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


STRAGGLERS_S = 0.25  # how long a round waits for trials whose last epoch has not been fetched, and for one to take a free seat
ARRIVAL_S = 2.0  # how long the first round waits for one more trial: their processes start one after another


@dataclass(eq=False)
class Guest:
    """A trial in the house. `done`: the last epoch that was fetched; whatever comes again up to there is dropped."""

    config: Mapping[str, Any]
    done: int
    reports: Reports | None = None  # None until it has entered the pool
    unfetched: deque[Report] = field(default_factory=deque)
    failure: BaseException | None = None
    alone: bool = False  # its pack failed: it is tried by itself, to find out whose fault that was
    over: bool = False
    said: Captured = field(default_factory=Captured)  # while it trained, since its last report
    gone: bool = False  # it left, or its process died and another one has come for it


class PackHost:
    """Trains its guests in packs. A Ray actor with a thread for each guest that waits, and one that trains."""

    def __init__(self, trainer: Trainer, width: int, code: Mapping[str, str | None] | None = None) -> None:
        """`code`: the driver's, where that is another process."""
        from tuner.model import load_model

        if code is not None:
            check_code(code)
        trainer.reset_process(trainer.spec.seed)
        self._trainer, self._model = trainer, load_model(trainer.spec.model)
        self._guests: dict[int, Guest] = {}
        self._pool = self._empty_pool(width)
        self._turn, self._changed = threading.Condition(), 0.0
        threading.Thread(target=self._train, name="packs", daemon=True).start()

    # --- what guests ask for ---

    def join(self, trial: int, config: Mapping[str, Any], done: int, most: int | None = None) -> int:
        """Takes a trial in, at its beginning or its checkpoint, and says how wide packs are here. `done`: the last of its epochs that was
        fetched, from whichever host. `most`: what a wider pack was too much for."""
        with self._turn:
            self._forget(trial)
            if most is not None and most < self._pool.widths.most:
                self._narrow(most)
            self._guests[trial] = Guest(config, done)
            self._changed = time.monotonic()
            self._turn.notify_all()
            return self._pool.widths.most

    def next(self, trial: int) -> Report | None:
        """The trial's next epoch; waits for it. None where the trial is not here: this process is another than the one it joined."""
        with self._turn:
            guest = self._guests.get(trial)
            if guest is None:
                return None
            if guest.reports is not None:
                guest.reports.settle(guest.done)
            self._turn.wait_for(lambda: guest.unfetched or guest.failure or guest.gone)
            if guest.gone:
                return None
            if not guest.unfetched:
                assert guest.failure is not None
                raise guest.failure
            report = guest.unfetched.popleft()
            guest.done = report.line["epoch"]
            self._turn.notify_all()
            return report

    def said(self, trial: int) -> list[Line]:
        """What was said in the trial's last epoch, where that failed."""
        guest = self._guests.get(trial)
        return [] if guest is None else guest.said.take()

    def leave(self, trial: int) -> None:
        """The trial is not wanted any more."""
        with self._turn:
            self._forget(trial)
            self._changed = time.monotonic()

    def _forget(self, trial: int) -> None:
        """Whoever waits for it waits no longer: a dead process would keep its thread here for ever."""
        guest = self._guests.pop(trial, None)
        if guest is not None:
            guest.gone = True
            self._turn.notify_all()

    def load(self) -> int:
        """How many trials are here."""
        return len(self._guests)

    def occupancy(self) -> tuple[int, int, int]:
        """Epochs that trials were trained for, that slots and that packs were run for."""
        return self._pool.lane_epochs, self._pool.slot_epochs, self._pool.pack_epochs

    # --- the thread that trains ---

    def _train(self) -> None:
        patience = ARRIVAL_S
        while True:
            with self._turn:
                self._turn.wait_for(self._ready)
                # A seat that is free is taken soon, if at all; a pack that grows is built anew.
                while len(self._guests) < self._pool.widths.most and (left := self._changed + patience - time.monotonic()) > 0:
                    self._turn.wait(left)
                patience = STRAGGLERS_S
                deadline = time.monotonic() + STRAGGLERS_S
                while len(self._ready()) < len(self._training()) and (left := deadline - time.monotonic()) > 0:
                    self._turn.wait(left)
                for trial in self._pool.members.keys() - self._guests.keys():
                    self._pool.leave(trial)
                for trial, guest in self._guests.items():
                    if guest.reports is None and guest.failure is None:
                        self._enter(trial)
                ready = self._ready()
            if ready:
                self._round(ready)

    def _training(self) -> list[int]:
        return [trial for trial, guest in self._guests.items() if not guest.over and guest.failure is None]

    def _ready(self) -> list[int]:
        """Who may train: nobody gets more than one epoch ahead of what was fetched."""
        return [trial for trial in self._training() if not self._guests[trial].unfetched]

    def _round(self, ready: list[int]) -> None:
        from tuner.training.pool import RoomError

        try:
            for trial, epoch in self._pool.round(ready):
                guest = self._guests.get(trial)  # type: ignore[call-overload]  # a pool knows its members by any hashable
                if guest is None or guest.reports is None:  # it left, or came anew, meanwhile
                    continue
                report = guest.reports.of(epoch)
                with self._turn:
                    guest.over = epoch.ended is not None
                    if epoch.index > guest.done:
                        guest.unfetched.append(replace(report, said=guest.said.take()))
                        self._turn.notify_all()
        except RoomError as error:
            with self._turn:
                self._after(error)
                self._turn.notify_all()
        except BaseException as error:  # nobody must wait for a thread that has died
            with self._turn:
                for trial in self._training():
                    self._guests[trial].failure = error
                self._pool = self._empty_pool(self._pool.widths.most, self._pool)
                self._turn.notify_all()

    def _after(self, error: RoomError) -> None:
        """A pack failed. Too large for the memory: everybody starts again in narrower ones. Otherwise each of its trials is tried
        alone, and the guilty one fails."""
        many = len(error.members) > 1
        if many and memory.told(error.__cause__):
            width = len(error.members) // 2
            with captured_for(*(self._guests[trial].said for trial in self._training())):
                print(f"{len(error.members)} trials in a pack are too many for the memory: going on with packs of {width}", flush=True)
            self._narrow(width)
            return
        for member in error.members:
            guest = self._guests.get(member)  # type: ignore[call-overload]
            if guest is not None and many:
                guest.alone, guest.reports = True, None
            elif guest is not None:
                guest.failure = error.__cause__
                self._pool.leave(member)

    def _narrow(self, width: int) -> None:
        self._pool = self._empty_pool(width, self._pool)
        for trial in self._training():
            self._guests[trial].reports = None

    def _enter(self, trial: int) -> None:
        """Puts a guest into the pool, at its last checkpoint or its beginning: the same seed gives the same epochs, and those fetched
        are not given again."""
        guest, spec = self._guests[trial], self._trainer.spec
        if trial in self._pool.members:
            self._pool.leave(trial)
        while guest.unfetched:  # they come again, what was said for them may not
            guest.said.add_lines(guest.unfetched.popleft().said)
        try:
            with captured_for(guest.said):
                guest.reports, seed = self._trainer.reports(trial, guest.config), int(guest.config["seed"])
                how: dict[str, Any] = {"seed": seed, "pretrain_seed": spec.pretrain_seed, "start": guest.reports.start}
                self._pool.join(trial, spec.hyper(guest.config), **how, alone=guest.alone, said=guest.said)
        except Exception as error:  # this trial's, whatever it is
            guest.failure = error
            self._turn.notify_all()

    def _empty_pool(self, width: int, before: Pool | None = None) -> Pool:
        """`before`: the one that it replaces, whose epochs count on."""
        from tuner.training.pool import Pool, Widths

        data = self._trainer.data()
        on_gpu = data.x_ND.is_cuda
        widths = Widths(most=width, least=1 if on_gpu else 2, exact=not on_gpu)
        pool = Pool(self._model, data, widths, self._trainer.spec.metric.name)
        if before is not None:
            pool.lane_epochs, pool.slot_epochs, pool.pack_epochs = before.lane_epochs, before.slot_epochs, before.pack_epochs
        return pool

"""Trials that train side by side on one device, in packs where that pays; slots change hands between epochs."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.capture import Captured, captured_for
from tuner.data.datasets import Data
from tuner.model import Hyper, Model

from .checkpoint import Snapshot
from .engine import Engine, State, build, state_of
from .loop import Epoch, run_epoch
from .pack import Pack
from .solo import Solo
from .trial import Trial, check_fits, initial_seed, start_trial


@dataclass(frozen=True)
class PackKey:
    """What the lanes of a pack share: the phase, all static values, and which terms are on."""

    phase: int
    static: tuple[tuple[str, Any], ...]
    on: frozenset[str]
    alone: Hashable | None = None  # the one trial that shares with nobody


class RoomError(RuntimeError):
    """An engine failed; its cause is chained. `members`: the trials whose epoch is lost. They are still in the pool."""

    def __init__(self, members: list[Hashable]) -> None:
        super().__init__(f"the epoch of {len(members)} trial(s) failed")
        self.members = members


@dataclass(frozen=True, kw_only=True)
class Widths:
    """How many trials share a pack. `most`: at most; `least`: fewer train alone. `exact`: as many slots as trials, for an engine
    whose cost follows the width; otherwise powers of two, for one that has to be recorded anew for each width."""

    most: int
    least: int = 2
    exact: bool = True

    def plan(self, n: int) -> list[int]:
        """The widths of the packs of n trials, ascending; a width of 1 is a trial alone."""
        full, rest = divmod(n, self.most)
        if rest >= self.least:
            rest_plan = [rest if self.exact else min(self.most, 1 << (rest - 1).bit_length())]
        else:
            rest_plan = [1] * rest
        return rest_plan + [self.most] * full


@dataclass(eq=False)
class Room:
    """An engine and who sits in its slots."""

    engine: Engine
    seats: list[Hashable | None]


@dataclass(eq=False)
class Member:
    """A trial, where it sits, and its state while it sits nowhere."""

    trial: Trial
    state: State
    moments_of: int | None  # the phase whose optimisers the state remembers
    alone: bool
    said: Captured | None  # takes what is said while it trains
    key: PackKey | None = None
    room: Room | None = None
    slot: int = 0


@dataclass(eq=False)
class Pool:
    """All trials of one model on one data set. A trial joins and leaves between rounds; a round is one epoch of each trial.

    `metric`: what the search goes by, as `run_epoch` takes it.
    """

    model: Model
    data: Data
    widths: Widths
    metric: str | Sequence[str] | None = None
    members: dict[Hashable, Member] = field(default_factory=dict)
    rooms: dict[PackKey, list[Room]] = field(default_factory=dict)
    lane_epochs: int = 0  # epochs that trials were trained for
    slot_epochs: int = 0  # epochs that slots were run for, idle ones too: the ratio is the occupancy
    pack_epochs: int = 0  # epochs that packs, and trials alone, were run for

    def join(
        self,
        who: Hashable,
        h: Hyper,
        *,
        seed: int,
        pretrain_seed: int | None = None,
        start: Snapshot | None = None,
        alone: bool = False,
        said: Captured | None = None,
    ) -> None:
        """Takes in a trial, from its beginning or from a snapshot. `alone`: it shares no pack. `said`: takes what is said while it trains.

        Raises:
            UserError: the configuration does not fit the data, or the snapshot does not fit the configuration.
        """
        check_fits(self.model, h, self.data)
        trial = start_trial(self.model, h, seed=seed, pretrain_seed=pretrain_seed, start=start)
        if start is None:
            state = state_of(*build(self.model, h, self.data.spec, self.data.x_ND, initial_seed(self.model, trial)))
        else:
            state = start.tensors
        self.members[who] = Member(trial, state, trial.phase if start else None, alone, said)

    def leave(self, who: Hashable) -> None:
        """Frees the trial's slot; nothing is left of it."""
        member = self.members.pop(who)
        if member.room is not None:
            member.room.seats[member.slot] = None

    def round(self, ready: Collection[Hashable] | None = None) -> Iterator[tuple[Hashable, Epoch]]:
        """One epoch of every trial, or of those that are `ready`; the others rest in their slots. A trial that ends leaves.

        Raises:
            RoomError: an engine failed. Trials that have not been yielded by then have not been trained in this round.
        """
        ready = set(self.members if ready is None else ready)
        self._arrange(ready)
        for room in [room for rooms in self.rooms.values() for room in rooms]:
            seated = [who if who in ready else None for who in room.seats]
            trials = [None if who is None else self.members[who].trial for who in seated]
            if not any(trials):
                continue
            try:
                with captured_for(*[None if who is None else self.members[who].said for who in seated]):
                    epochs = run_epoch(room.engine, self.model, trials, self.data, self.metric)
            except Exception as error:
                raise RoomError([who for who in seated if who is not None]) from error
            self.lane_epochs += len(epochs)
            self.slot_epochs += len(trials)
            self.pack_epochs += 1
            for slot, epoch in epochs.items():
                who = seated[slot]
                if epoch.ended:
                    self.leave(who)
                yield who, epoch

    def _arrange(self, ready: Collection[Hashable]) -> None:
        """Seats every trial that is about to train in a pack of its kind, and lets packs shrink and grow with their trials."""
        phases = {who: self.model.phases(member.trial.h) for who, member in self.members.items()}
        for who in ready:
            member = self.members[who]
            assert member.trial.advance(phases[who]), f"trial {who} is over"
            static = tuple(sorted(member.trial.h.static().items()))
            key = PackKey(member.trial.phase, static, member.trial.on, who if member.alone else None)
            if key != member.key:
                self._stand_up(member)
                member.key = key
        members: dict[PackKey, list[Hashable]] = {}
        for who, member in self.members.items():
            if member.key is not None:
                members.setdefault(member.key, []).append(who)
        self.rooms = {key: rooms for key, rooms in self.rooms.items() if key in members}
        for key, whos in members.items():
            plan = self.widths.plan(len(whos))
            if sorted(len(room.seats) for room in self.rooms.get(key, [])) != plan:
                for who in whos:
                    self._stand_up(self.members[who])
                try:
                    self.rooms[key] = [self._room(self.members[whos[0]].trial, width) for width in plan]
                except Exception as error:
                    raise RoomError(whos) from error
            free = [(room, slot) for room in self.rooms[key] for slot, seat in enumerate(room.seats) if seat is None]
            for who in whos:
                if self.members[who].room is None:
                    self._sit_down(who, *free.pop(0))

    def _room(self, trial: Trial, width: int) -> Room:
        args = (self.model, trial.h, self.data.spec, self.data.x_ND)
        engine: Engine = Solo(*args, seed=0) if width < self.widths.least else Pack(*args, slots=width)
        return Room(engine, [None] * width)

    def _sit_down(self, who: Hashable, room: Room, slot: int) -> None:
        member = self.members[who]
        trial = member.trial
        room.engine.open(self.model.phases(trial.h)[trial.phase], slot)
        if member.moments_of != trial.phase:  # a phase begins with fresh optimisers
            member.state = {name: t for name, t in member.state.items() if not name.startswith("optimizer/")}
        room.engine.load(slot, member.state)
        room.seats[slot] = who
        member.room, member.slot, member.state = room, slot, {}

    def _stand_up(self, member: Member) -> None:
        if member.room is None:
            return
        assert member.key is not None
        weights = {name: t.clone() for name, t in member.room.engine.state(member.slot).items()}
        member.state, member.moments_of = weights | member.room.engine.moments(member.slot), member.key.phase
        member.room.seats[member.slot] = None
        member.room = None

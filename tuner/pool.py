"""Trials that train side by side on one device: packs, whose slots are refilled at the end of an epoch."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .checkpoint import Snapshot
from .data import Data
from .dryrun import owned_terms
from .engine import State, build, state_of
from .loop import Epoch, Trial, check_fits, initial_seed, run_epoch, start_trial
from .model import Hyper, Model
from .pack import Pack


@dataclass(frozen=True)
class PackKey:
    """What the lanes of a pack share: the phase, all static values, and which terms are on."""

    phase: int
    static: tuple[tuple[str, Any], ...]
    on: frozenset[str]


@dataclass
class Room:
    """A pack and the trials in its slots."""

    pack: Pack
    seats: list[Hashable | None]

    def free(self) -> int | None:
        return self.seats.index(None) if None in self.seats else None


@dataclass
class Member:
    """A trial, with where it sits, and its state until it sits anywhere."""

    trial: Trial
    state: State
    moments_of: int | None  # the phase whose optimisers the state remembers
    key: PackKey | None = None
    room: Room | None = None
    slot: int = 0


@dataclass
class Pool:
    """All trials of one model on one data set. A trial joins and leaves between rounds; a round is one epoch of every trial."""

    model: Model
    data: Data
    width: int
    members: dict[Hashable, Member] = field(default_factory=dict)
    rooms: dict[PackKey, list[Room]] = field(default_factory=dict)

    def join(self, who: Hashable, h: Hyper, *, seed: int, pretrain_seed: int | None = None, start: Snapshot | None = None) -> None:
        """Takes in a trial, from its beginning or from a snapshot.

        Raises:
            UserError: the configuration does not fit the data, or the snapshot does not fit the configuration.
        """
        check_fits(self.model, h, self.data)
        trial = start_trial(self.model, h, seed=seed, pretrain_seed=pretrain_seed, start=start)
        if start is None:
            state = state_of(*build(self.model, h, self.data.spec, self.data.x_ND, initial_seed(self.model, trial)))
        else:
            state = start.tensors
        self.members[who] = Member(trial, state, trial.phase if start else None)

    def leave(self, who: Hashable) -> None:
        """Frees the trial's slot; nothing is left of it."""
        member = self.members.pop(who)
        if member.room is not None:
            member.room.seats[member.slot] = None

    def round(self) -> Iterator[tuple[Hashable, Epoch]]:
        """One epoch of every trial. A trial that ends leaves."""
        for who, member in self.members.items():
            self._seat(who, member)
        for room in [room for rooms in self.rooms.values() for room in rooms if any(seat is not None for seat in room.seats)]:
            seated = list(room.seats)
            trials = [None if who is None else self.members[who].trial for who in seated]
            for slot, epoch in run_epoch(room.pack, self.model, trials, self.data).items():
                who = seated[slot]
                assert who is not None
                if epoch.ended:
                    self.leave(who)
                yield who, epoch

    def _seat(self, who: Hashable, member: Member) -> None:
        """Moves a trial into a pack of its phase, if it does not sit in one."""
        trial, phases = member.trial, self.model.phases(member.trial.h)
        over = not trial.advance(phases)
        assert not over, f"trial {who} is over"
        key = PackKey(trial.phase, tuple(sorted(trial.h.static().items())), trial.on)
        if key == member.key:
            return
        if member.room is not None:
            member.state = {name: t.clone() for name, t in member.room.pack.state(member.slot).items()}
            member.room.seats[member.slot] = None
        room = self._room(key, trial)
        slot = room.free()
        assert slot is not None
        room.seats[slot] = who
        room.pack.open(phases[trial.phase], slot)
        if member.moments_of != trial.phase:  # a phase begins with fresh optimisers
            member.state = {name: t for name, t in member.state.items() if not name.startswith("optimizer/")}
        room.pack.load(slot, member.state)
        member.key, member.room, member.slot, member.state, member.moments_of = key, room, slot, {}, None

    def _room(self, key: PackKey, trial: Trial) -> Room:
        rooms = self.rooms.setdefault(key, [])
        for room in rooms:
            if room.free() is not None:
                return room
        owned = owned_terms(self.model, trial.h, self.data.spec)
        pack = Pack(self.model, trial.h, self.data.spec, self.data.x_ND, slots=self.width, owned=owned)
        rooms.append(Room(pack, [None] * self.width))
        return rooms[-1]

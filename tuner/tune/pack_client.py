"""A trial's side of a pack, and the driver's: starting the hosts, handing them configurations, passing on epochs.

Imports no torch: a trial's process that only passes on its epochs stays small.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, OutOfMemoryError, RayActorError, RayError, RayTaskError

from tuner.capture import add_lines
from tuner.hyper import weighed_term
from tuner.machines import probe
from tuner.search.trainer import Report

from . import memory

if TYPE_CHECKING:
    from tuner.machines.cluster import Share
    from tuner.search.trainer import Trainer
    from tuner.space.ranges import Range
    from tuner.space.spec import Spec


def shapes(spec: Spec) -> int:
    """How many kinds of packs a search's trials need: what they share is every static value, and which terms are on."""

    def decides(found: Range) -> bool:
        p = spec.known.get(found.name)
        return p is None or p.static or (weighed_term(found.name) is not None and 0 in (found.options or ()))

    keys = set()
    for chosen in spec.worlds([found.name for found in spec.searched() if decides(found)]):
        keys.add(shape(spec, spec.config(spec.completed(chosen))))
    return len(keys)


def shape(spec: Spec, config: Mapping[str, Any]) -> Hashable:
    """Equal for configurations that may share a pack."""
    values = tuple(value for name, value in config.items() if name in spec.known and spec.known[name].static)
    return values, frozenset(name for name, value in config.items() if weighed_term(name) is not None and value == 0)


DEATHS = 5  # of its host, with no epoch between them, before a trial gives up
RESTART_S = 1.0
ANSWER_S = 5.0  # how long the other hosts are waited for once one has answered: they start one after another, and some may have no room


@dataclass(frozen=True, kw_only=True)
class PackedTrainer:
    """Trains trials in the packs of these hosts, named actors; each goes to the emptiest."""

    hosts: tuple[str, ...]

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        """The trial's epochs, as they end. A host that dies is started again by Ray, where there is room; its trials go to those that
        live. Where one was killed for want of memory they ask for narrower packs."""
        done, deaths, host, width, most = 0, 0, None, 1, None
        try:
            while True:
                report: Report | None = None
                lost: RayError | None = None
                try:
                    if host is None:
                        host = self._emptiest(trial)
                        width = ray.get(host.join.remote(trial, config, done, most))
                    report = ray.get(host.next.remote(trial))
                except (RayActorError, OutOfMemoryError) as error:
                    lost = error
                if report is None:  # its host is gone, or was started again and knows no trial
                    deaths, host = deaths + 1, None
                    if lost is not None and memory.reason_of(lost):
                        if width == 1:
                            raise lost
                        deaths, most = 0, width // 2
                    if deaths == DEATHS:
                        raise RuntimeError(f"the process that trains its pack was lost {DEATHS} times without an epoch between") from lost
                    time.sleep(RESTART_S)
                    continue
                deaths, done = 0, report.line["epoch"]
                add_lines(report.said)
                yield report
                if report.ended is not None:
                    return
        except RayTaskError:  # the trial's own failure
            with contextlib.suppress(RayError):
                add_lines(ray.get(host.captured.remote(trial)) if host is not None else ())
            raise
        finally:
            if host is not None:
                host.leave.remote(trial)

    def _emptiest(self, trial: int) -> Any:
        """The host with the fewest trials. Waits until there is one: where a node is lost its host may wait for room for ever, but the
        trials need not. The others forget the trial, which may have been with them when its process died.

        Raises:
            RayActorError, RuntimeError: all hosts are dead for good.
        """
        while True:
            pending: dict[Any, Any] = {}
            for name in self.hosts:
                with contextlib.suppress(ValueError):  # dead for good: its name is forgotten
                    host = ray.get_actor(name)
                    pending[host.load.remote()] = host
            if not pending:
                raise RuntimeError("the processes that train packs are gone, and are not started again")
            ray.wait(list(pending))
            answered, _ = ray.wait(list(pending), num_returns=len(pending), timeout=ANSWER_S)
            loads, dead = {}, None
            for answer in answered:
                try:
                    loads[answer] = ray.get(answer)
                except ActorDiedError as error:
                    dead = error
                except RayActorError:
                    pass  # it is being started again
            if loads:
                emptiest = pending.pop(min(loads, key=loads.__getitem__))
                for other in pending.values():
                    other.leave.remote(trial)
                return emptiest
            if dead is not None and len(answered) == len(pending):
                raise dead
            time.sleep(RESTART_S)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The actors that train: one for each share that the cluster has room for, with up to `width` trials each."""

    actors: tuple[Any, ...]
    names: tuple[str, ...]
    width: int
    share: Share  # a trial's, of what the hosts leave

    def trainer(self) -> PackedTrainer:
        return PackedTrainer(hosts=self.names)

    def occupancy(self) -> dict[str, int | float]:
        """How well the slots were used, in epochs, as far as the hosts that live know."""
        counts = [(0, 0, 0)]
        for count in [actor.occupancy.remote() for actor in self.actors]:
            with contextlib.suppress(RayActorError, GetTimeoutError):  # lost, or still waiting for room
                counts.append(ray.get(count, timeout=ANSWER_S))
        lanes, slots, packs = (sum(column) for column in zip(*counts, strict=True))
        return {
            "hosts": len(self.actors),
            "width": self.width,
            "lane_epochs": lanes,
            "slot_epochs": slots,
            "pack_epochs": packs,
            "mean_lanes": lanes / max(packs, 1),
            "occupancy": lanes / max(slots, 1),
        }

    def close(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


def start_hosts(trainer: Trainer, share: Share, run: str, width: int) -> Hosts:
    """Starts the hosts; they load the data while the first trials are sampled."""
    from .pack_host import PackHost

    sliver = max(0.0001, min(0.001, round(share.cpu / (4 * width), 4)))  # of a core for each trial, so that Ray counts them
    options = {
        "num_cpus": round(share.cpu - sliver * width, 4),
        "num_gpus": share.gpu,
        "max_restarts": -1,
        "max_concurrency": 2 * width + 8,  # a thread for each trial that waits, and some for those that come and go
    }
    names = tuple(f"packs of {run} {time.time_ns()}.{i}" for i in range(share.slots))
    host = ray.remote(PackHost)
    actors = tuple(host.options(name=name, **options).remote(trainer, width, probe.versions()) for name in names)
    rest = replace(share, cpu=sliver, gpu=0.0, slots=width * len(actors))
    return Hosts(actors=actors, names=names, width=width, share=rest)


def chosen_width(spec: Spec, trainer: Trainer, share: Share, kinds: int | None = None) -> int:
    """How many trials a host trains as one: what the space says, or what a short measurement finds. `kinds`: how many shapes the trials
    have; None: as many as the space."""
    most = -(-spec.most_trials // share.slots)
    if spec.resources.pack != "auto":
        return min(spec.resources.pack, most)
    if share.gpu:
        measure = ray.remote(measured_width).options(num_cpus=share.cpu, num_gpus=share.gpu)
        return min(ray.get(measure.remote(trainer)), most)
    from tuner.training.widths import ON_CPU

    # On a CPU packs of a few do not pay, and trials of other shapes do not share one.
    return min(measured_width(trainer), most) if min(max(ON_CPU), most) >= 4 * (kinds or shapes(spec)) else 1


def measured_width(trainer: Trainer) -> int:
    """On this process's device, for the first configuration of the space."""
    from tuner.training.widths import best_width

    spec = trainer.spec
    trainer.reset_process(spec.seed)
    return best_width(spec.loaded(), spec.hyper(spec.config(spec.completed({}))), trainer.data())

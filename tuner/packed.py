"""A trial's side of a pack: hands its configuration to a host, and passes on its epochs. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError

from .trial import Report

DEATHS = 5  # of its host, with no epoch between them, before a trial gives up
RESTART_S = 1.0


@dataclass(frozen=True, kw_only=True)
class PackedTrainer:
    """Trains trials in the packs of these hosts, named actors; each goes to the emptiest."""

    hosts: tuple[str, ...]

    def __call__(self, trial: int, config: Mapping[str, Any]) -> Iterator[Report]:
        """The trial's epochs, as they end. A host that dies is started again by Ray; its trials join the new one."""
        done, deaths, host = 0, 0, None
        try:
            while True:
                try:
                    if host is None:
                        host = self._emptiest()
                        ray.get(host.join.remote(trial, config, done))
                    report: Report = ray.get(host.next.remote(trial))
                except RayActorError:
                    deaths, host = deaths + 1, None
                    if deaths == DEATHS:
                        raise
                    time.sleep(RESTART_S)
                    continue
                deaths, done = 0, report.line["epoch"]
                yield report
                if report.ended is not None:
                    return
        finally:
            if host is not None:
                host.leave.remote(trial)

    def _emptiest(self) -> Any:
        hosts = [ray.get_actor(name) for name in self.hosts]
        loads: list[int] = ray.get([host.load.remote() for host in hosts])
        return hosts[loads.index(min(loads))]

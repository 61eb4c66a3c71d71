"""How many threads the arithmetic of a picture may use."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path

_RUNNING = Path("/proc/loadavg")  # Linux; its fourth word is RUNNING/ALL of all processes' threads
_LOOKS, _BETWEEN_S = 8, 0.03


def as_many_threads_as_idle_cores() -> AbstractContextManager[object]:
    """OpenMP's threads spin while they wait for each other: on cores that other processes use, too, several take five times as long as one
    (a map of 1,797 samples 20 s in place of 4 on two busy cores). Leaves alone what OMP_NUM_THREADS or OMP_WAIT_POLICY says."""
    if "OMP_NUM_THREADS" in os.environ or os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    idle: AbstractContextManager[object] = threadpool_limits(idle_cores(), user_api="openmp")
    return idle


def idle_cores() -> int:
    """Of this machine, or of the cores that this process may use where those are fewer; 1 at least."""
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(usable, cores - round(_others_running())))


def _others_running() -> float:
    """How many threads run beside this one, on average over a quarter of a second; 0 where nobody counts them."""
    if not _RUNNING.exists():
        return 0.0
    found = []
    for _ in range(_LOOKS):
        found.append(int(_RUNNING.read_text().split()[3].partition("/")[0]) - 1)
        time.sleep(_BETWEEN_S)
    return sum(found) / len(found)

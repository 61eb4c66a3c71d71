"""A map takes as many threads as there are idle cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neighbors  # noqa: F401 (its OpenMP)
from threadpoolctl import threadpool_info

from tuner.report import cores
from tuner.report.cores import as_many_threads_as_idle_cores, idle_cores


def threads() -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "openmp"}


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="nobody counts the running threads here")
def test_where_every_core_is_busy_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    spin = [sys.executable, "-c", "print('begun', flush=True)\nwhile True: pass"]
    busy = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    try:
        for process in busy:
            assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        assert idle_cores() == 1
        with as_many_threads_as_idle_cores():
            assert threads() == {1}
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def test_where_some_are_idle_it_is_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    for running, idle in ((0.0, 16), (30.4, 16), (50.2, 14), (63.0, 1), (200.0, 1)):
        monkeypatch.setattr(cores, "_others_running", lambda running=running: running)
        assert idle_cores() == idle


@pytest.mark.parametrize(("name", "value"), [("OMP_NUM_THREADS", "1"), ("OMP_WAIT_POLICY", "PASSIVE")])
def test_what_the_user_says_of_threads_stands(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, "idle_cores", lambda: 7)
    before = threads()
    with as_many_threads_as_idle_cores():
        assert threads() == before

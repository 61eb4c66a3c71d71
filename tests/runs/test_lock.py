"""One driver for a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit.waiting import ENDS_S, until

from tuner import layout
from tuner.errors import UserError
from tuner.runs import lock
from tuner.runs.lock import LOCK, RunLock, holder_of

HOLD = """
import sys, time
from pathlib import Path
from tuner.runs.lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
print('held', flush=True)
time.sleep(3600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    root = str(layout.ROOT)
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root})
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_two_drivers_on_one_run_are_refused_and_a_dead_ones_lock_is_taken_over(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(UserError) as error:
            RunLock(tmp_path).acquire()
        host = json.loads((tmp_path / LOCK).read_text())["host"]
        found = holder_of(tmp_path)
        assert found is not None and (found.host, found.pid) == (host, process.pid) and found.since <= time.time()
        assert str(error.value) == (
            f"{tmp_path.name} has a driver already, process {process.pid} on {host}: one run has one driver. "
            "Stop that one with Ctrl-C, or wait for its end."
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder_of(tmp_path) is None
        with RunLock(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        assert not (tmp_path / LOCK).exists()
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_has_a_dead_drivers_number_is_not_taken_for_it(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        before = json.loads((tmp_path / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps(before | {"process_started": "1"}))
    with RunLock(tmp_path):
        pass


def test_a_driver_on_another_machine_lives_as_long_as_it_gives_a_sign_of_life(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "process_started": "1"}))
    with pytest.raises(
        UserError, match=r"process 1 on elsewhere: .* it is given up 60 s after its last sign of life, which was \d s ago\."
    ):
        RunLock(tmp_path).acquire()
    os.utime(tmp_path / LOCK, (0, time.time() + 86400))
    with pytest.raises(UserError, match=r"sign of life, which lies 8\d{4} s ahead of the clock here: one of the clocks is wrong\."):
        RunLock(tmp_path).acquire()
    os.utime(tmp_path / LOCK, (0, time.time() - 61))
    with RunLock(tmp_path):
        pass


def test_a_held_lock_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with RunLock(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        until(lambda: (tmp_path / LOCK).stat().st_mtime > 0)


def test_a_driver_that_was_taken_for_dead_ends_when_it_wakes(tmp_path: Path) -> None:
    root = str(layout.ROOT)
    quick = HOLD.replace("import sys, time", "import sys, time\nfrom tuner.runs import lock\nlock.BEAT_S = 0.05")
    command = [sys.executable, "-c", quick, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root})
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere"}))
        _, err = process.communicate(timeout=ENDS_S)
        assert process.returncode == 1 and err.strip() == f"{tmp_path} has been taken over by a driver on elsewhere: this one ends."
        assert json.loads((tmp_path / LOCK).read_text()) == {"host": "elsewhere"}
    finally:
        process.kill()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', "\0\0"])
def test_a_lock_that_nobody_wrote_is_taken_over(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    os.utime(tmp_path / LOCK, (0, 0))
    with RunLock(tmp_path):
        pass

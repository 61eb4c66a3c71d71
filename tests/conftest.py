"""What holds for all tests: no account, no network, one thread. And what many need: the command line."""

import gc
import logging
import os
from collections.abc import Iterator

import pytest

# Tests that are collected stay to the end: neither now nor later does Python look for garbage among them.
gc.disable()

# Before torch is imported. Small tensors on two threads are slower, and Ray's workers inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# A trial that is given all cores has several, beside the tests of the other process: by default they spin while they wait for each other.
os.environ["OMP_WAIT_POLICY"] = "passive"
# A test that forgets to say so must not reach for somebody's account, nor report to anybody.
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A page's maps take longer than a small search: the tests of the page ask for it.
os.environ["TUNER_NO_REPORT"] = "1"
# Nor does anybody look at the dashboard of a test's Ray, which takes three seconds of a core; but for the tests of it.
os.environ["TUNER_NO_DASHBOARD"] = "1"
# Ray's workers run at nice 15 by default: beside the tests of the other process they would wait for most of the time.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (Ray reads this spelling)
# A call to Ray where none was started fails at once: it would look for anybody's cluster, for minutes, or start one that stays.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

# Fixtures that several files use, and when each test runs.
pytest_plugins = ["kit.disks", "kit.groups", "kit.one_ray", "kit.resumed", "kit.store_fixtures", "kit.tiers"]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    """A command that ran in this process prints warnings itself: it takes them away from whoever listens further up."""
    logger = logging.getLogger("tuner")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture
def tuner(capsys):
    """Runs a command in this process: its exit code, stdout without what pads its lines, and stderr."""
    from tuner.cli.app import main

    def run(*words):
        code = main(words)
        out, err = capsys.readouterr()
        return code, "".join(line.rstrip() + "\n" for line in out.splitlines()), err

    return run

"""What holds for all tests: no account, no network, one thread. And what many need: the command line, a Ray that runs."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tuner.machines.cluster import Cluster

# Before torch is imported. Small tensors on two threads are slower, and Ray's workers inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# A test that forgets to say so must not reach for somebody's account, nor report to anybody.
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

pytest_plugins = ["kit.disks", "kit.resumed", "kit.store_fixtures"]  # fixtures that several files use


@pytest.fixture
def tuner(capsys):
    """Runs a command in this process: its exit code, stdout without what pads its lines, and stderr."""
    from tuner.cli.app import main

    def run(*words):
        code = main(words)
        out, err = capsys.readouterr()
        return code, "".join(line.rstrip() + "\n" for line in out.splitlines()), err

    return run


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> "Iterator[Cluster]":
    """One Ray for all tests of a file: starting it takes longer than most of them."""
    import ray

    from tuner.machines import cluster

    ray.cloudpickle.register_pickle_by_value(request.module)  # workers cannot import it
    cluster = cluster.join(None)
    yield cluster
    cluster.close()
    ray.cloudpickle.unregister_pickle_by_value(request.module)

"""One Ray for all tests of a session: starting it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tuner.machines.cluster import Cluster, join


class OneRay:
    """Started when it is first asked for; a test that needs Ray for itself has it shut down."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None

    def up(self) -> Cluster:
        if self._cluster is None:
            self._cluster = join(None)
        return self._cluster

    def down(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
        self._cluster = None


ONE = OneRay()


@pytest.fixture(scope="session")
def ray_here() -> Iterator[OneRay]:
    ONE.up()  # before a narrower fixture has changed the environment, which Ray's processes inherit
    yield ONE
    ONE.down()


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, ray_here: OneRay) -> Iterator[Cluster]:
    """The session's Ray, for what this file defines, too: workers cannot import it."""
    import ray

    ray.cloudpickle.register_pickle_by_value(request.module)
    yield ray_here.up()
    ray.cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture(scope="module")
def without_ray() -> None:
    """This process is connected to no Ray, so that it can join another."""
    ONE.down()

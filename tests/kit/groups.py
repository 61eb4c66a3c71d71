"""Which worker of pytest-xdist runs which test: all tests of a group are run by one.

pytest-xdist's own `loadgroup` writes the group behind a test's id, which pytest 9 does not let it do any more: it would deal the tests
out one by one. So each worker writes down its tests' groups, and the process that deals them out reads that.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

KEY = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


class ByGroup(LoadScopeScheduling):
    _groups: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._groups is None:
            self._groups = json.loads(next(Path(self.config.stash[KEY].name).iterdir()).read_text())
        return self._groups[nodeid]


def write(config: pytest.Config, groups: dict[str, str]) -> None:
    """In a worker; elsewhere nothing is dealt out."""
    about: dict[str, Any] | None = getattr(config, "workerinput", None)
    if about:
        (Path(about["groups"]) / about["workerid"]).write_text(json.dumps(groups))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the process that deals out, for each worker."""
    if KEY not in node.config.stash:
        node.config.stash[KEY] = tempfile.TemporaryDirectory(prefix="tuner-tests-")
    node.workerinput["groups"] = node.config.stash[KEY].name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup | None:
    return ByGroup(config, log) if config.getoption("dist") == "loadgroup" else None

"""What a test needs decides when it runs and beside what.

    unit      neither Ray nor a whole command
    ray       searches on the one Ray of a session
    process   whole commands that start a Ray of their own
    nodes     clusters of several nodes

`pytest` runs unit and ray, without what is marked `slow`; CI runs the rest in a second step. What touches the Ray of a session is
nearly half of each: it is run by two workers of pytest-xdist, each with a Ray of its own, one test after another. Whole commands, which
wait for a Ray to start most of the time, are run by another; a file's clusters by whoever is free.
"""

from __future__ import annotations

from zlib import crc32

import pytest

from kit import groups

BY_FIXTURE = {"without_ray": "nodes", "head": "nodes", "examined": "nodes", "ray_here": "ray"}
TIERS = ("ray", "process", "nodes", "unit")  # in the order in which one worker runs them: Ray is started once


def tier(item: pytest.Item) -> str:
    """As the test is marked; unmarked, as its fixtures say."""
    marked = next((name for name in TIERS if item.get_closest_marker(name)), None)
    fixtures = getattr(item, "fixturenames", ())
    return marked or next((name for fixture, name in BY_FIXTURE.items() if fixture in fixtures), "unit")


def group(item: pytest.Item) -> str:
    """Tests of one group are run by one worker, so that what they share is computed once: a fixture of their file, a model's runs."""
    path = item.path.stem
    if tier(item) == "ray":
        return f"ray {crc32(path.encode()) % 2}"
    if tier(item) == "process":
        return "commands"
    if tier(item) == "nodes":
        return f"nodes {path}"
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return f"{path}-{parameters['model'].name}" if path == "test_conformance" and "model" in parameters else path


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(tier(item))
    groups.write(config, {item.nodeid: group(item) for item in items})
    items.sort(key=lambda item: TIERS.index(tier(item)))

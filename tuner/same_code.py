"""Whether a node runs the code that its driver runs: looked at where a process trains its first trial."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from . import probe

INSTALL = "Install the same on every machine, from one wheel or one image: trials run that code, not this machine's."


class OtherCode(RuntimeError):
    """This node's code is not its driver's."""


def check_code(driver: Mapping[str, str | None]) -> None:
    """`driver`: its `probe.versions()`.

    Raises:
        OtherCode: something that results depend on is another here.
    """
    odd = differences(_here(), driver, "at the driver")
    if odd:
        import ray

        raise OtherCode(f"{ray.util.get_node_ip_address()} does not have the driver's code: {'; '.join(odd)}. {INSTALL}")


_here = cache(probe.versions)


def differences(there: Mapping[str, str | None], ours: Mapping[str, str | None], at: str) -> list[str]:
    """What a node has and what there is `at` the other place, where it is not the same."""
    odd = [name for name in ours if there.get(name) != ours[name]]
    return [f"{name} {_version(name, there.get(name))}, {at} {_version(name, ours[name])}" for name in odd]


def _version(name: str, value: str | None) -> str:
    if value is None:
        return "absent"
    return f"with code {value}" if name == "tuner" else value

"""Ray's dashboard starts behind Ray, at an address that is known before and that nobody else gets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.machines import late_dashboard
from tuner.machines.late_dashboard import HOST, LateDashboard


def a_node() -> Any:
    return SimpleNamespace(_ray_params=SimpleNamespace(dashboard_port=None), _webui_url=None)


def put_off(dashboard: LateDashboard, node: Any) -> list[dict[str, Any]]:
    """What Ray is told when the dashboard is started at last."""
    told: list[dict[str, Any]] = []
    dashboard._put_off(lambda _, **how: told.append(how), node, include_dashboard=True, raise_on_failure=True)
    return told


def test_its_address_is_known_and_its_port_reserved_until_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_dashboard, "DELAY_S", 0)
    one, other, node, another = LateDashboard(), LateDashboard(), a_node(), a_node()
    told = put_off(one, node)
    put_off(other, another)
    assert node._webui_url == f"{HOST}:{node._ray_params.dashboard_port}"
    assert node._webui_url != another._webui_url and told == []
    with socket.socket() as third, pytest.raises(OSError, match="in use"):
        third.bind((HOST, node._ray_params.dashboard_port))
    one.start()
    assert told == [{"include_dashboard": True, "raise_on_failure": False}]  # a search goes on without one
    with socket.socket() as third:
        third.bind((HOST, node._ray_params.dashboard_port))
    other.close()


def test_nobody_is_kept_waiting_for_one_that_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_dashboard, "DELAY_S", 3600)
    dashboard, node = LateDashboard(), a_node()
    dashboard._put_off(lambda *_, **how: pytest.fail("started"), node, include_dashboard=False, raise_on_failure=True)
    dashboard.start()
    assert not node._webui_url and node._ray_params.dashboard_port is None


def test_one_that_was_closed_before_is_not_started() -> None:
    dashboard = LateDashboard()
    told = put_off(dashboard, a_node())
    waiting = threading.Thread(target=dashboard.start)
    waiting.start()
    dashboard.close()
    waiting.join(timeout=10)
    assert not waiting.is_alive() and told == []


def test_its_processes_have_the_short_temporary_folder_that_rays_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """They make sockets there, and would hang where a path is too long for one."""
    monkeypatch.setattr(late_dashboard, "DELAY_S", 0)
    monkeypatch.setenv("TMPDIR", "/tmp/" + "scratch_slurm_job_" * 6)
    found: list[str] = []
    dashboard = LateDashboard()
    dashboard._put_off(lambda *_, **how: found.append(os.environ["TMPDIR"]), a_node(), include_dashboard=True, raise_on_failure=True)
    dashboard.start()
    assert len(found) == 1 and len(found[0]) < 60 and os.environ["TMPDIR"].startswith("/tmp/scratch")


def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_dashboard, "DELAY_S", 0)
    monkeypatch.setattr(late_dashboard, "HANGS_S", 0.1)
    begun, goes_on, dashboard = threading.Event(), threading.Event(), LateDashboard()

    def hangs(node: Any, **how: Any) -> None:
        begun.set()
        goes_on.wait()

    dashboard._put_off(hangs, a_node(), include_dashboard=True, raise_on_failure=True)
    waiting = threading.Thread(target=dashboard.start)
    waiting.start()
    begun.wait()
    dashboard.close()
    assert waiting.is_alive()
    goes_on.set()
    waiting.join(timeout=10)


def test_one_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(late_dashboard, "DELAY_S", 0)
    monkeypatch.setattr(late_dashboard, "PATIENCE_S", 0)

    def fails(node: Any, **how: Any) -> None:
        raise RuntimeError("no port\nand more")

    dashboard = LateDashboard()
    dashboard._put_off(fails, a_node(), include_dashboard=True, raise_on_failure=True)
    dashboard.start()
    assert caplog.messages == ["Ray's dashboard did not start, and the search goes on without it: no port"]


def test_one_that_ctrl_c_ended_with_the_search_is_no_news(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(late_dashboard, "DELAY_S", 0)
    begun, dashboard = threading.Event(), LateDashboard()

    def fails(node: Any, **how: Any) -> None:
        begun.set()
        raise RuntimeError("it was killed")

    dashboard._put_off(fails, a_node(), include_dashboard=True, raise_on_failure=True)
    waiting = threading.Thread(target=dashboard.start)
    waiting.start()
    begun.wait()
    dashboard.close()
    waiting.join(timeout=10)
    assert not waiting.is_alive() and caplog.messages == []


def test_where_ray_is_another_one_it_starts_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.node import Node

    monkeypatch.setattr(Node, "start_api_server", lambda self: None)
    dashboard, known = LateDashboard(), Node.start_api_server
    with dashboard.awaited():
        assert Node.start_api_server is known
    dashboard.start()  # has nothing to start


@pytest.mark.process
def test_rays_own_answers_at_the_address_that_was_told() -> None:
    program = """
import os, time, urllib.request
os.environ.pop("TUNER_NO_DASHBOARD", None)
from tuner.machines import late_dashboard
from tuner.machines.cluster import join
late_dashboard.DELAY_S = 1
cluster = join(None)
told = cluster.dashboard()
assert told["login"] == "log in with the token that `ray get-auth-token` prints"
assert told["url"].startswith("http://127.0.0.1:")
url, until = told["url"], time.monotonic() + 60
while True:
    try:
        print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).status)
        break
    except OSError:
        assert time.monotonic() < until
        time.sleep(0.2)
cluster.close()
cluster._thread.join(timeout=30)
assert not cluster._thread.is_alive()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr

"""The page that is served while a search runs: over real sockets, to a real search, and to nobody but this machine."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kit.browser import CHROMIUM, Tab, in_browser
from kit.commands import tuner_process
from kit.journals import write_run
from kit.one_ray import OneRay
from kit.resumed import Heard, one_at_a_time
from kit.waiting import ENDS_S, until

from tuner.report import watch
from tuner.report.watch import Server
from tuner.runs.events import TrialEnd
from tuner.runs.paths import JOURNAL
from tuner.service.driver import SearchOptions, search
from tuner.space.reader import read_space


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, with a page as soon as there can be one."""
    monkeypatch.setattr(watch, "_LEAST_S", 0.0)
    monkeypatch.setattr(watch, "_SHARE", 0)
    with Server(folder, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def get(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ENDS_S) as answer:
        return str(answer.read().decode())


def refused(url: str, method: str = "GET", **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=ENDS_S)
    error.value.close()
    return error.value.code


def test_the_page_is_made_behind_its_answers_and_anew_when_the_journal_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", 6, 3)
    with served(folder, monkeypatch) as url:
        assert "Reading run." in get(url) and get(f"{url}version") in "01"
        until(lambda: "6 of 6 trials drawn" in get(url))
        version = get(f"{url}version")
        assert f'const version = "{version}"' in get(url) and get(f"{url}version") == version, "nothing is new"
        more = write_run(tmp_path / "more", 9, 3)
        (folder / JOURNAL).write_bytes((more / JOURNAL).read_bytes())
        until(lambda: "9 of 9 trials drawn" in get(url))
        assert get(f"{url}version") != version

        (folder / JOURNAL).write_text("not a journal\n" * 3)
        assert "9 of 9 trials drawn" in get(url), "the last page that could be made"
        more = write_run(tmp_path / "most", 12, 3)
        (folder / JOURNAL).write_bytes((more / JOURNAL).read_bytes())
        until(lambda: "12 of 12 trials drawn" in get(url))


def test_nothing_but_reading_and_for_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(write_run(tmp_path / "run", 2, 2), monkeypatch) as url:
        assert [refused(url, method) for method in ("POST", "PUT", "DELETE")] == [501, 501, 501]
        assert refused(f"{url}results.jsonl") == refused(f"{url}../spec.json") == 404
        assert refused(url, Host="evil.example:80") == 403
        assert "<main>" in get(url, Host=f"localhost:{url.rpartition(':')[2].strip('/')}")


def test_what_cannot_be_served_is_one_error(tmp_path: Path, tuner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(write_run(tmp_path / "run", 2, 2))
    with served(Path(folder), monkeypatch) as url:
        port = url.rpartition(":")[2].strip("/")
        code, _, error = tuner("watch", folder, "--port", port)
        assert code == 2 and error.startswith(f"error: Port {port} is taken. Say another one, such as --port ")
    for host in ("0.0.0.0", "example.org", "192.168.0.7"):
        code, _, error = tuner("watch", folder, "--host", host)
        assert code == 2 and f"--host must be a loopback address such as 127.0.0.1, but is '{host}'" in error
    code, _, error = tuner("watch", "nothing")
    assert code == 2 and "There is no run" in error


class Reader(Heard):
    """Asks for the page whenever a trial of a search has ended."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.seen = url, list[int]()

    def trial_ended(self, end: TrialEnd) -> None:
        found = re.search(r"(\d+) of (\d+) trials drawn", get(self.url))
        self.seen += [int(found[2])] if found else []


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_is_seen_while_it_runs(tmp_path: Path, ray_here: OneRay, monkeypatch: pytest.MonkeyPatch) -> None:
    ray_here.up()
    folder = tmp_path / "runs" / "s"
    with served(folder, monkeypatch) as url:
        assert "Reading s." in get(url), "before there is a run"
        reader = Reader(url)
        outcome = search(read_space(str(one_at_a_time(tmp_path))), SearchOptions(out=folder.parent, name="s", listeners=[reader]))
        n = len(outcome.results.trials)
        until(lambda: f"{n} of {n} trials drawn" in get(url))
    assert reader.seen == sorted(reader.seen) and set(reader.seen) - {n}, "pages of a part of the trials"


@pytest.mark.slow
def test_ctrl_c_ends_the_command_quietly(tmp_path: Path) -> None:
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests that run in a shell's background would hand on that it is ignored
    process = tuner_process("watch", str(write_run(tmp_path / "run", 2, 2)), "--port", "0")
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "<main>" in get(line.split()[0])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=ENDS_S)
    assert (process.returncode, out, err) == (0, "", "") and line.endswith("Ctrl-C ends it.\n")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.slow
def test_a_browser_renews_the_page_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, more = write_run(tmp_path / "run", 12, 3), write_run(tmp_path / "more", 16, 3)

    with served(folder, monkeypatch) as url:
        until(lambda: "12 of 12 trials drawn" in get(url))

        async def use(tab: Tab) -> None:
            await tab.open(url, 1280)
            (folder / JOURNAL).write_bytes((more / JOURNAL).read_bytes())
            for _ in range(200):
                with suppress(AssertionError):  # asked in the moment of the change
                    if await tab.run("document.readyState == 'complete' && document.body.textContent.includes('16 of 16 trials drawn')"):
                        break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("the page is the old one")
            assert tab.errors == []
            assert {asked.rpartition(":")[0] for asked in tab.asked if asked.startswith("http")} <= {url.rpartition(":")[0]}

        in_browser(tmp_path, use)

"""A headless Chromium, driven by its own protocol: what a page does in a browser, and how it looks."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-port=0")  # fmt: skip


class Tab:
    """A page that is open. `errors`: what its console said of errors; `asked`: every address that it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, folder: Path) -> None:
        self._socket, self._number = socket, 0
        self._folder, self._answers = folder, dict[int, asyncio.Future[Any]]()
        self.errors: list[str] = []
        self.asked: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            content = message.json()
            if "id" in content:
                self._answers.pop(content["id"]).set_result(content)
            elif content["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(content["params"]["exceptionDetails"]))
            elif content["method"] == "Runtime.consoleAPICalled" and content["params"]["type"] in ("error", "assert"):
                self.errors.append(str(content["params"]["args"]))
            elif content["method"] == "Log.entryAdded" and content["params"]["entry"]["level"] == "error":
                self.errors.append(content["params"]["entry"]["text"])
            elif content["method"] == "Network.requestWillBeSent":
                self.asked.append(content["params"]["request"]["url"])

    async def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        number, answer = self._number, asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": params})
        content = await asyncio.wait_for(answer, 60)
        assert "error" not in content, content
        return content["result"]

    async def open(self, page: Path | str, width: int, *, dark: bool = False) -> None:
        """At a width in pixels; returns when all figures are drawn."""
        for domain in ("Runtime", "Log", "Network", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self._folder))
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        await self.call("Page.navigate", url=str(page) if str(page).startswith("http") else page.as_uri())  # type: ignore[union-attr]
        await self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        await self.run("drawAll().then(() => 0)")

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited where it is a promise."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def picture(self, file: Path) -> None:
        """The whole page as PNG."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


def in_browser(folder: Path, use: Callable[[Tab], Awaitable[None]]) -> None:
    """Runs `use` with a new tab. `folder`: where the browser keeps its things, and puts downloads."""

    async def with_tab() -> None:
        async with _tab(folder) as tab:
            await use(tab)

    asyncio.run(with_tab())


@asynccontextmanager
async def _tab(folder: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    profile = folder / "profile"
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stderr=log, stdout=log, env=os.environ)
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket, folder)
                listening = asyncio.create_task(tab.listen())
                yield tab
                listening.cancel()
    finally:
        process.terminate()
        process.wait()


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    for _ in range(600):
        if file.is_file() and (text := file.read_text().split()):
            return int(text[0])
        assert process.poll() is None, "Chromium ended"
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start within a minute")

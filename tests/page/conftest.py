"""A demo under load, and a browser that looks at it. Run by `make test-page` only, which fails where no browser is."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gateway_plugin.tools.chain.stack import Stack, StackOptions

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MODELS = {"llama-3-8b": 3, "qwen2-7b": 3}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync"),
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("PAGE_TEST"):
        here = Path(__file__).parent
        for item in items:
            if item.path.is_relative_to(here):
                item.add_marker(pytest.mark.skip(reason="needs a browser: make test-page"))


class Demo:
    """The chain in a loop of its own thread: the browser's client blocks."""

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        options = StackOptions(MODELS, "prefix-cache-and-load", separate_pods=True, playground=True)
        self.stack = Stack(options, directory)
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._load: asyncio.Task[None] | None = None

    def __enter__(self) -> Demo:
        self._thread.start()
        self.run(self.stack.start(), 60)
        self.run(self._begin(), 20)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._end(), 60)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(10)
            self.loop.close()

    def run(self, job: Any, seconds: float = 20) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(seconds)

    async def _begin(self) -> None:
        async with aiohttp.ClientSession() as session:
            for name, rpm in (("alice", 100_000), ("bob", 3)):
                body = {"name": name, "rpm": rpm, "tpm": 10_000_000}
                async with session.post(f"{self.stack.api_url}/CreateUser", json=body) as response:
                    assert response.status == 200, await response.text()
        self._load = asyncio.create_task(self._ask_on())

    async def _end(self) -> None:
        if self._load is not None:
            self._load.cancel()
            await asyncio.gather(self._load, return_exceptions=True)
        await self.stack.stop()

    async def _ask_on(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(self._client(session, random.Random(number)))

    async def _client(self, session: aiohttp.ClientSession, dice: random.Random) -> None:
        while True:
            text = f"document {dice.randrange(6)} " * dice.choice((60, 400)) + str(dice.random())
            body = {
                "model": dice.choice(list(MODELS)),
                "messages": [{"role": "user", "content": text}],
                "max_tokens": 80,
                "stream": True,
            }
            headers = {"user": dice.choice(("alice", "alice", "alice", "bob"))}
            async with session.post(f"{self.stack.gateway_url}/v1/chat/completions", json=body, headers=headers) as got:
                await got.read()
            await asyncio.sleep(dice.random())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(f"the page was NOT tested: none of {', '.join(NAMES)} is here; set CHROMIUM=/path/to/one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()

"""`gateway-plugin groups ...` against the users API on a real port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.groups_rest import groups_router
from ratelimit import GroupRecord, MemoryStore


class GroupShell:
    def __init__(self, store: MemoryStore, url: str) -> None:
        self.store, self._url = store, url

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        environment = {"GATEWAY_ADMIN_TOKEN": "t", "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
        line = ["groups", *arguments, "--url", self._url]
        result = await asyncio.to_thread(CliRunner().invoke, cli, line, env=environment)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
async def shell() -> AsyncIterator[GroupShell]:
    store = MemoryStore(lambda: 0.0)
    app = new_app("test", "test", admin_token="t")
    app.include_router(groups_router(store, "t"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    listener = HttpListener(app, "127.0.0.1", port, "test")
    running = asyncio.create_task(listener.run())
    await asyncio.sleep(0.3)
    yield GroupShell(store, f"http://127.0.0.1:{port}")
    listener.stop()
    await running


async def test_the_life_of_a_group(shell: GroupShell):
    options = ["--rpm", "60", "--model", "a", "--model", "b", "--quota", "day=0:1000", "--quota", "month=5:0"]
    code, out, _ = await shell.run("create", "research", *options)
    assert (code, "day=0:1000, month=5:0" in out, "a, b" in out) == (0, True, True)
    assert await shell.store.read_group("research") == GroupRecord(
        "research", rpm=60, models=("a", "b"), quotas={"day": (0, 1000), "month": (5, 0)}
    )
    code, _, _ = await shell.run("update", "research", "--quota", "", "--model", "", "--disabled")
    assert code == 0
    assert await shell.store.read_group("research") == GroupRecord("research", rpm=60, disabled=True)
    _, out, _ = await shell.run("show", "research", "--json")
    assert json.loads(out)["disabled"] is True
    _, out, _ = await shell.run("list")
    assert "research" in out
    assert "disabled" in out
    assert (await shell.run("delete", "research"))[0] == 0
    assert await shell.store.groups() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "x"], 1, "404: group x does not exist"),
        (["delete", "a/b"], 1, "404"),
        (["create", "a b"], 1, "422: name"),
        (["update", "x"], 2, "nothing to change"),
        (["create", "x", "--quota", "week=1:2"], 2, "hour|day|month=REQUESTS:TOKENS"),
        (["create", "x", "--quota", "day=1"], 2, "hour|day|month=REQUESTS:TOKENS"),
    ],
)
async def test_errors_are_said(shell: GroupShell, arguments: list[str], code: int, words: str):
    exit_code, out, err = await shell.run(*arguments)
    assert (exit_code, out) == (code, "")
    assert words in err

"""`gateway-plugin usage` against the usage API on a real port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.grpc.listeners import HttpListener
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.usage_rest import usage_router
from ratelimit import MemoryStore
from ratelimit.store.memory_ledger import MemoryLedger
from ratelimit.users.usage_rows import UsageBatch, Used

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    ledger = MemoryLedger(MemoryStore(lambda: 0.0).read)
    rows = {
        ("2026-11-27", user, "m"): Used(1, prompt=10, output=number) for number, user in enumerate(("[red]", "lee"))
    }
    await ledger.write_usage(UsageBatch("w", 1, rows), 30)
    app = new_app("test", "test", admin_token="t")
    app.include_router(usage_router(ledger, UTC, lambda: NOW, {"*": (1.0, 1.0, 1.0)}, "t"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    listener = HttpListener(app, "127.0.0.1", port, "test")
    running = asyncio.create_task(listener.run())
    await asyncio.sleep(0.3)
    yield f"http://127.0.0.1:{port}"
    listener.stop()
    await running


async def run(url: str, *arguments: str) -> tuple[int, str, str]:
    environment = {"GATEWAY_ADMIN_TOKEN": "t", "COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["usage", "--url", url, *arguments], env=environment)
    return result.exit_code, result.stdout, result.stderr


async def test_people_get_a_table(url: str):
    code, out, _ = await run(url)
    header, _, first, second = out.splitlines()
    assert code == 0
    assert header.split()[::2][:3] == ["day", "user", "requests"]
    assert ("[red]" in first, "lee" in second) == (True, True)


async def test_programs_get_json_and_csv(url: str):
    _, out, _ = await run(url, "--json", "--group-by", "model")
    assert json.loads(out)["data"][-1]["results"][0]["num_model_requests"] == 2
    _, out, _ = await run(url, "--csv", "--from", "2026-11-27")
    assert [line.split(",")[1] for line in out.splitlines()] == ["user_id", "[red]", "lee"]


@pytest.mark.parametrize("form", ["--csv", "--json"])
async def test_what_the_api_refuses_is_said(url: str, form: str):
    code, out, err = await run(url, form, "--group-by", "pod")
    assert (code, out) == (1, "")
    assert "'pod' is none of user, group, model" in err

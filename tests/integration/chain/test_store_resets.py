"""A store whose connections are reset as soon as they are made, as by a load balancer without servers behind it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.stack import Stack, StackOptions
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


async def test_nobody_fails_and_nothing_dies(tmp_path: Path):
    port = free_port()
    environment = {"GATEWAY_REDIS_URL": f"redis://127.0.0.1:{port}", "GATEWAY_REDIS_TIMEOUT_SECONDS": "0.5"}
    stack = Stack(StackOptions({"m": 1}, speed=50, plugin_environment=environment), tmp_path)
    async with Proxy(port, stack.ports.redis) as store, stack, httpx.AsyncClient(timeout=10) as client:
        await client.post(f"{stack.api_url}/CreateUser", json={"name": "kim", "rpm": 1000, "tpm": 100_000})

        async def ask() -> int:
            answer = await client.post(f"{stack.gateway_url}/v1/chat/completions", json=CHAT, headers={"user": "kim"})
            return answer.status_code

        assert await ask() == 200
        store.become("reset")
        statuses = set()
        for _ in range(40):
            statuses.add(await ask())
            await asyncio.sleep(0.05)
        assert statuses == {200}, "limits go by what was last known"
        store.become("")
        assert await ask() == 200
        assert stack.plugin.running, stack.plugin.log_tail()
        assert "Traceback" not in stack.plugin.log.read_text()

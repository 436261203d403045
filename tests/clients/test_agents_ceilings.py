"""Coding agents always say `max_tokens: 32000`; 10,000 tokens a minute are enough for their small requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

AGENT: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32_000}
STREAM: Any = {"stream": True, "stream_options": {"include_usage": True}}
LIMIT_TOKENS = 10_000


async def used_tokens(gateway: Gateway, user: str) -> int:
    """In the user's minute, as Valkey has it."""
    answer = await gateway.http.get(f"{gateway.stack.api_url}/v1/users/{user}/usage")
    tokens: int = answer.json()["tokens"]["used"]
    return tokens


async def until_used(gateway: Gateway, user: str, tokens: int) -> None:
    """Until what was reserved is settled: Envoy tells after the answer."""
    async with asyncio.timeout(20):
        while await used_tokens(gateway, user) != tokens:  # noqa: ASYNC110 another process's work
            await asyncio.sleep(0.02)


async def test_ten_small_requests_pass_whatever_their_ceiling(open_gateway: OpenGateway):
    options = StackOptions({"m": 2}, speed=100, replicas=4, access_log_flush_seconds=0.05)
    async with open_gateway(options) as gateway:
        for user, more in {"whole": {}, "streaming": STREAM}.items():
            await gateway.create_user(user, rpm=1000, tpm=LIMIT_TOKENS)
            spent = 0
            for _ in range(10):
                answer = await gateway.post(AGENT | more, user=user)
                assert answer.status_code == 200, answer.text
                spent += _total(answer.text)
                await until_used(gateway, user, spent)
            assert 0 < spent < LIMIT_TOKENS / 2


def _total(text: str) -> int:
    """The usage of an answer, whole or streamed."""
    return int(text.rpartition('"total_tokens":')[2].split(",")[0].rstrip("}\n"))

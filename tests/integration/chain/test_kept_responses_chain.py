"""`/v1/responses` with its memory, over three pods: by OpenAI's own client, and after the plugin was started anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import openai
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeping(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    options = StackOptions({"m": 3}, redis=False, speed=10, default_strategy="random")
    async with open_gateway(options) as opened:
        yield opened


ClientOf = Callable[..., openai.AsyncOpenAI]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client_of(keeping: Gateway) -> AsyncIterator[ClientOf]:
    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, openai.AsyncOpenAI] = {}
        for user in ("", "kim", "owner", "eve"):
            if user:
                await keeping.create_user(user, rpm=1000)
            headers = {"user": user} if user else {}
            url = f"{keeping.stack.gateway_url}/v1"
            client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, default_headers=headers)
            clients[user] = await stack.enter_async_context(client)
        yield lambda user="": clients[user]


@pytest.mark.parametrize("user", ["", "kim"])
async def test_nine_follow_ups_and_what_else_is_asked_of_them(client_of: ClientOf, user: str):
    client = client_of(user)
    for _ in range(3):
        last = await client.responses.create(model="m", input="one", max_output_tokens=4)
        for _ in range(3):
            following = await client.responses.create(
                model="m", input="more", max_output_tokens=4, previous_response_id=last.id
            )
            assert following.previous_response_id == last.id
            assert following.usage is not None
            assert last.usage is not None
            assert following.usage.input_tokens > last.usage.input_tokens, "it holds the conversation"
            last = following
        assert (await client.responses.retrieve(last.id)).output_text == last.output_text
        await client.responses.delete(last.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(last.id)


async def test_a_stream_names_the_response_from_its_first_event(client_of: ClientOf):
    client = client_of()
    for _ in range(4):
        stream = await client.responses.create(model="m", input="one", max_output_tokens=4, stream=True)
        ids = {event.response.id async for event in stream if hasattr(event, "response")}
        assert len(ids) == 1
        assert (await client.responses.retrieve(ids.pop())).status == "incomplete"


async def test_in_the_background_and_cancelled(client_of: ClientOf):
    client = client_of()
    for _ in range(4):
        queued = await client.responses.create(model="m", input="one", max_output_tokens=4000, background=True)
        assert queued.status == "queued"
        assert (await client.responses.cancel(queued.id)).status == "cancelled"
    short = await client.responses.create(model="m", input="one", max_output_tokens=2, background=True)
    async with asyncio.timeout(10):
        while (await client.responses.retrieve(short.id)).status == "queued":  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.02)


async def test_another_user_gets_404(client_of: ClientOf):
    mine = await client_of("owner").responses.create(model="m", input="one", max_output_tokens=4)
    for other in (client_of("eve"), client_of()):
        with pytest.raises(openai.NotFoundError):
            await other.responses.retrieve(mine.id)
        with pytest.raises(openai.NotFoundError):
            await other.responses.create(model="m", input="x", max_output_tokens=4, previous_response_id=mine.id)
        with pytest.raises(openai.NotFoundError):
            await other.responses.delete(mine.id)
    assert (await client_of("owner").responses.retrieve(mine.id)).id == mine.id


async def test_the_plugin_may_be_started_anew(keeping: Gateway, client_of: ClientOf):
    client = client_of()
    made = [await client.responses.create(model="m", input="one", max_output_tokens=4) for _ in range(4)]
    await keeping.stack.stop_plugin()
    await keeping.stack.start_plugin()
    for response in made:
        assert (await client.responses.retrieve(response.id)).id == response.id
        await client.responses.create(model="m", input="x", max_output_tokens=4, previous_response_id=response.id)

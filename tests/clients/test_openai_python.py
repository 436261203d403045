"""OpenAI's own Python client: what it does with an engine it does with the gateway, with limits and without."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
import openai
import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def answering(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    options = StackOptions({"m": 2}, redis=False, speed=100, plugin_environment={"GATEWAY_API_KEYS": "true"})
    async with open_gateway(options) as gateway:
        for user in ("ann", "keyed"):
            await gateway.create_user(user, rpm=100_000, tpm=100_000_000)
        await gateway.create_user("poor", rpm=1)
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["", "ann", "key"])
async def client(answering: Gateway, request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """Without a user, with one, and with an API key for one."""
    key = await api_key(answering, "keyed") if request.param == "key" else "none"
    async with client_of(answering, key, "ann" if request.param == "ann" else "") as client:
        yield client


async def api_key(gateway: Gateway, user: str) -> str:
    answer = await gateway.http.post(f"{gateway.stack.api_url}/v1/users/{user}/keys", json={"label": "test"})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["secret"]
    return key


@contextlib.asynccontextmanager
async def client_of(
    gateway: Gateway, key: str = "none", user: str = "", max_retries: int = 0
) -> AsyncIterator[openai.AsyncOpenAI]:
    headers = {"user": user} if user else {}
    url = f"{gateway.stack.gateway_url}/v1"
    client = openai.AsyncOpenAI(base_url=url, api_key=key, default_headers=headers, max_retries=max_retries)
    async with client:
        yield client


@pytest.mark.feature("chat")
async def test_chat(client: openai.AsyncOpenAI):
    answer = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


@pytest.mark.feature("stream")
async def test_every_chunk_has_a_choice_unless_usage_was_asked_for(client: openai.AsyncOpenAI):
    stream = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=5, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    stream = await client.chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


@pytest.mark.feature("stream")
async def test_text_completions_stream_alike(client: openai.AsyncOpenAI):
    stream = await client.completions.create(model="m", prompt="Hello", max_tokens=5, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream])
    assert len((await client.completions.create(model="m", prompt=["a", "b"], max_tokens=2, n=2)).choices) == 4


@pytest.mark.feature("stream")
async def test_what_the_client_calls_a_stream_helper(client: openai.AsyncOpenAI):
    async with client.chat.completions.stream(model="m", messages=MESSAGES) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].finish_reason == "stop"


@pytest.mark.feature("tools", "schema")
async def test_tools_and_schemas_reach_the_engine(client: openai.AsyncOpenAI):
    schema: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    answer = await client.chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=5, tools=TOOLS, tool_choice="auto", response_format=schema
    )
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.feature("responses")
async def test_responses(client: openai.AsyncOpenAI):
    first = await client.responses.create(model="m", input="Hello", max_output_tokens=5)
    second = await client.responses.create(model="m", input="More", max_output_tokens=5, previous_response_id=first.id)
    assert (await client.responses.retrieve(second.id)).output_text == second.output_text
    stream = await client.responses.create(model="m", input="Hello", max_output_tokens=5, stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"


@pytest.mark.feature("embeddings")
async def test_embeddings(client: openai.AsyncOpenAI):
    answer = await client.embeddings.create(model="m", input=["a", "b"])
    assert [len(item.embedding) for item in answer.data] == [32, 32]


@pytest.mark.feature("audio")
async def test_audio(client: openai.AsyncOpenAI):
    answer = await client.audio.transcriptions.create(model="m", file=("a.wav", b"RIFF" * 1000))
    assert answer.text


@pytest.mark.feature("images")
async def test_images(client: openai.AsyncOpenAI):
    answer = await client.images.generate(model="m", prompt="a cat", n=2)
    assert answer.data is not None
    assert len(answer.data) == 2


@pytest.mark.feature("models")
async def test_models(client: openai.AsyncOpenAI):
    assert [model.id async for model in client.models.list()] == ["m"]
    assert (await client.models.retrieve("m")).id == "m"


@pytest.mark.feature("errors")
async def test_mistakes_are_told_as_engines_do(client: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=0)
    with pytest.raises(openai.BadRequestError, match="does not exist"):
        await client.chat.completions.create(model="nobody", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        await client.files.list()


@pytest.mark.feature("key")
async def test_a_wrong_key_is_an_authentication_error(answering: Gateway):
    async with client_of(answering, "gw-wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)


@pytest.mark.feature("errors")
async def test_a_limit_is_a_rate_limit_error(answering: Gateway):
    async with client_of(answering, user="poor") as client:
        await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)
    assert refused.value.type == "rate_limit_error"
    assert "retry-after" in refused.value.response.headers


@pytest.mark.feature("retries")
async def test_it_waits_as_told_and_passes(answering: Gateway, monkeypatch: pytest.MonkeyPatch):
    """Whoever sleeps gets a higher limit, so that nobody waits for the next minute."""
    await answering.create_user("waiting", rpm=1)
    slept_seconds = []

    async def sleep(seconds: float) -> None:
        slept_seconds.append(seconds)
        more = {"name": "waiting", "rpm": 1000, "tpm": 1000}
        (await answering.http.post(f"{answering.stack.api_url}/UpdateUser", json=more)).raise_for_status()

    async with client_of(answering, user="waiting", max_retries=1) as client:
        await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)
        with monkeypatch.context() as patched:
            patched.setattr(anyio, "sleep", sleep)
            answer = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=1)
    assert answer.choices
    assert len(slept_seconds) == 1
    assert 8 < slept_seconds[0] < 60, "as we tell; its own back-off is at most 8 seconds"

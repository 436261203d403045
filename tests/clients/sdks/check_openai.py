"""OpenAI's Python client, of any major: the calls that all of them know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.sdks.conftest import Caller, Poor

MESSAGES: Any = [{"role": "user", "content": "Hello"}]
TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def client_of(url: str, key: str, headers: dict[str, str], **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, default_headers=headers, **({"max_retries": 0} | more))


@pytest.fixture
def client(caller: Caller) -> Iterator[openai.OpenAI]:
    with client_of(caller.url, caller.key, caller.headers) as client:
        yield client


@pytest.mark.feature("chat")
def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].message.content


@pytest.mark.feature("stream")
@pytest.mark.parametrize("usage", [None, False, True])
def test_a_stream(client: openai.OpenAI, model: str, usage: bool | None) -> None:
    more: Any = {} if usage is None else {"stream_options": {"include_usage": usage}}
    stream = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5, stream=True, **more)
    chunks = list(stream)
    assert any(not chunk.choices for chunk in chunks) is bool(usage), "as it was asked for"
    assert any(chunk.usage for chunk in chunks) is bool(usage)


@pytest.mark.feature("tools", "schema")
def test_tools_and_schemas(client: openai.OpenAI, model: str) -> None:
    more: Any = {"tools": TOOLS, "tool_choice": "auto", "response_format": SCHEMA}
    assert client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=5, **more).choices


@pytest.mark.feature("responses")
def test_responses(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(model=model, input="Hello", max_output_tokens=5)
    second = client.responses.create(model=model, input="More", max_output_tokens=5, previous_response_id=first.id)
    assert client.responses.retrieve(second.id).output_text == second.output_text
    stream = client.responses.create(model=model, input="Hello", max_output_tokens=5, stream=True)
    assert [event.type for event in stream][-1] == "response.completed"


@pytest.mark.feature("embeddings")
def test_embeddings(client: openai.OpenAI, model: str) -> None:
    assert len(client.embeddings.create(model=model, input=["a", "b"]).data) == 2


@pytest.mark.feature("audio")
def test_audio(client: openai.OpenAI, model: str) -> None:
    assert client.audio.transcriptions.create(model=model, file=("a.wav", b"RIFF" * 1000)).text


@pytest.mark.feature("images")
def test_images(client: openai.OpenAI, model: str) -> None:
    assert len(client.images.generate(model=model, prompt="a cat", n=2).data or []) == 2


@pytest.mark.feature("models")
def test_models(client: openai.OpenAI, model: str) -> None:
    assert [one.id for one in client.models.list()] == [model]


@pytest.mark.feature("errors")
def test_mistakes(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=0)
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        client.chat.completions.create(model="nobody", messages=MESSAGES)


@pytest.mark.feature("key")
def test_a_key_is_seen(client: openai.OpenAI, caller: Caller, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=1)
    assert ("x-ratelimit-limit-requests" in raw.headers) is caller.is_limited


def test_a_wrong_key(keys_url: str, model: str) -> None:
    with client_of(keys_url, "gw-wrong", {}) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=model, messages=MESSAGES)


@pytest.mark.feature("retries")
def test_it_waits_as_told(poor: Poor, model: str) -> None:
    with client_of(
        poor.url,
        "none",
        poor.headers,
        max_retries=1,
        http_client=openai.DefaultHttpxClient(event_hooks=poor.event_hooks),
    ) as client:
        for _ in range(2):
            assert client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1).choices
    poor.assert_waited_as_told()

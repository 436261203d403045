"""Anthropic's Python client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.sdks.conftest import Caller, Poor

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(caller: Caller) -> Iterator[anthropic.Anthropic]:
    """Its key goes in `x-api-key`."""
    options: Any = {"base_url": caller.url, "api_key": caller.key, "default_headers": caller.headers}
    with anthropic.Anthropic(**options, max_retries=0) as client:
        yield client


@pytest.mark.feature("chat")
def test_a_message(client: anthropic.Anthropic, model: str) -> None:
    answer = client.messages.create(model=model, max_tokens=5, messages=MESSAGES, system="Be brief.")
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 5)
    assert answer.content[0].text


@pytest.mark.feature("stream")
def test_a_stream(client: anthropic.Anthropic, model: str) -> None:
    with client.messages.stream(model=model, max_tokens=5, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.usage.output_tokens == 5


@pytest.mark.feature("tools")
def test_tools(client: anthropic.Anthropic, model: str) -> None:
    tools: Any = [{"name": "look_up", "description": "", "input_schema": {"type": "object", "properties": {}}}]
    assert client.messages.create(model=model, max_tokens=5, messages=MESSAGES, tools=tools).content


@pytest.mark.feature("count")
def test_tokens_are_counted(client: anthropic.Anthropic, model: str) -> None:
    assert client.messages.count_tokens(model=model, messages=MESSAGES).input_tokens > 0


@pytest.mark.feature("errors")
def test_a_mistake(client: anthropic.Anthropic) -> None:
    with pytest.raises((anthropic.BadRequestError, anthropic.NotFoundError)) as refused:
        client.messages.create(model="nobody", max_tokens=5, messages=MESSAGES)
    assert refused.value.body["type"] == "error"


@pytest.mark.feature("key")
def test_a_key_is_seen(client: anthropic.Anthropic, caller: Caller, model: str) -> None:
    raw = client.messages.with_raw_response.create(model=model, max_tokens=1, messages=MESSAGES)
    assert ("x-ratelimit-limit-requests" in raw.headers) is caller.is_limited


def test_a_wrong_key(keys_url: str, model: str) -> None:
    stranger = anthropic.Anthropic(base_url=keys_url, api_key="gw-wrong", max_retries=0)
    with stranger as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=model, max_tokens=1, messages=MESSAGES)


@pytest.mark.feature("retries")
def test_it_waits_as_told(poor: Poor, model: str) -> None:
    options: Any = {"base_url": poor.url, "api_key": "none", "default_headers": poor.headers}
    with anthropic.Anthropic(
        **options, max_retries=1, http_client=anthropic.DefaultHttpxClient(event_hooks=poor.event_hooks)
    ) as client:
        for _ in range(2):
            assert client.messages.create(model=model, max_tokens=1, messages=MESSAGES).content
    poor.assert_waited_as_told()

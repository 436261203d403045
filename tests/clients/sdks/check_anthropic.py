"""Anthropic's Python client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(url: str, headers: dict[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="none", default_headers=headers, max_retries=0) as client:
        yield client


def test_a_message(client: anthropic.Anthropic, model: str) -> None:
    answer = client.messages.create(model=model, max_tokens=5, messages=MESSAGES, system="Be brief.")
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 5)
    assert answer.content[0].text


def test_a_stream(client: anthropic.Anthropic, model: str) -> None:
    with client.messages.stream(model=model, max_tokens=5, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text
    assert final.usage.output_tokens == 5


def test_a_mistake(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="nobody", max_tokens=5, messages=MESSAGES)

"""OpenAI's Python client in Azure's way: the key goes in `api-key`, and every URL has an `api-version`.

Paths of deployments (`/openai/deployments/{name}/chat/completions`), which it makes of chat, are of Azure alone:
engines have none, so the gateway has none, either. docs/recipes.md says how nginx maps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.clients.sdks.conftest import Caller

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


def client_of(url: str, key: str, headers: dict[str, str]) -> openai.AzureOpenAI:
    options: Any = {"base_url": f"{url}/v1", "api_version": "2024-10-21", "default_headers": headers}
    return openai.AzureOpenAI(api_key=key, max_retries=0, **options)


@pytest.fixture
def client(caller: Caller) -> Iterator[openai.AzureOpenAI]:
    with client_of(caller.url, caller.key, caller.headers) as client:
        yield client


@pytest.mark.feature("responses")
def test_responses(client: openai.AzureOpenAI, model: str) -> None:
    first = client.responses.create(model=model, input="Hello", max_output_tokens=5)
    assert client.responses.retrieve(first.id).output_text == first.output_text


@pytest.mark.feature("models")
def test_models(client: openai.AzureOpenAI, model: str) -> None:
    assert [one.id for one in client.models.list()] == [model]


@pytest.mark.feature("key")
def test_a_key_is_seen(client: openai.AzureOpenAI, caller: Caller, model: str) -> None:
    raw = client.responses.with_raw_response.create(model=model, input="Hello", max_output_tokens=1)
    assert ("x-ratelimit-limit-requests" in raw.headers) is caller.is_limited


def test_a_wrong_key(keys_url: str, model: str) -> None:
    with client_of(keys_url, "gw-wrong", {}) as client, pytest.raises(openai.AuthenticationError):
        client.responses.create(model=model, input="Hello")


@pytest.mark.feature("errors")
def test_deployments_are_nowhere(client: openai.AzureOpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=model, messages=MESSAGES)

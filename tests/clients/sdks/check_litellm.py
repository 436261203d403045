"""LiteLLM as a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

if TYPE_CHECKING:
    from tests.clients.sdks.conftest import Caller, Poor

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def options(caller: Caller, model: str) -> dict[str, Any]:
    named = {"api_base": f"{caller.url}/v1", "api_key": caller.key, "model": f"openai/{model}"}
    return {**named, "extra_headers": caller.headers, "num_retries": 0}


@pytest.mark.feature("chat")
def test_chat(options: dict[str, Any]) -> None:
    assert litellm.completion(messages=MESSAGES, max_tokens=5, **options).usage.completion_tokens == 5


@pytest.mark.feature("stream")
def test_a_stream(options: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=MESSAGES, max_tokens=5, stream=True, **options))
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.feature("embeddings")
def test_embeddings(options: dict[str, Any]) -> None:
    assert len(litellm.embedding(input=["a", "b"], **options).data) == 2


@pytest.mark.feature("errors")
def test_a_mistake(options: dict[str, Any]) -> None:
    with pytest.raises((litellm.BadRequestError, litellm.NotFoundError)):
        litellm.completion(messages=MESSAGES, **(options | {"model": "openai/nobody"}))


@pytest.mark.feature("errors")
def test_a_limit(poor: Poor, model: str) -> None:
    options: Any = {"api_base": f"{poor.url}/v1", "api_key": "none", "extra_headers": poor.headers}
    asked: Any = {"model": f"openai/{model}", "messages": MESSAGES, "max_tokens": 1, "num_retries": 0} | options
    litellm.completion(**asked)
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(**asked)

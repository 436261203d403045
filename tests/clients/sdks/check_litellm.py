"""LiteLLM as a client."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def options(url: str, model: str, headers: dict[str, str]) -> dict[str, Any]:
    named = {"api_base": f"{url}/v1", "api_key": "none", "model": f"openai/{model}"}
    return {**named, "extra_headers": headers, "num_retries": 0}


def test_chat(options: dict[str, Any]) -> None:
    assert litellm.completion(messages=MESSAGES, max_tokens=5, **options).usage.completion_tokens == 5


def test_a_stream(options: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=MESSAGES, max_tokens=5, stream=True, **options))
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_embeddings(options: dict[str, Any]) -> None:
    assert len(litellm.embedding(input=["a", "b"], **options).data) == 2


def test_a_mistake(options: dict[str, Any]) -> None:
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=MESSAGES, **(options | {"model": "openai/nobody"}))

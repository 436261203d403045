"""LangChain on OpenAI's client."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@pytest.fixture
def options(url: str, model: str, headers: dict[str, str]) -> dict[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": "none", "model": model, "default_headers": headers, "max_retries": 0}


@pytest.mark.parametrize("usage", [None, True, False])
def test_chat_and_stream(options: dict[str, Any], usage: bool | None) -> None:
    more = {} if usage is None else {"stream_usage": usage}
    chat = ChatOpenAI(**options, max_tokens=5, **more)
    assert chat.invoke("Hello").usage_metadata["output_tokens"] == 5
    chunks = list(chat.stream("Hello"))
    assert "".join(str(chunk.content) for chunk in chunks)
    assert any(chunk.usage_metadata for chunk in chunks) is (usage is True), "as it was asked for"


def test_tools_are_bound(options: dict[str, Any]) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    assert ChatOpenAI(**options, max_tokens=5).bind_tools([tool]).invoke("Hello").content


def test_responses(options: dict[str, Any]) -> None:
    chat = ChatOpenAI(**options, max_tokens=5, use_responses_api=True)
    first = chat.invoke("Hello")
    assert chat.invoke("More", previous_response_id=first.response_metadata["id"]).content


def test_embeddings(options: dict[str, Any]) -> None:
    embeddings = OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
    assert len(embeddings.embed_documents(["a", "b"])) == 2

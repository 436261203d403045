"""LangChain on OpenAI's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

if TYPE_CHECKING:
    from tests.clients.sdks.conftest import Caller, Poor


@pytest.fixture
def options(caller: Caller, model: str) -> dict[str, Any]:
    named = {"base_url": f"{caller.url}/v1", "api_key": caller.key, "model": model}
    return named | {"default_headers": caller.headers, "max_retries": 0}


@pytest.mark.feature("chat", "stream")
@pytest.mark.parametrize("usage", [None, True, False])
def test_chat_and_stream(options: dict[str, Any], usage: bool | None) -> None:
    more = {} if usage is None else {"stream_usage": usage}
    chat = ChatOpenAI(**options, max_tokens=5, **more)
    assert chat.invoke("Hello").usage_metadata["output_tokens"] == 5
    chunks = list(chat.stream("Hello"))
    assert "".join(str(chunk.content) for chunk in chunks)
    assert any(chunk.usage_metadata for chunk in chunks) is (usage is True), "as it was asked for"


@pytest.mark.feature("tools")
def test_tools_are_bound(options: dict[str, Any]) -> None:
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    assert ChatOpenAI(**options, max_tokens=5).bind_tools([tool]).invoke("Hello").content


@pytest.mark.feature("responses")
def test_responses(options: dict[str, Any]) -> None:
    chat = ChatOpenAI(**options, max_tokens=5, use_responses_api=True)
    first = chat.invoke("Hello")
    assert chat.invoke("More", previous_response_id=first.response_metadata["id"]).content


@pytest.mark.feature("embeddings")
def test_embeddings(options: dict[str, Any]) -> None:
    embeddings = OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
    assert len(embeddings.embed_documents(["a", "b"])) == 2


@pytest.mark.feature("errors")
def test_a_mistake(options: dict[str, Any]) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        ChatOpenAI(**(options | {"model": "nobody"})).invoke("Hello")


@pytest.mark.feature("retries")
def test_it_waits_as_told(poor: Poor, model: str) -> None:
    options: Any = {"base_url": f"{poor.url}/v1", "api_key": "none", "default_headers": poor.headers}
    chat = ChatOpenAI(
        **options,
        model=model,
        max_tokens=1,
        max_retries=1,
        http_client=openai.DefaultHttpxClient(event_hooks=poor.event_hooks),
    )
    for _ in range(2):
        assert chat.invoke("Hello").content
    poor.assert_waited_as_told()

"""The `openai` SDK against 2,500 models over real HTTP; pages as a client of its own would read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from gateway_plugin.grpc.listeners import HttpListener
from tests.unit.gateway_plugin.http.models_api import ModelsApi

MODELS = [f"org-{number % 7}/model-{number:04d}" for number in range(2500)]


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    api = ModelsApi(*MODELS)
    await api.live.load()
    listener = HttpListener(api.app, "127.0.0.1", 0, "api_port")
    serving = asyncio.create_task(listener.run())
    async with openai.AsyncOpenAI(api_key="sk-x", base_url=f"http://127.0.0.1:{listener.port}/v1") as opened:
        yield opened
    listener.stop()
    await serving
    await api.http.aclose()


async def test_list_iterate_and_retrieve(client: openai.AsyncOpenAI):
    page = await client.models.list()
    assert len(page.data) == 2500, "plain clients do not page"
    assert [model.id async for model in client.models.list()] == sorted(MODELS)
    model = await client.models.retrieve(MODELS[1234])
    assert (model.id, model.object, model.created > 0) == (MODELS[1234], "model", True)
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("org-1/nothing")


async def test_pages(client: openai.AsyncOpenAI):
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 400}
    while True:
        page = await client.models.list(extra_query=query)
        seen += [model.id for model in page.data]
        assert page.model_extra is not None
        if not page.model_extra["has_more"]:
            break
        query["after"] = page.model_extra["last_id"]
    assert seen == sorted(MODELS)

"""The stream of events, and dead letters over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.requests import Request

from gateway_plugin.http.event_listeners import MAX_LISTENERS, MAX_OF_A_SOURCE, MAX_OF_A_USER, ListenerPlace, Listeners
from gateway_plugin.http.model_events import PATH
from gateway_plugin.models.catalogue.registry import ALIAS, RULE, Alias, ModelRule, encode_alias, encode_rule
from gateway_plugin.models.webhooks.records import DeadLetter
from gateway_plugin.openai.errors import ApiError
from ratelimit import UserRecord
from tests.unit.gateway_plugin.http.models_api import TOKEN, ModelsApi


@pytest.fixture
async def api() -> AsyncIterator[ModelsApi]:
    made = ModelsApi("apple", "banana")
    await made.live.load()
    yield made
    await made.http.aclose()


class Listener:
    """Reads the stream without a transport: httpx's in-process one waits for the end of a response."""

    def __init__(self, api: ModelsApi, **headers: str) -> None:
        self._api = api
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self._request = Request({"type": "http", "headers": raw, "query_string": b"", "path": PATH, "method": "GET"})
        self._chunks: Any = None

    async def __aenter__(self) -> Listener:
        (route,) = self._api.events_router.routes
        assert isinstance(route, APIRoute)
        answer = await route.endpoint(self._request)
        assert answer.media_type == "text/event-stream"
        self._chunks = answer.body_iterator
        assert await self.next() == b"retry: 2000\n: connected\n\n"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._chunks.aclose()

    async def next(self) -> bytes:
        chunk: bytes = await asyncio.wait_for(anext(self._chunks), 5)
        return chunk

    async def event(self) -> dict[str, Any]:
        while True:
            lines = (await self.next()).decode().split("\n")
            if lines[0].startswith("id: "):
                event: dict[str, Any] = json.loads(lines[2].removeprefix("data: "))
                assert (lines[0], lines[1]) == (f"id: {event['id']}", f"event: {event['type']}")
                return event


async def alias(api: ModelsApi, name: str, target: str) -> None:
    await api.live.change("registry", {ALIAS + name: encode_alias(Alias(target, created=1))})


async def test_a_listener_hears_what_happens(api: ModelsApi):
    async with Listener(api) as listener:
        await alias(api, "gpt", "apple")
        event = await listener.event()
        assert (event["type"], event["data"]["model"]["id"]) == ("model.added", "gpt")
        assert event["data"]["model"]["kind"] == "base", "what is behind a name is not told"
        assert await listener.next() == b": still here\n\n"


async def test_who_comes_back_misses_nothing(api: ModelsApi):
    async with Listener(api) as listener:
        await alias(api, "one", "apple")
        last = (await listener.event())["id"]
    await alias(api, "two", "apple")
    async with Listener(api, last_event_id=last) as listener:
        assert (await listener.event())["data"]["model"]["id"] == "two"


@pytest.mark.parametrize("last", ["evt_00000000_1-0", "nonsense"])
async def test_who_comes_from_elsewhere_is_told_to_list_again(api: ModelsApi, last: str):
    async with Listener(api, last_event_id=last) as listener:
        assert (await listener.next()).startswith(b"event: reset\n")


async def test_users_hear_of_what_they_may_use_and_of_veils(api: ModelsApi):
    await api.directory.store.create(UserRecord("lgy", models=("apple",)))
    async with Listener(api, user="lgy") as user, Listener(api, authorization=f"Bearer {TOKEN}") as operator:
        await api.live.change("registry", {RULE + "banana": encode_rule(ModelRule(hidden=True))})
        await api.live.change("registry", {RULE + "apple": encode_rule(ModelRule(hidden=True))})
        await api.live.change("registry", {}, [RULE + "apple"])
        heard = [await user.event(), await user.event()]
        assert [event["type"] for event in heard] == ["model.removed", "model.added"]
        assert {event["data"]["model"]["id"] for event in heard} == {"apple"}
        assert (await operator.event())["type"] == "model.changed"


async def test_streams_end_with_the_process(api: ModelsApi):
    async with Listener(api) as listener:
        api.live.events.close()
        with pytest.raises(StopAsyncIteration):
            await listener.next()


async def test_a_stream_ends_after_its_time():
    api = ModelsApi("apple", event_stream_seconds=0.1)
    await api.live.load()
    async with Listener(api) as listener:
        assert [chunk async for chunk in listener._chunks][-1] == b": still here\n\n"
    await api.http.aclose()


async def test_one_source_cannot_take_all_places(api: ModelsApi):
    async with AsyncExitStack() as held:
        for _ in range(MAX_OF_A_SOURCE):
            await held.enter_async_context(Listener(api, x_forwarded_for="1.1.1.1, 10.0.0.1"))
        with pytest.raises(ApiError, match="at this address") as refused:
            await held.enter_async_context(Listener(api, x_forwarded_for="2.2.2.2, 10.0.0.1"))
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "10"})
        await held.enter_async_context(Listener(api, x_forwarded_for="10.0.0.2"))
    async with Listener(api, x_forwarded_for="10.0.0.1"):
        pass


async def test_one_user_cannot_take_all_places_from_many_addresses(api: ModelsApi):
    await api.directory.store.create(UserRecord("lgy"))
    async with AsyncExitStack() as held:
        for number in range(MAX_OF_A_USER):
            await held.enter_async_context(Listener(api, user="lgy", x_forwarded_for=f"10.0.0.{number}"))
        with pytest.raises(ApiError, match="user lgy listens"):
            await held.enter_async_context(Listener(api, user="lgy", x_forwarded_for="10.0.1.1"))
        await held.enter_async_context(Listener(api, x_forwarded_for="10.0.1.1"))


def test_places_are_given_back_once():
    listeners = Listeners()
    first = listeners.enter("lgy", "10.0.0.1")
    second = listeners.enter("", "10.0.0.2")
    assert isinstance(first, ListenerPlace)
    assert isinstance(second, ListenerPlace)
    first.leave()
    first.leave()
    assert len(listeners) == 1
    second.leave()
    assert (len(listeners), listeners._taken) == (0, {})


def test_there_are_so_many_places():
    listeners = Listeners()
    seats = [listeners.enter("", f"10.0.{number // 50}.1") for number in range(MAX_LISTENERS)]
    assert all(isinstance(seat, ListenerPlace) for seat in seats)
    assert listeners.enter("", "10.1.1.1") == f"{MAX_LISTENERS} clients listen already"


def letter(webhook: str, number: int) -> DeadLetter:
    return DeadLetter(f"dl_{number:04d}", webhook, f"evt_{number}", "model.added", number, 8, "status 500", '{"a":1}')


async def test_dead_letters_are_listed_and_sent_again(api: ModelsApi):
    api.http.headers["authorization"] = f"Bearer {TOKEN}"
    webhook = (await api.http.post("/v1/webhooks", json={"url": "https://hooks.example/"})).json()["id"]
    await api.letters.bury([letter(webhook, number) for number in range(120)])
    path = f"/v1/webhooks/{webhook}/dead_letters"
    listed = (await api.http.get(path)).json()["data"]
    assert [one["id"] for one in listed] == [f"dl_{number:04d}" for number in range(119, 19, -1)], "the newest hundred"
    assert (listed[0]["error"], listed[0]["body"], listed[0]["attempts"]) == ("status 500", '{"a":1}', 8)
    api.refuses = True
    answer = await api.http.post(f"{path}/dl_0119/redeliver")
    assert answer.json() == {"delivered": False, "error": "status 500, not taken"}
    api.refuses = False
    assert (await api.http.post(f"{path}/dl_0119/redeliver")).json() == {"delivered": True, "error": None}
    assert api.sent == [f'{webhook} evt_119 {{"a":1}}']
    assert (await api.http.post(f"{path}/dl_0119/redeliver")).status_code == 404
    assert (await api.http.delete(path)).status_code == 204
    assert (await api.http.get(path)).json()["data"] == []

"""Before every HTTP API: the token is asked for before a byte of the body is read, and bodies are bounded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

TOKEN = "sécret"
MAX_BYTES = 4096
PATHS = ["/v1/users", "/CreateUser", "/v1/registry/aliases/a", "/v1/webhooks", "/nowhere", "/v1/modelsx"]
JSON = (b"content-type", b"application/json")
ALLOWED = (b"authorization", f"Bearer {TOKEN}".encode())


def new_api(token: str = TOKEN) -> FastAPI:
    store = MemoryStore(lambda: 0.0)
    app = new_app("test", "test", admin_token=token, max_body_bytes=MAX_BYTES)
    app.include_router(users_rest_router(store, store, store, token))
    return app


class Client:
    """Sends what it is asked for, and counts that."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.asked = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        chunk = next(self.chunks, None)
        if chunk is None:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def post(self, app: FastAPI, path: str, *headers: tuple[bytes, bytes]) -> tuple[int, dict[bytes, bytes], Any]:
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [JSON, *headers],
        }
        await app(scope, self.receive, self.send)
        start, *rest = self.sent
        return start["status"], dict(start["headers"]), json.loads(b"".join(one["body"] for one in rest))


def endless() -> Iterator[bytes]:
    while True:
        yield b" " * 1024


@pytest.mark.parametrize("path", PATHS)
async def test_who_may_not_enter_is_not_read(path: str):
    for headers in ([], [(b"authorization", b"Bearer x")], [(b"content-length", b"400000000")]):
        client = Client(endless())
        status, answered, found = await client.post(new_api(), path, *headers)
        assert (status, found["error"]["code"], client.asked) == (401, "invalid_api_key", 0)
        assert answered[b"connection"] == b"close", "what it still sends is not waited for"


async def test_a_body_is_read_as_far_as_its_bound():
    client = Client(endless())
    status, _, found = await client.post(new_api(), "/v1/users", ALLOWED)
    assert (status, found["error"]["code"]) == (413, "request_too_large")
    assert client.asked == MAX_BYTES // 1024 + 1
    for length in (b"4097", b"-1", b"1" * 5000, "²".encode()):
        client = Client(endless())
        status, _, _ = await client.post(new_api(token=""), "/v1/users", (b"content-length", length))
        assert (status, client.asked) == (413, 0)


@pytest.mark.looptime
async def test_a_body_that_does_not_come_is_given_up(looptime):
    status, _, found = await Client(iter([b"{"])).post(new_api(), "/v1/users", ALLOWED)
    assert (status, found["error"]["code"]) == (408, "request_timeout")
    assert looptime == 30


async def test_answers_say_the_requests_id():
    for own, is_kept in ((b"mine-1", True), (b"a b", False), (b"", False)):
        client = Client(iter([]))
        _, headers, _ = await client.post(new_api(), "/v1/users", (b"x-request-id", own))
        said = headers[b"x-request-id"]
        assert said == headers[b"request-id"]
        assert (said == own) is is_kept
        assert len(said) == (len(own) if is_kept else 32)


async def test_a_body_within_bounds_arrives():
    body = json.dumps({"name": "lgy"}).encode()
    client = Client(iter([body[:5], body[5:]]))
    whole = (b"content-length", str(len(body)).encode())

    async def receive() -> dict[str, Any]:
        message = await Client.receive(client)
        return message | {"more_body": client.asked < 2}

    client.receive = receive  # type: ignore[method-assign]
    status, _, found = await client.post(new_api(), "/v1/users", ALLOWED, whole)
    assert (status, found["name"]) == (201, "lgy")

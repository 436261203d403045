"""The admin token of the users API, and the question whether it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway_plugin.http.admin import NOTHING_THERE, is_beyond_loopback
from gateway_plugin.http.error_responses import new_app
from gateway_plugin.http.users_aibrix import users_router
from gateway_plugin.http.users_rest import users_rest_router
from ratelimit import MemoryStore, UserRecord

TOKEN = "sécret"
CALLS = [
    ("POST", "/CreateUser"),
    ("POST", "/ReadUser"),
    ("POST", "/UpdateUser"),
    ("POST", "/DeleteUser"),
    ("GET", "/v1/users"),
    ("POST", "/v1/users"),
    ("GET", "/v1/users/lgy"),
    ("PUT", "/v1/users/lgy"),
    ("PATCH", "/v1/users/lgy"),
    ("DELETE", "/v1/users/lgy"),
    ("GET", "/v1/users/lgy/usage"),
    ("POST", "/v1/users/lgy/keys"),
    ("GET", "/v1/users/lgy/keys"),
    ("DELETE", "/v1/users/lgy/keys/1"),
]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    store = MemoryStore(lambda: 0.0)
    await store.create(UserRecord("lgy", rpm=3))
    app = new_app("test", "test")
    app.include_router(users_router(store, TOKEN))
    app.include_router(users_rest_router(store, store, store, TOKEN))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client
    assert await store.read("lgy") == UserRecord("lgy", rpm=3), "a refused call changes nothing"


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize(
    ("sent", "challenge"),
    [
        (None, "Bearer"),
        ("Basic c8OpY3JldA==", "Bearer"),
        ("Bearer secret", 'Bearer error="invalid_token"'),
        (f"Bearer {TOKEN}x", 'Bearer error="invalid_token"'),
    ],
)
async def test_every_call_needs_the_token(
    http: httpx.AsyncClient, method: str, path: str, sent: str | None, challenge: str
):
    headers = {b"authorization": sent.encode()} if sent else {}
    answer = await http.request(method, path, json={"name": "lgy", "rpm": 9}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    assert answer.json()["error"]["type"] == "authentication_error"
    assert "cret" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_token_opens_both_faces(http: httpx.AsyncClient, scheme: str):
    headers = {b"authorization": f"{scheme} {TOKEN}".encode()}
    assert (await http.post("/ReadUser", json={"name": "lgy"}, headers=headers)).status_code == 200
    assert (await http.get("/v1/users/lgy", headers=headers)).json()["rpm"] == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback(host: str):
    assert not is_beyond_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "fe80::1%eth0", "gateway.internal"])
def test_beyond_loopback(host: str):
    assert is_beyond_loopback(host)


async def test_where_envoy_sends_what_no_route_takes_there_is_nothing():
    app = new_app("test", "test", admin_token=TOKEN)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        for method in ("GET", "POST", "DELETE"):
            answer = await client.request(method, NOTHING_THERE)
            assert answer.status_code == 404, "and nobody is asked for the admin token"
            assert answer.json()["error"]["message"] == "Unknown path or model."
        assert (await client.get(f"{NOTHING_THERE}/v1/users")).status_code == 401

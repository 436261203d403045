"""`identity_proofs: api-key`: without a valid key nothing reaches a pod, and no answer tells who exists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    import httpx

    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

PATHS = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
    ("GET", "/v1/models/nosuch"),
    ("GET", "/v1/models/events"),
    ("GET", "/v1/chat/completions"),
    ("POST", "/v1/nowhere"),
    ("GET", "/"),
    ("POST", "/v1/load_lora_adapter"),
    ("OPTIONS", "/metrics"),
)
STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"user": "lgy"},
    {"user": "nobody"},
    {"user": "\x07"},
    {"authorization": "Bearer gw-" + "x" * 43},
    {"authorization": "Bearer gw-" + "x" * 43, "user": "lgy"},
    {"authorization": "Bearer gw-" + "x" * 43, "external-filter": "((", "routing-strategy": "nosuch"},
    {"authorization": "Bearer sk-123"},
    {"authorization": "Basic Z3c6eA=="},
    {"x-api-key": "gw-x", "model": "nosuch"},
    {"api-key": "x", "user": "lgy"},
    {"model": "m"},
)
DIFFERS = ("date", "x-request-id", "request-id", "connection")
"""Envoy ends the connection when it answers before the body has come."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Only keys count; lgy has one."""
    environment = {"GATEWAY_IDENTITY_PROOFS": "api-key"}
    async with open_gateway(StackOptions({"m": 1}, speed=20, plugin_environment=environment)) as gateway:
        await gateway.create_user("lgy", rpm=1000)
        yield gateway


async def new_key(gateway: Gateway, user: str = "lgy") -> tuple[str, str]:
    answer = await gateway.http.post(f"{gateway.stack.api_url}/v1/users/{user}/keys")
    return answer.json()["id"], answer.json()["secret"]


def fingerprint(answer: httpx.Response) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in DIFFERS)
    return answer.status_code, answer.text, tuple(headers)


async def asked(gateway: Gateway, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = BODY if method == "POST" else None
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    return await gateway.http.request(method, gateway.stack.gateway_url + path, json=body, headers=sent)


async def served(gateway: Gateway) -> float:
    return sum(float(pod["requests_total"]) for pod in await gateway.pods())


async def test_all_strangers_get_one_answer_on_every_path(closed: Gateway):
    before = await served(closed)
    answers = {
        fingerprint(await asked(closed, method, path, headers))
        for method, path in PATHS
        for headers in STRANGERS
        if headers.get("user") != "\x07"  # Envoy refuses it, whoever sends it
    }
    assert len(answers) == 1, answers
    ((status, text, _),) = answers
    assert status == 401
    assert "invalid_api_key" in text
    assert await served(closed) == before, "no pod has heard of it"


async def test_ids_are_all_that_differs(closed: Gateway):
    answer = await asked(closed, "POST", "/v1/chat/completions", {"x-request-id": "mine"})
    assert (answer.headers["x-request-id"], answer.headers["request-id"]) == ("mine", "mine")


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
async def test_a_key_opens_from_any_of_its_headers_and_stays_here(closed: Gateway, header: str):
    _, secret = await new_key(closed)
    value = f"Bearer {secret}" if header == "authorization" else secret
    answer = await asked(closed, "POST", "/v1/chat/completions", {header: value})
    assert answer.status_code == 200, answer.text
    assert secret not in str(await closed.last_headers(answer.headers["target-pod"]))
    assert (await asked(closed, "GET", "/v1/models", {header: value})).status_code == 200


async def test_a_key_of_a_user_who_is_gone_is_a_strangers(closed: Gateway):
    await closed.create_user("gone", rpm=10)
    _, secret = await new_key(closed, "gone")
    key = {"authorization": f"Bearer {secret}"}
    assert (await asked(closed, "POST", "/v1/chat/completions", key)).status_code == 200
    await closed.http.delete(f"{closed.stack.api_url}/v1/users/gone")
    answer = await asked(closed, "POST", "/v1/chat/completions", key)
    assert fingerprint(answer) == fingerprint(await asked(closed, "POST", "/v1/chat/completions", {}))

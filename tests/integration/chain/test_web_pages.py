"""Browsers: preflights are answered by the gateway, and every answer says whether a web page may read it."""

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

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

APP = "https://app.example.com"
CHAT = "/v1/chat/completions"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def web(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """For pages of one host, and of all hosts below another."""
    settings = {"GATEWAY_ANONYMOUS": "reject", "GATEWAY_CORS_ORIGINS": f"{APP}, https://*.example.org"}
    options = StackOptions({"m": 1}, redis=False, speed=10, plugin_environment=settings)
    async with open_gateway(options) as opened:
        yield opened


async def asked(gateway: Gateway, method: str, path: str, origin: str = APP, **more: str) -> httpx.Response:
    headers = {"origin": origin} | {name.replace("_", "-"): value for name, value in more.items()}
    body = BODY if method == "POST" else None
    return await gateway.http.request(method, gateway.stack.gateway_url + path, headers=headers, json=body)


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/responses/resp_1"])
@pytest.mark.parametrize("origin", [APP, "https://a.example.org", "https://a.b.example.org"])
async def test_preflights(web: Gateway, path: str, origin: str):
    answer = await asked(web, "OPTIONS", path, origin, **ASKS)
    assert answer.status_code == 200
    allowed = answer.headers
    assert allowed["access-control-allow-origin"] == origin
    assert "DELETE" in allowed["access-control-allow-methods"]
    names = allowed["access-control-allow-headers"].replace(" ", "").split(",")
    assert {"authorization", "content-type", "x-api-key", "anthropic-version", "x-stainless-os"} <= set(names)
    assert "access-control-allow-credentials" not in allowed


async def test_answers_and_refusals_may_be_read(web: Gateway):
    answers = {
        401: await asked(web, "POST", CHAT),
        404: await asked(web, "POST", "/v1/nothing", user="kim"),
        405: await asked(web, "PUT", CHAT, user="kim"),
    }
    await web.create_user("kim", rpm=100)
    answers[200] = await asked(web, "POST", CHAT, user="kim")
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert answer.headers.get_list("access-control-allow-origin") == [APP], status
        assert answer.headers["access-control-expose-headers"] == "*"
    for path in ("/v1/models", "/v1/models/m"):
        answer = await asked(web, "GET", path, user="kim")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example.com", "https://app.example.com.evil.test", "null"]
)
async def test_other_pages_get_no_leave(web: Gateway, origin: str):
    for method, path in (("OPTIONS", CHAT), ("GET", "/v1/models")):
        answer = await asked(web, method, path, origin, **ASKS)
        assert "access-control-allow-origin" not in answer.headers


async def test_without_origins_nobody_gets_leave(gateway: Gateway):
    preflight = await asked(gateway, "OPTIONS", CHAT, **ASKS)
    assert (preflight.status_code, preflight.headers["allow"]) == (405, "POST")
    answer = await asked(gateway, "GET", "/v1/models")
    assert not any(name.startswith("access-control-") for name in (*preflight.headers, *answer.headers))

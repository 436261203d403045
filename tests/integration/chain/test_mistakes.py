"""Bad requests, through Envoy: the status, the shape, the content type, and nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

SECRET = "my-private-prompt"
CHAT = {"model": "m", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 4}


@pytest.mark.parametrize(
    ("body", "headers", "status", "header", "message"),
    [
        (f'{{"model": "m", "x": "{SECRET}"'.encode(), {}, 400, "x-error-request-body-processing", "error processing"),
        (b"", {}, 400, "x-error-request-body-processing", "the request body is empty"),
        ({"messages": [SECRET]}, {}, 400, "x-error-no-model-in-request", "'model' is a required property"),
        ({"model": "m", "stream": "maybe"}, {}, 400, "x-error-request-body-processing", "'stream': expected"),
        (b'{"model": "m", "model": "n"}', {}, 400, "x-error-request-body-processing", "'model' stands more than once"),
        (b'{"model":"m","messages":' + b"[" * 99_999, {}, 400, "x-error-request-body-processing", "error processing"),
        (CHAT | {"model": "nope"}, {}, 400, "x-error-no-model-backends", "model nope does not exist"),
        (CHAT, {"routing_strategy": "best"}, 400, "x-error-routing", "incorrect routing strategy best"),
        (CHAT, {"user": "nobody"}, 401, "x-error-user", "user: nobody does not exist"),
        (CHAT, {"content_type": "text/plain"}, 415, "x-error-request-body-processing", "content-type must be"),
        (b"\x1f\x8b", {"content_encoding": "br"}, 415, "x-error-request-body-processing", "content-encoding br"),
        (b"\x1f\x8b", {"content_encoding": "gzip"}, 400, "x-error-request-body-processing", "the compressed request"),
    ],
)
async def test_mistakes(gateway: Gateway, body: Any, headers: dict[str, str], status: int, header: str, message: str):
    answer = await gateway.post(body, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert header in answer.headers
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].startswith(message)
    assert SECRET not in answer.text
    assert "x-inference-pod" not in answer.headers
    assert SECRET not in gateway.stack.plugin.log.read_text()


async def test_an_audio_endpoint_wants_a_form(gateway: Gateway):
    answer = await gateway.post(CHAT, "/v1/audio/transcriptions")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "audio requests must use multipart/form-data content-type"


async def test_a_body_over_the_limit_is_413_in_json(gateway: Gateway, flavour: str):
    answer = await gateway.post(b'{"model": "m", "messages": ["' + b"x" * (65 * 1024 * 1024) + b'"]}')
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/json"
    assert ("67108864" if flavour == "standalone" else "64Mi") in answer.json()["error"]["message"]


async def test_unknown_paths_are_404_in_json(gateway: Gateway):
    answer = await gateway.http.get(f"{gateway.stack.gateway_url}/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_an_engines_own_errors_arrive_unchanged(gateway: Gateway):
    too_long = [{"role": "user", "content": "too long " * 30_000}]
    answer = await gateway.post(CHAT | {"messages": too_long})
    assert answer.status_code == 400
    assert answer.headers["x-inference-pod"] == answer.headers["target-pod"]


async def test_mistakes_leave_nothing_in_flight(gateway: Gateway):
    await gateway.post(b"{")
    assert await gateway.inflight() == 0
    assert await gateway.metric("gateway_in_flight_requests") == 0
    assert await gateway.metric("gateway_internal_errors_total") == 0
    assert await gateway.metric("gateway_rejections_total", reason="bad_body") > 0

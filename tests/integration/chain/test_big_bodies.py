"""Large inputs of real clients: audio, several images; and what is larger than the operator allows."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

MIB = 1024 * 1024


async def test_three_images_of_6_mb(gateway: Gateway):
    image = "data:image/png;base64," + base64.b64encode(bytes(6_000_000)).decode()
    content = [{"type": "image_url", "image_url": {"url": image}} for _ in range(3)]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 2}
    answer = await gateway.post(json.dumps(body).encode())
    assert answer.status_code == 200, answer.text
    assert await gateway.inflight() == 0


async def test_20_mb_of_audio(gateway: Gateway):
    url = gateway.stack.gateway_url + "/v1/audio/transcriptions"
    answer = await gateway.http.post(url, data={"model": "m"}, files={"file": ("speech.wav", bytes(20_000_000))})
    # What the simulated engine says of audio; a body that is too large for the gateway would be 413.
    assert answer.status_code in (200, 404), answer.text
    assert "target-pod" in answer.headers


async def test_a_body_of_the_allowed_size_and_one_beyond(gateway: Gateway):
    def padded(size: int) -> bytes:
        start, end = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}],"more":"', b'"}'
        return start + b"x" * (size - len(start) - len(end)) + end

    assert (await gateway.post(padded(64 * MIB))).status_code == 200
    beyond = await gateway.post(padded(64 * MIB + 1))
    assert beyond.status_code == 413
    assert beyond.json()["error"]["code"] == "request_too_large"

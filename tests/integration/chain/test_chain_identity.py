"""API keys, and callers without a user, through Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, AuthenticationError, RateLimitError

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]

ENVIRONMENT = {"GATEWAY_API_KEYS": "true", "GATEWAY_ANONYMOUS": "limit", "GATEWAY_ANONYMOUS_RPM": "3"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keyed(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """API keys are accepted, and the anonymous have three requests a minute."""
    async with open_gateway(StackOptions({"m": 2}, speed=10, plugin_environment=ENVIRONMENT)) as opened:
        yield opened


async def new_key(gateway: Gateway, user: str, **fields: object) -> tuple[str, str]:
    users = f"{gateway.stack.api_url}/v1/users"
    answer = await gateway.http.post(users, json={"name": user, **fields})
    assert answer.status_code == 201, answer.text
    answer = await gateway.http.post(f"{users}/{user}/keys", json={"label": "test"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["secret"]


async def test_a_key_stands_for_its_user_and_stays_at_the_gateway(keyed: Gateway):
    _, secret = await new_key(keyed, "kim", rpm=2)
    url = f"{keyed.stack.gateway_url}/v1"
    hello: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
    async with AsyncOpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        for _ in range(2):
            answer = await client.chat.completions.with_raw_response.create(model="m", messages=hello, max_tokens=4)
        seen = await keyed.last_headers(answer.headers["target-pod"])
        assert secret not in str(seen)
        with pytest.raises(RateLimitError, match="user: kim has exceeded RPM: 2"):
            await client.chat.completions.create(model="m", messages=hello)
    async with AsyncOpenAI(base_url=url, api_key="gw-unknown", max_retries=0) as unknown:
        with pytest.raises(AuthenticationError, match="Incorrect API key provided"):
            await unknown.chat.completions.create(model="m", messages=hello)


async def test_a_user_header_must_not_contradict_the_key(keyed: Gateway):
    _, secret = await new_key(keyed, "lee")
    assert (await keyed.post(authorization=f"Bearer {secret}", user="lee")).status_code == 200
    answer = await keyed.post(authorization=f"Bearer {secret}", user="kim")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "user_mismatch")


async def test_what_a_user_may_is_enforced(keyed: Gateway):
    _, secret = await new_key(keyed, "narrow", models=["other"])
    answer = await keyed.post(authorization=f"Bearer {secret}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_not_allowed")
    url = f"{keyed.stack.api_url}/v1/users/narrow"
    assert (await keyed.http.patch(url, json={"models": [], "disabled": True})).status_code == 200
    answer = await keyed.post(authorization=f"Bearer {secret}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "user_disabled")


async def test_parallel_requests_are_counted_until_they_end(keyed: Gateway):
    _, secret = await new_key(keyed, "parallel", max_parallel=1)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3000, "stream": True}
    url = f"{keyed.stack.gateway_url}/v1/chat/completions"
    headers = {"authorization": f"Bearer {secret}"}
    async with keyed.http.stream("POST", url, json=body | {"ignore_eos": True}, headers=headers) as stream:
        lines = stream.aiter_lines()  # named: when the generator goes, httpx hangs up
        await anext(lines)
        answer = await keyed.post(**headers)
        assert answer.status_code == 429
        assert answer.json()["error"]["message"] == "user: parallel has exceeded parallel requests: 1"
    for _ in range(50):
        if (answer := await keyed.post(**headers)).status_code == 200:
            break
    assert answer.status_code == 200, "the slot is free when the stream has ended"


async def test_the_anonymous_are_limited_by_their_address(keyed: Gateway):
    forged = [f"10.0.0.{i}" for i in range(4)]
    statuses = [(await keyed.post(x_forwarded_for=address)).status_code for address in forged]
    assert statuses == [200, 200, 200, 429], "a forged address is not believed"

"""Requests and tokens per minute, through Envoy, over both stores."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]


@pytest.fixture(params=["redis", "memory"])
def limited(request: pytest.FixtureRequest, flavour: str) -> Gateway:
    _ = flavour  # asked for here, so that tests are ordered by it
    fixture = "gateway" if request.param == "redis" else "memory_gateway"
    opened: Gateway = request.getfixturevalue(fixture)
    return opened


async def test_the_fourth_request_of_three_is_refused(limited: Gateway):
    await limited.create_user("lgy", rpm=3)
    assert [(await limited.post(user="lgy")).status_code for _ in range(3)] == [200] * 3
    refused = await limited.post(user="lgy")
    assert refused.status_code == 429
    assert refused.json() == {
        "error": {
            "message": "user: lgy has exceeded RPM: 3",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers["x-error-rpm-exceeded"] == "true"
    assert 1 <= int(refused.headers["retry-after"]) <= 59
    assert 1 <= int(refused.headers["retry-after-ms"]) <= 59_000


async def test_exactly_n_of_many_concurrent_requests_pass(limited: Gateway):
    await limited.create_user("burst", rpm=10)
    answers = await asyncio.gather(*(limited.post(user="burst") for _ in range(40)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (10, 30)


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_charged_and_then_refused(limited: Gateway, stream: bool):
    name = f"tokens-{stream}"
    await limited.create_user(name, rpm=1000, tpm=20)
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 20,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    assert (await limited.post(body, user=name)).status_code == 200
    deadline = time.monotonic() + 10
    while (answer := await limited.post(body, user=name)).status_code == 200:
        assert time.monotonic() < deadline, "the tokens were never charged"
    assert answer.status_code == 429
    assert answer.json()["error"]["message"] == f"user: {name} has exceeded TPM: 20"
    assert answer.headers["x-error-tpm-exceeded"] == "true"


async def test_who_is_unknown_is_told_so(limited: Gateway):
    answer = await limited.post(user="nobody")
    assert (answer.status_code, answer.headers["x-error-user"]) == (401, "true")
    assert answer.json()["error"]["message"] == "user: nobody does not exist"


async def test_without_a_user_nothing_is_limited(limited: Gateway):
    answers = await asyncio.gather(*(limited.post() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_what_is_left_is_told(limited: Gateway):
    await limited.create_user("told", rpm=5, tpm=1000)
    answer = await limited.post(user="told")
    assert answer.headers["x-ratelimit-limit-requests"] == "5"
    assert answer.headers["x-ratelimit-remaining-requests"] == "4"
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    assert 0 < int(answer.headers["x-ratelimit-remaining-tokens"]) < 1000


async def test_the_lines_that_aibrix_users_type(limited: Gateway):
    async def call(verb: str, **body: object) -> int:
        return (await limited.http.post(f"{limited.stack.api_url}/{verb}", json=body)).status_code

    assert await call("CreateUser", name="typed", rpm=100, tpm=1000) == 200
    assert await call("ReadUser", name="typed") == 200
    assert await call("UpdateUser", name="typed", rpm=3, tpm=1000) == 200
    sent = {"model": "m", "messages": [{"role": "user", "content": "Say this is a test!"}], "temperature": 0.7}
    assert [(await limited.post(sent, user="typed")).status_code for _ in range(4)] == [200, 200, 200, 429]


async def test_a_stream_is_charged_although_its_client_did_not_ask_for_usage(limited: Gateway):
    await limited.create_user("streaming", rpm=1000, tpm=100_000)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "ignore_eos": True}
    answer = await limited.post(body | {"stream": True}, user="streaming")
    assert (answer.text.count("chat.completion.chunk"), "usage" in answer.text) == (51, False), "as without a user"
    reserved = int(answer.headers["x-ratelimit-remaining-tokens"])
    deadline = time.monotonic() + 10
    while True:
        left = int(
            (await limited.post(body | {"max_tokens": 1}, user="streaming")).headers["x-ratelimit-remaining-tokens"]
        )
        if left < reserved - 1 or time.monotonic() > deadline:
            break
    assert left < reserved - 1


async def test_a_burst_cannot_pass_a_token_limit(limited: Gateway):
    await limited.create_user("burst-tokens", rpm=1000, tpm=300)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 90, "ignore_eos": True}
    answers = await asyncio.gather(*(limited.post(body, user="burst-tokens") for _ in range(20)))
    passed = [answer for answer in answers if answer.status_code == 200]
    assert 1 <= len(passed) <= 3, "each reserves about a hundred tokens"


async def test_small_requests_with_a_large_ceiling_all_pass(limited: Gateway):
    await limited.create_user("agent", rpm=1000, tpm=10_000)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 32_000}
    for _ in range(10):
        answer = await limited.post(body, user="agent")
        assert answer.status_code == 200, answer.text
        await asyncio.sleep(0.3)

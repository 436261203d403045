"""A client's request id is kept, and every answer carries it, whoever answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from openai import AsyncOpenAI, BadRequestError

from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

CHAT = "/v1/chat/completions"


async def ids(
    gateway: Gateway, request_id: str, *, method: str = "POST", path: str = CHAT, model: str = "m", user: str = ""
) -> tuple[int, str, str]:
    named = {"x-request-id": request_id, "user": user}
    answer = await gateway.http.request(
        method,
        gateway.stack.gateway_url + path,
        headers={name: value for name, value in named.items() if value},
        json=BODY | {"model": model} if method == "POST" else None,
    )
    return answer.status_code, answer.headers["x-request-id"], answer.headers["request-id"]


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (200, {}),
        (200, {"method": "GET", "path": "/v1/models"}),
        (400, {"model": "nosuch"}),
        (401, {"user": "nosuch"}),
        (404, {"method": "GET", "path": "/nowhere"}),
        (404, {"method": "GET", "path": "/v1/models/nosuch"}),
    ],
)
async def test_a_clients_id_comes_back(memory_gateway: Gateway, status: int, changes: dict[str, str]):
    own = "req_0f3a.B:9/x+y=@z-1"
    assert await ids(memory_gateway, own, **changes) == (status, own, own)


@pytest.mark.parametrize("own", ["", "a b", "x" * 129, 'a"b', "a,b"])
async def test_one_that_is_not_well_formed_is_replaced(memory_gateway: Gateway, own: str):
    for model in ("m", "nosuch"):
        _, first, second = await ids(memory_gateway, own, model=model)
        assert first == second != own
        assert len(first) <= 64


async def test_the_engine_hears_the_same_id(memory_gateway: Gateway):
    answer = await memory_gateway.post(x_request_id="mine-1")
    seen = await memory_gateway.last_headers(answer.headers["x-inference-pod"])
    assert seen["x-request-id"] == "mine-1" == answer.headers["x-request-id"]


async def test_the_sdks_know_it(memory_gateway: Gateway):
    url = memory_gateway.stack.gateway_url
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        completion = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], extra_headers={"x-request-id": "mine-2"}
        )
        assert completion._request_id == "mine-2"
        with pytest.raises(BadRequestError) as raised:
            await client.chat.completions.create(model="nosuch", messages=[{"role": "user", "content": "hi"}])
        assert raised.value.request_id


async def test_envoys_own_answers_carry_it(memory_gateway: Gateway):
    reader, writer = await asyncio.open_connection("127.0.0.1", memory_gateway.stack.ports.gateway)
    answered = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\nx-request-id: mine-3\r\n"
    writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    while not answered.done():
        writer.write(chunk)
        await asyncio.wait([answered], timeout=0.02)
    writer.close()
    answer = (await answered).decode().lower()
    assert answer.startswith("http/1.1 413"), answer
    assert "\r\nx-request-id: mine-3\r\n" in answer
    assert "\r\nrequest-id: mine-3\r\n" in answer

"""Headers that decide something, sent in every way that HTTP has: nobody becomes somebody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from multidict import MultiDict

from gateway_plugin.tools.chain.stack import StackOptions
from tests.h2_client import H2Client
from tests.integration.chain.conftest import BODY

if TYPE_CHECKING:
    import httpx

    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

CHAT = "/v1/chat/completions"
DECIDING = ("user", "model", "routing-strategy", "config-profile", "external-filter", "x-api-key", "api-key")
ENVIRONMENT = {"GATEWAY_API_KEYS": "true", "GATEWAY_DEFAULT_RPM": "1000"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(open_gateway: OpenGateway) -> AsyncIterator[Gateway]:
    """Limits in memory; headers and keys are proofs."""
    options = StackOptions({"m": 1, "other": 1}, redis=False, speed=20, plugin_environment=ENVIRONMENT)
    async with open_gateway(options) as gateway:
        for name in ("lgy", "kim", "lgy,kim", "lgy, kim"):
            await gateway.create_user(name, rpm=1000)
        yield gateway


async def post(gateway: Gateway, *headers: tuple[str, str]) -> httpx.Response:
    return await gateway.http.post(gateway.stack.gateway_url + CHAT, json=BODY, headers=list(headers))


async def raw(gateway: Gateway, head: str, body: bytes = b"") -> str:
    """The status line and headers that a request of these very bytes is answered with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.stack.ports.gateway)
    try:
        writer.write(head.replace("\n", "\r\n").encode() + body)
        await writer.drain()
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().lower()
    finally:
        writer.close()


@pytest.mark.parametrize("name", DECIDING)
async def test_what_decides_must_not_be_said_twice(opened: Gateway, name: str):
    values = {"model": "m", "routing-strategy": "random", "user": "lgy"}
    for first, second in ((values.get(name, "a"), values.get(name, "b")), ("", values.get(name, "a"))):
        answer = await post(opened, (name, first), (name.upper(), second))
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == name


async def test_two_users_are_no_third(opened: Gateway):
    """Of `user: lgy` and `user: kim` no proxy makes the user "lgy,kim", who exists."""
    answer = await post(opened, ("user", "lgy"), ("user", "kim"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "user")
    assert (await post(opened, ("user", "lgy,kim"))).status_code == 200, "who is called so asks as before"


async def test_names_with_underscores_are_refused(opened: Gateway):
    for name in ("target_pod", "user_", "x_api_key", "routing_strategy"):
        assert (await post(opened, (name, "a"))).status_code == 400


@pytest.mark.parametrize("name", ["Target-Pod", "TARGET-POD-IP", "Request-Id", "X-Went-Into-Req-Headers"])
async def test_upper_case_is_no_way_around(opened: Gateway, name: str):
    (port,) = opened.stack.ports.pods["other"]
    answer = await post(opened, (name, f"127.0.0.1:{port}"), ("USER", "lgy"))
    assert answer.status_code == 200, answer.text
    pod = answer.headers["target-pod"]
    assert pod.startswith("m-")
    assert str(port) not in (await opened.last_headers(pod)).get(name.lower(), "")


@pytest.mark.parametrize(
    "name",
    [
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-retry-on",
        "x-envoy-max-retries",
        "x-envoy-original-path",
        "x-envoy-expected-rq-timeout-ms",
    ],
)
async def test_envoys_own_headers_are_not_taken_from_clients(opened: Gateway, name: str):
    answer = await post(opened, (name, "1"), ("x-forwarded-for", "127.0.0.1"))
    assert answer.status_code == 200, answer.text
    assert (await opened.last_headers(answer.headers["target-pod"])).get(name) != "1"


async def test_trailers_say_nothing(opened: Gateway):
    head = f"POST {CHAT} HTTP/1.1\nhost: g\nuser: lgy\ncontent-type: application/json\ntransfer-encoding: chunked\n"
    head += "connection: close\ntrailer: user, target-pod\n\n"
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":2}'
    (port,) = opened.stack.ports.pods["other"]
    trailers = f"0\r\nuser: nobody\r\ntarget-pod: 127.0.0.1:{port}\r\nmodel: other\r\n\r\n".encode()
    answer = await raw(opened, head, b"%x\r\n%s\r\n" % (len(body), body) + trailers)
    assert answer.startswith("http/1.1 200"), answer
    assert "target-pod: m-0" in answer
    seen = await opened.last_headers("m-0")
    assert seen["user"] == "lgy"
    assert str(port) not in str(seen.get("target-pod"))


@pytest.mark.parametrize("line", ["user: lgy\n : kim", "user: lgy\n kim", "user : lgy", "us er: lgy", "user\x00: lgy"])
async def test_folded_and_broken_lines_are_refused(opened: Gateway, line: str):
    head = f"POST {CHAT} HTTP/1.1\nhost: g\n{line}\ncontent-length: 0\nconnection: close\n\n"
    answer = await raw(opened, head)
    # Envoy unfolds a line into one value, which is then the name of nobody; whatever else is broken is its 400.
    assert answer.startswith("http/1.1 401" if "\n " in line else "http/1.1 400"), answer


async def test_spaces_around_a_name_are_not_part_of_it(opened: Gateway):
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":1}'
    head = f"POST {CHAT} HTTP/1.1\nhost: g\nuser:  lgy\t \ncontent-type: application/json\nconnection: close\n"
    answer = await raw(opened, f"{head}content-length: {len(body)}\n\n", body)
    assert answer.startswith("http/1.1 200"), answer


async def test_two_keys_are_none(opened: Gateway):
    """Envoy makes one `authorization` of two."""
    answer = await post(opened, ("authorization", "Bearer gw-a"), ("authorization", "Bearer gw-b"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    answer = await post(opened, ("authorization", "Bearer gw-a"), ("x-api-key", "gw-b"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_name_that_reads_like_a_source_is_a_user_who_must_exist(opened: Gateway):
    for name in ("anonymous/x", "anonymous/127.0.0.1", "127.0.0.1", "gateway-sources/127.0.0.1"):
        answer = await post(opened, ("user", name))
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_user")


async def http2(
    gateway: Gateway, *headers: tuple[str, str], trailers: tuple[tuple[str, str], ...] = ()
) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer over HTTP/2, whose frames carry whatever they are given; 0: a reset stream."""
    client = await H2Client.connect(gateway.stack.ports.gateway)
    try:
        stream = client.begin(CHAT, MultiDict(headers))
        client.send(stream, json.dumps(BODY).encode(), end=not trailers)
        if trailers:
            client.trailers(stream, trailers)
        answer = await client.answer(stream)
        return answer.status, answer.headers
    finally:
        await client.close()


async def test_over_http2_it_is_the_same(opened: Gateway):
    assert (await http2(opened, ("user", "lgy"), ("user", "kim")))[0] == 400
    assert (await http2(opened, ("model", "m"), ("model", "other")))[0] == 400
    status, answered = await http2(opened, ("user", "lgy"), trailers=(("user", "kim"), ("target-pod", "127.0.0.1:1")))
    assert (status, answered["target-pod"]) == (200, "m-0")
    assert (await opened.last_headers("m-0"))["user"] == "lgy"
    for name in ("Target-Pod", "USER", "target_pod"):
        assert (await http2(opened, (name, "kim")))[0] in (0, 400), "refused, or the stream is reset"

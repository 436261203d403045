"""Clients that make us wait: each wait has a deadline, a clear answer where one can still be given, and leaves nothing
behind in the plugin."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.h2_client import H2Client
from tests.integration.envoy_config.test_chain_errors import error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.envoy_config.conftest import Chain

pytestmark = pytest.mark.envoy

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"


def port_of(chain: Chain) -> int:
    return chain.config.ports.listener


@asynccontextmanager
async def connected(chain: Chain) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(chain))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def h2(chain: Chain) -> AsyncIterator[H2Client]:
    client = await H2Client.connect(port_of(chain))
    try:
        yield client
    finally:
        await client.close()


async def everything(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Until the end of the connection."""
    text = await asyncio.wait_for(reader.read(), 10)
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


async def until_nothing_is_left(chain: Chain) -> None:
    async def is_idle() -> bool:
        return chain.plugin.open_exchanges == 0

    await chain.until(is_idle)


async def test_a_body_that_does_not_end(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, upload_seconds=0.5)
    async with connected(chain) as (reader, writer):
        writer.write(POST + b'content-length: 100\r\n\r\n{"model"')
        status, headers, body = await everything(reader)
    assert (status, error_of(headers, body)) == (408, ("invalid_request_error", "request_timeout"))
    await until_nothing_is_left(chain)
    assert pod.seen == []


async def test_a_body_that_does_not_end_over_http2(chain: Chain) -> None:
    await chain.start(upload_seconds=0.5)
    async with h2(chain) as client:
        streams = [client.begin() for _ in range(20)]
        for stream_id in streams:
            client.send(stream_id, b'{"model"')
        for stream_id in streams:
            answer = await client.answer(stream_id)
            assert (answer.status, error_of(answer.headers, answer.body)) == (
                408,
                ("invalid_request_error", "request_timeout"),
            )
        assert not client.closed, "other requests of the connection are not concerned"
    await until_nothing_is_left(chain)


async def test_a_slow_body_passes_within_the_time(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, upload_seconds=5)
    async with connected(chain) as (reader, writer):
        writer.write(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in (b'{"model"', b": ", b'"x"}'):
            await asyncio.sleep(0.05)
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        status, _, body = await everything(reader)
    assert (status, json.loads(body)["served_by"]) == (200, pod.address)


async def test_headers_that_do_not_end(chain: Chain) -> None:
    await chain.start(header_seconds=0.3)
    async with connected(chain) as (reader, writer):
        writer.write(POST)
        text = await asyncio.wait_for(reader.read(), 10)
    assert text == b"" or text.startswith(b"HTTP/1.1 408")
    assert chain.plugin.seen == []


async def test_a_connection_may_open_so_many_requests(chain: Chain) -> None:
    await chain.start(max_streams_per_connection=3, upload_seconds=1)
    async with h2(chain) as client:
        streams = [client.begin() for _ in range(5)]
        await client.flush()
        for stream_id in streams[3:]:
            answer = await client.answer(stream_id)
            assert answer.reset_code is not None or client.closed
    await until_nothing_is_left(chain)


async def test_so_many_connections(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, max_connections=3)
    async with connected(chain), connected(chain), connected(chain) as (_, third):
        await asyncio.sleep(0.1)
        async with connected(chain) as (reader, writer):
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        third.transport.abort()
        await asyncio.sleep(0.1)
        assert (await chain.chat())[0] == 200


async def test_a_client_that_resets_while_it_uploads_leaves_nothing(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    async with h2(chain) as client:
        streams = [client.begin() for _ in range(20)]
        for stream_id in streams:
            client.send(stream_id, b'{"model"')
        await client.flush()

        async def all_seen() -> bool:
            return len(chain.plugin.seen) == len(streams)

        await chain.until(all_seen)
        for stream_id in streams:
            client.reset(stream_id)
        await client.flush()
        await until_nothing_is_left(chain)
        last = client.begin()
        client.send(last, b"{}", end=True)
        assert (await client.answer(last)).status == 200
    assert len(pod.seen) == 1


async def resets_until_it_ends(client: H2Client) -> None:
    async with asyncio.timeout(10):
        while not client.closed:
            for _ in range(50):
                client.reset(client.begin())
            await client.flush()
            await asyncio.sleep(0.01)


async def test_requests_that_are_reset_at_once_end_their_connection(chain: Chain) -> None:
    await chain.start()
    async with h2(chain) as client:
        # Who writes on may meet the end before having read of it.
        with contextlib.suppress(ConnectionError):
            await resets_until_it_ends(client)
    await until_nothing_is_left(chain)
    async with chain.client.get("/healthz") as answer:
        assert answer.status == 200


async def test_a_client_that_asks_before_it_sends(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    async with connected(chain) as (reader, writer):
        writer.write(POST + b"connection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100")
        writer.write(b"{}")
        assert (await everything(reader))[0] == 200


async def test_headers_that_are_too_large(chain: Chain) -> None:
    await chain.start()
    async with connected(chain) as (reader, writer):
        writer.write(POST + b"x-long: " + b"x" * 70_000 + b"\r\n\r\n")
        assert (await everything(reader))[0] == 431
    async with h2(chain) as client:
        # In CONTINUATION frames it would be the same; one frame may be this long.
        stream_id = client.begin(headers={f"x-{i}": "x" * 100 for i in range(120)}, end=True)
        answer = await client.answer(stream_id)
        assert answer.status in (0, 431)
    assert chain.plugin.seen == []


async def test_an_engine_may_think_longer_than_anything_else_may_last(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, upload_seconds=0.3, header_seconds=0.3, idle_timeout_seconds=5)
    pod.think_seconds = 1.0
    status, _, body = await chain.chat()
    assert (status, json.loads(body)["served_by"]) == (200, pod.address)


async def test_silence_ends_when_it_is_too_long(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, idle_timeout_seconds=0.3)
    pod.think_seconds = 5.0
    status, headers, body = await chain.chat()
    assert (status, error_of(headers, body)) == (504, ("api_error", "timeout"))
    await until_nothing_is_left(chain)


async def test_one_address_may_ask_so_often_and_its_neighbours_do_not_notice(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, max_requests_per_second=5)
    async with await _from(chain, "127.0.0.2") as flood, await _from(chain, "127.0.0.3") as neighbour:
        answers = await asyncio.gather(*(_chat(flood) for _ in range(50)))
        status, _, _ = await _chat(neighbour)
        assert status == 200
        listed = await asyncio.gather(*(_models(flood) for _ in range(20)))
        assert 1 <= len(listed) - listed.count(429) < 10, "a tenth of it, as it costs more"
        listed.append(await _models(neighbour))
        assert listed[-1] != 429
    refused = [answer for answer in answers if answer[0] != 200]
    at_once = 10 if chain.flavour == "standalone" else 5
    assert at_once <= len(answers) - len(refused) < 50, "one or two seconds' worth at once, and five more a second"
    for status, headers, text in refused:
        assert (status, headers["retry-after"], json.loads(text)["error"]["type"]) == (429, "1", "rate_limit_error")
        assert headers["x-request-id"]
    let_in = len(answers) - len(refused) + 1 + len(listed) - listed.count(429)
    assert len(chain.plugin.seen) == let_in, "whatever was refused asked nobody"


async def _from(chain: Chain, address: str) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    return aiohttp.ClientSession(chain.url, connector=connector, timeout=aiohttp.ClientTimeout(total=10))


async def _chat(session: aiohttp.ClientSession) -> tuple[int, dict[str, str], bytes]:
    async with session.post("/v1/chat/completions", json={"model": "x"}) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()


async def _models(session: aiohttp.ClientSession) -> int:
    async with session.get("/v1/models") as answer:
        return answer.status

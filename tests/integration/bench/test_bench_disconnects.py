"""Servers that are gone, hang, cut off or answer nonsense; and the one who measures going away. All is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway_plugin.tools.bench.answers import BAD_ANSWER, CUT_OFF, ERROR_IN_STREAM
from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.generator import HOPELESS
from gateway_plugin.tools.bench.load_client import CANNOT_CONNECT
from gateway_plugin.tools.bench.probe import BenchError, probe
from gateway_plugin.tools.bench.raw_http import CONNECTION_LOST
from gateway_plugin.tools.bench.sample import TIMEOUT, UNFINISHED
from gateway_plugin.tools.bench.tally import HOPELESS_AFTER
from gateway_plugin.tools.chain.ports import free_port
from tests.integration.bench.conftest import Bench

ONE = [Ask(0.0, 10, 20)]
MANY = [Ask(0.005 * number, 10, 20) for number in range(HOPELESS_AFTER + 20)]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CONTENT = chunk(b'data: {"choices": [{"delta": {"content": "one"}}]}\n\n')
END = b"0\r\n\r\n"


@asynccontextmanager
async def answering(data: bytes) -> AsyncIterator[str]:
    """A server that writes the same bytes to everyone, and closes; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port := free_port())
    async with server:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("data", "trouble", "has_content"),
    [
        (b"", CONNECTION_LOST, False),
        (HEAD, CONNECTION_LOST, False),
        (HEAD + CONTENT, CONNECTION_LOST, True),
        (HEAD + CONTENT + END, CUT_OFF, True),
        (HEAD + CONTENT + chunk(b'data: {"error": {"message": "no memory"}}\n\n') + END, ERROR_IN_STREAM, True),
        (HEAD + chunk(b"data: <html>\n\n") + END, BAD_ANSWER, False),
        (b"220 smtp.example ESMTP\r\n\r\n", "not HTTP", False),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", "503", False),
        (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "302", False),
    ],
)
async def test_broken_answers(bench: Bench, data: bytes, trouble: str, has_content: bool) -> None:
    async with answering(data) as url:
        bench.change(base_url=url)
        tally = await bench.run(ONE)
    assert tally.troubles == {trouble: 1}, tally.messages
    assert tally.messages[trouble]
    assert (tally.samples[0].first_seconds is not None) == has_content
    assert tally.first.count == 0, "the live view, too, counts it as failed"


async def test_a_pod_that_cuts_its_streams(bench: Bench) -> None:
    await bench.break_pod(cut_after_tokens=5)
    tally = await bench.run(ONE)
    assert tally.troubles == {CONNECTION_LOST: 1}
    assert tally.samples[0].output_tokens == 5


async def test_nobody_listens(bench: Bench) -> None:
    bench.change(base_url=f"http://127.0.0.1:{free_port()}")
    tally = await bench.run(MANY)
    assert tally.stopped == HOPELESS
    assert tally.troubles[CANNOT_CONNECT] >= HOPELESS_AFTER
    assert tally.messages[CANNOT_CONNECT] == "Connection refused"


async def test_a_pod_that_hangs_delays_no_request(bench: Bench) -> None:
    await bench.break_pod(hang=True)
    bench.change(timeout_seconds=1.0)
    tally = await bench.run(MANY)
    assert tally.sent == len(MANY), "all were sent before the first one had failed"
    assert tally.troubles == {TIMEOUT: HOPELESS_AFTER} or tally.troubles[TIMEOUT] > HOPELESS_AFTER
    assert all(sample.trouble in {TIMEOUT, UNFINISHED} for sample in tally.samples)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_timeout_amid_an_answer(bench: Bench, stream: bool) -> None:
    bench.change(timeout_seconds=0.3, stream=stream)
    tally = await bench.run([Ask(0.0, 10, 30_000)])
    assert tally.troubles == {TIMEOUT: 1}
    assert (tally.samples[0].first_seconds is not None) == stream
    assert tally.samples[0].total_seconds >= 0.3


async def test_stopped_by_hand(bench: Bench) -> None:
    generator = bench.generator()

    async def stop() -> None:
        while not generator.tally.ended:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        generator.stop("by hand")

    async with asyncio.TaskGroup() as group:
        group.create_task(stop())
        await generator.open_loop([Ask(0.0, 10, 2), Ask(0.0, 10, 30_000), Ask(900.0, 10, 2)])
    short, long = generator.tally.samples
    assert short.ok
    assert long.trouble == UNFINISHED
    assert long.first_seconds is not None, "what was seen of it stays"
    assert long.total_seconds > short.total_seconds
    assert generator.tally.in_flight == 0
    async with asyncio.timeout(10):
        while bench.pod.engine.running:  # noqa: ASYNC110 - the pod tells nobody
            await asyncio.sleep(0.01)


async def test_first_requests_that_may_get_better(bench: Bench) -> None:
    await bench.break_pod(status=503, times=1)
    assert await probe(bench.target, ["", ""], "") == ["a first request failed: 503: a fault was asked for"]
    bench.change(timeout_seconds=0.2)
    await bench.break_pod(hang=True)
    assert await probe(bench.target, [""], "") == ["a first request failed: timeout: not answered within 0.2 s"]


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "give a valid --api-key or .BENCH_API_KEY; create the users"), (400, "answers 400: .*with --strategy best")],
)
async def test_first_requests_that_say_what_is_wrong(bench: Bench, status: int, says: str) -> None:
    await bench.break_pod(status=status)
    with pytest.raises(BenchError, match=says):
        await probe(bench.target, ["best"], "bench-0")


async def test_a_model_that_is_not_there(bench: Bench) -> None:
    bench.change(model="other")
    with pytest.raises(BenchError, match=r"does not serve --model other; it serves: m$"):
        await probe(bench.target, [""], "")


async def test_a_server_that_is_not_there(bench: Bench) -> None:
    bench.change(base_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BenchError, match=r"cannot be used \(cannot connect\): Connection refused"):
        await probe(bench.target, [""], "")

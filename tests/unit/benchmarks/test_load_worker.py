"""The load's process, against a server that answers well, badly, late, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import Load, LoadError, LoadProcess, Outcome

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


async def send(answer: Answer, load: dict[str, object]) -> tuple[Outcome, list[bytes]]:
    """What came of it, and the bodies that the server saw."""
    bodies: list[bytes] = []
    async with serving(answer, bodies) as port, LoadProcess() as process:
        return await process.run(Load(port, **load)), bodies  # type: ignore[arg-type]


@asynccontextmanager
async def serving(answer: Answer, bodies: list[bytes]) -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
                bodies.append(await reader.readexactly(length))
                await answer(writer, len(bodies))

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def well(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_answers_are_counted_and_timed() -> None:
    outcome, bodies = await send(well, {"requests": 20, "concurrency": 4, "body_bytes": 5000})
    assert (outcome.completed, outcome.errors, outcome.timeouts) == (20, {}, 0)
    assert len(outcome.ttfb_ms) == len(outcome.ended_at) == 20
    assert {len(body) for body in bodies} == {5000}


async def test_every_other_answer_is_an_error() -> None:
    async def sometimes(writer: asyncio.StreamWriter, number: int) -> None:
        if number % 2:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        else:
            await well(writer, number)

    outcome, _ = await send(sometimes, {"requests": 10, "concurrency": 1})
    assert (outcome.completed, outcome.errors) == (5, {"503": 5})
    assert len(outcome.failed_at) == 5


async def test_a_connection_that_breaks_is_an_error() -> None:
    async def breaks(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.transport.abort()

    outcome, _ = await send(breaks, {"requests": 3, "concurrency": 1})
    assert (outcome.completed, outcome.errors) == (0, {"connection lost": 3})


async def test_a_late_answer_is_a_timeout() -> None:
    async def never(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(5)

    outcome, _ = await send(never, {"requests": 2, "concurrency": 2, "timeout_seconds": 0.2})
    assert (outcome.completed, outcome.errors, outcome.timeouts, len(outcome.failed_at)) == (0, {}, 2, 2)


async def test_a_stream_ends_with_its_last_chunk() -> None:
    async def stream(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            writer.write(b"8\r\ndata: x\n\r\n")
            await asyncio.sleep(0.01)
        writer.write(b"6\r\n[DONE]\r\n0\r\n\r\n")

    outcome, _ = await send(stream, {"requests": 2, "concurrency": 1, "stream": True})
    assert (outcome.completed, outcome.frames_per_stream) == (2, 3)


async def test_one_process_sends_many_loads() -> None:
    async with serving(well, []) as port, LoadProcess() as process:
        for requests in (3, 1):
            assert (await process.run(Load(port, requests=requests, rate_per_second=100))).completed == requests


async def test_a_process_that_ends_is_an_error_and_not_a_wait() -> None:
    async with LoadProcess() as process:
        with pytest.raises(LoadError, match="ended"):
            await process.run(Load(1, requests="many"))  # type: ignore[arg-type]


async def test_a_stream_that_ends_without_its_last_event_is_a_failure() -> None:
    async def stream(writer: asyncio.StreamWriter, number: int) -> None:
        end = b"" if number % 2 else b"6\r\n[DONE]\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\ndata: x\r\n" + end + b"0\r\n\r\n")

    outcome, _ = await send(stream, {"requests": 6, "concurrency": 1, "stream": True})
    assert (outcome.completed, outcome.errors) == (3, {"cut stream": 3})


async def test_as_many_prompts_as_asked_for() -> None:
    _, bodies = await send(well, {"requests": 50, "concurrency": 1, "body_bytes": 500, "prompts": 40})
    assert len(set(bodies)) == 40

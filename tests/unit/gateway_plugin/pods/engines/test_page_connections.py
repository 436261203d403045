"""Pages over kept connections, from servers that behave and from those that do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway_plugin.pods.engines.fetch import FetchOutcome, ScrapeError, http_fetch
from gateway_plugin.pods.engines.page_connections import KEEP_SECONDS, EnginePage, PageConnections, PageTooLarge

HOST = "127.0.0.1"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
PATIENT_SECONDS = 10.0


class Engine:
    """Answers each request with the next of its answers; an empty one closes the connection."""

    def __init__(self, *answers: bytes, then_close: bool = False) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.connections = 0
        self.gone = 0
        self._then_close = then_close
        self.left = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                writer.write(answer)
                await writer.drain()
                if self._then_close or not answer:
                    break
        self.gone += 1
        self.left.set()
        writer.close()

    async def until_gone(self, count: int) -> None:
        async with asyncio.timeout(PATIENT_SECONDS):
            while self.gone < count:
                self.left.clear()
                await self.left.wait()


@contextlib.asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    server = await asyncio.start_server(engine.serve, HOST, 0)
    engine.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/metrics"
    try:
        yield engine
    finally:
        server.close()
        for writer in engine.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await engine.until_gone(len(engine.writers))


async def test_a_connection_is_kept_from_page_to_page() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE)) as engine:
        for _ in range(3):
            assert await pages.get(engine.url) == EnginePage(200, b"hello")
        assert engine.connections == 1
        pages.close()
        await engine.until_gone(1)


async def test_each_of_several_at_once_has_its_own_connection() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE)) as engine:
        answers = await asyncio.gather(*(pages.get(engine.url) for _ in range(4)))
        assert answers == [EnginePage(200, b"hello")] * 4
        assert engine.connections == 4
        pages.close()


async def test_one_that_was_closed_while_idle_is_replaced() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE, then_close=True)) as engine:
        for count in (1, 2, 3):
            assert (await pages.get(engine.url)).body == b"hello"
            assert engine.connections == count
        pages.close()


async def test_one_that_closes_instead_of_answering_is_asked_once_more_only_if_it_was_kept() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE, b"", WHOLE)) as engine:
        assert (await pages.get(engine.url)).body == b"hello"
        assert (await pages.get(engine.url)).body == b"hello"
        assert engine.connections == 2
        pages.close()
    async with running(Engine(b"")) as engine:
        with pytest.raises(ConnectionError):
            await pages.get(engine.url)
        assert engine.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE,
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
    ids=["chunked", "after a 100", "to the connection's end"],
)
async def test_every_framing_is_read(answer: bytes) -> None:
    pages = PageConnections(100)
    async with running(Engine(answer, then_close=True)) as engine:
        assert await pages.get(engine.url) == EnginePage(200, b"hello")
    pages.close()


async def test_half_an_answer_is_an_error() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE[:-2], then_close=True)) as engine:
        with pytest.raises(ConnectionError):
            await pages.get(engine.url)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 64,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
    ids=["length", "chunks", "headers"],
)
async def test_more_than_was_wanted_is_not_taken(answer: bytes) -> None:
    pages = PageConnections(100)
    async with running(Engine(answer)) as engine:
        with pytest.raises(PageTooLarge):
            await pages.get(engine.url)
        await engine.until_gone(1)


async def test_who_speaks_unasked_is_not_asked_again_on_that_connection() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", WHOLE)) as engine:
        assert (await pages.get(engine.url)).body == b"hello"
        assert (await pages.get(engine.url)).body == b"hello"
        pages.close()


async def test_idle_connections_go_when_others_are_kept() -> None:
    now = 0.0
    pages = PageConnections(100, lambda: now)
    async with running(Engine(WHOLE)) as gone, running(Engine(WHOLE)) as other:
        await pages.get(gone.url)
        now = KEEP_SECONDS + 1.0
        await pages.get(other.url)
        await gone.until_gone(1)
        assert other.gone == 0
        pages.close()


@pytest.mark.parametrize(
    "url", ["http://a b/", "http://a\r\nx: y/", "ftp://a/", "http:///x", "http://a:x/", "http://a@b/"]
)
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        await PageConnections(100).get(url)


async def test_a_key_goes_along_and_says_nothing_else() -> None:
    pages = PageConnections(100)
    async with running(Engine(WHOLE)) as engine:
        await pages.get(engine.url, "secret")
        assert b"\r\nAuthorization: Bearer secret\r\n" in engine.heads[0]
        with pytest.raises(ValueError, match="URL"):
            await pages.get(engine.url, "secret\r\nx: y")
        pages.close()


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (b"HTTP/1.1 503 no\r\ncontent-length: 9\r\n\r\n", FetchOutcome.BAD_STATUS, 503),
        (b"HTTP/1.1 302 go\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", FetchOutcome.BAD_STATUS, 302),
        (b"SSH-2.0-OpenSSH\r\n\r\n", FetchOutcome.REFUSED, 0),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n" + b"x" * 4000, FetchOutcome.TOO_LARGE, 200),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", FetchOutcome.TIMEOUT, 0),
    ],
)
async def test_a_fetch_says_what_went_wrong(answer: bytes, outcome: FetchOutcome, status: int) -> None:
    timeout = 0.3 if outcome is FetchOutcome.TIMEOUT else PATIENT_SECONDS
    async with running(Engine(answer)) as engine, http_fetch(timeout, 4, 1000) as fetch:
        with pytest.raises(ScrapeError) as raised:
            await fetch(engine.url)
    assert (raised.value.outcome, raised.value.status) == (outcome, status)


async def test_nobody_there_is_refused() -> None:
    async with running(Engine(WHOLE)) as engine:
        url = engine.url
    async with http_fetch(PATIENT_SECONDS, 4, 1000) as fetch:
        with pytest.raises(ScrapeError) as raised:
            await fetch(url)
    assert raised.value.outcome is FetchOutcome.REFUSED

"""Sends one request and fills in its sample. Whatever goes wrong becomes a kind of failure, with one message."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from gateway_plugin.tools.bench.answers import BAD_ANSWER, StreamReading, error_message, read_whole
from gateway_plugin.tools.bench.raw_http import NOT_HTTP, Connections, request_bytes, why_not_connected
from gateway_plugin.tools.bench.sample import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.tools.bench.answers import AnswerUsage
    from gateway_plugin.tools.bench.raw_http import Connection
    from gateway_plugin.tools.bench.sample import Sample
    from gateway_plugin.tools.bench.target import BenchTarget

MAX_ERROR_BYTES = 4096
POD_HEADERS = (b"target-pod", b"x-inference-pod", b"target-pod-ip")
"""Who served, by name if it is known: of this gateway, of the simulator, of AIBrix's plugin."""
CANNOT_CONNECT, CERTIFICATE = "cannot connect", "certificate"
_MESSAGES = {NOT_HTTP: "what was answered is not HTTP"}


class Client:
    """Sends to one target; needs a running loop."""

    def __init__(self, target: BenchTarget, clock: Callable[[], float]) -> None:
        self.target = target
        self._clock = clock
        self._connections = Connections(target.base_url, clock)

    def close(self) -> None:
        """Its kept connections."""
        self._connections.close()

    async def send(self, sample: Sample, body: bytes, headers: Mapping[str, str]) -> list[float]:
        """Until the answer is whole, failed or given up; gives the times between contents, in seconds.

        Cancelled, it leaves the sample as unfinished, with what was known by then.
        """
        sent_seconds = self._clock()
        reading = StreamReading()
        try:
            async with asyncio.timeout(self.target.timeout_seconds):
                await self._exchange(sample, request_bytes("POST", self.target.url, headers, body), reading)
        except TimeoutError:
            sample.trouble = TIMEOUT
            sample.message = f"not answered within {self.target.timeout_seconds:g} s"
        except OSError as error:
            sample.trouble = CERTIFICATE if isinstance(error, ssl.SSLCertVerificationError) else CANNOT_CONNECT
            sample.message = str(error) if isinstance(error, ssl.SSLError) else why_not_connected(error)
        finally:
            sample.total_seconds = self._clock() - sent_seconds
            _take_times(sample, reading, sent_seconds)
        return reading.gaps_seconds

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a page; raises OSError."""
        pieces: list[bytes] = []
        connection = await self._connections.take()
        request = request_bytes("GET", self.target.base_url + path, self.target.headers)
        try:
            trouble = await connection.ask(request, pieces.append)
        finally:
            self._connections.give_back(connection)
        if trouble:
            raise ConnectionError(trouble)
        return connection.status, b"".join(pieces)

    async def _exchange(self, sample: Sample, request: bytes, reading: StreamReading) -> None:
        connection = await self._connections.take()
        pieces: list[bytes] = []

        def take(data: bytes) -> None:
            if self.target.stream and connection.status == 200:
                reading.feed(data, connection.read_seconds)
            else:
                pieces.append(data)

        try:
            trouble = await connection.ask(request, take)
        finally:
            _take_head(sample, connection)
            self._connections.give_back(connection)
        if trouble:
            sample.trouble, sample.message = trouble, _MESSAGES.get(trouble, trouble)
        elif sample.status != 200:
            sample.trouble = str(sample.status)
            sample.message = error_message(b"".join(pieces)[:MAX_ERROR_BYTES]) or connection.reason
        elif self.target.stream:
            reading.end()
            sample.trouble, sample.message = reading.trouble, reading.message
        else:
            usage, wrong = read_whole(b"".join(pieces))
            sample.trouble, sample.message = (BAD_ANSWER, wrong) if wrong else ("", "")
            _take_usage(sample, usage)


def _take_head(sample: Sample, connection: Connection) -> None:
    sample.status = connection.status
    sample.pod = next(filter(None, map(connection.header, POD_HEADERS)), "")
    sample.strategy = connection.header(b"routing-strategy")


def _take_times(sample: Sample, reading: StreamReading, sent_seconds: float) -> None:
    """Also of streams that failed later: their first content did come."""
    if reading.first_seconds is not None:
        sample.first_seconds = reading.first_seconds - sent_seconds
        sample.last_seconds = reading.last_seconds - sent_seconds
        sample.output_tokens = reading.content_events
        _take_usage(sample, reading.usage)


def _take_usage(sample: Sample, usage: AnswerUsage | None) -> None:
    if usage is not None:
        sample.prompt_tokens, sample.output_tokens = usage.prompt_tokens, usage.completion_tokens
        sample.cached_tokens, sample.from_usage = usage.cached_tokens, True

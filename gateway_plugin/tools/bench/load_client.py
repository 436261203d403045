"""Sends one request and fills in its sample. Whatever goes wrong becomes a kind of failure, with one message."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING

import aiohttp

from gateway_plugin.tools.bench.answers import BAD_ANSWER, StreamReading, error_message, read_whole
from gateway_plugin.tools.bench.sample import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.tools.bench.answers import AnswerUsage
    from gateway_plugin.tools.bench.sample import Sample
    from gateway_plugin.tools.bench.target import BenchTarget

KEEP_ALIVE_SECONDS = 4.0
"""Below the 5 s after which uvicorn, and so vLLM, closes idle connections: a request must not meet that."""
MAX_ERROR_BYTES = 4096
POD_HEADERS = ("target-pod", "x-inference-pod", "target-pod-ip")
"""Who served, by name if it is known: of this gateway, of the simulator, of AIBrix's plugin."""
CANNOT_CONNECT, CONNECTION_LOST = "cannot connect", "connection lost"


def open_session() -> aiohttp.ClientSession:
    """Without limits on connections, else requests would wait for each other; needs a running loop."""
    raise_open_files()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ttl_dns_cache=60),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None),  # each request has one of its own
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("accept-encoding",),
        read_bufsize=256 * 1024,
    )


def raise_open_files() -> None:
    """As many connections as the system gives."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Client:
    """Sends to one target."""

    def __init__(self, session: aiohttp.ClientSession, target: BenchTarget, clock: Callable[[], float]) -> None:
        self._session = session
        self.target = target
        self._clock = clock

    async def send(self, sample: Sample, body: bytes, headers: Mapping[str, str]) -> list[float]:
        """Until the answer is whole, failed or given up; gives the times between contents, in seconds.

        Cancelled, it leaves the sample as unfinished, with what was known by then.
        """
        sent_seconds = self._clock()
        reading = StreamReading()
        try:
            async with asyncio.timeout(self.target.timeout_seconds):
                await self._exchange(sample, body, headers, reading)
        except TimeoutError:
            sample.trouble = TIMEOUT
            sample.message = f"not answered within {self.target.timeout_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            sample.trouble, sample.message = _kind(error), _message(error)
        finally:
            sample.total_seconds = self._clock() - sent_seconds
            _take_times(sample, reading, sent_seconds)
        return reading.gaps_seconds

    async def _exchange(self, sample: Sample, body: bytes, headers: Mapping[str, str], reading: StreamReading) -> None:
        post = self._session.post(self.target.url, data=body, headers=headers, allow_redirects=False)
        async with post as response:
            sample.status = response.status
            sample.pod = next((response.headers[name] for name in POD_HEADERS if name in response.headers), "")
            sample.strategy = response.headers.get("routing-strategy", "")
            if response.status != 200:
                sample.message = error_message(await response.content.read(MAX_ERROR_BYTES)) or str(response.reason)
                sample.trouble = str(response.status)
            elif self.target.stream:
                await self._stream(response, sample, reading)
            else:
                usage, wrong = read_whole(await response.read())
                sample.trouble, sample.message = (BAD_ANSWER, wrong) if wrong else ("", "")
                _take_usage(sample, usage)

    async def _stream(self, response: aiohttp.ClientResponse, sample: Sample, reading: StreamReading) -> None:
        while data := await response.content.readany():
            reading.feed(data, self._clock())
        reading.end()
        sample.trouble, sample.message = reading.trouble, reading.message


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


def _message(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and (number := error.os_error.errno):
        return os.strerror(number) if number > 0 else error.os_error.strerror or str(error)
    return str(error) or type(error).__name__


def _kind(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "certificate"
        case aiohttp.ClientConnectorError():
            return CANNOT_CONNECT
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return CONNECTION_LOST
        case aiohttp.ClientResponseError():
            return "not HTTP"
        case _:
            return type(error).__name__

"""Gets one metrics page over HTTP, with a limit on everything: time, size, connections, redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import aiohttp

# Asks for the plain text format: the OpenMetrics one has exemplars behind its values.
_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"}

# A URL, and where an engine wants one its key, to a page; raises ScrapeError.
Fetch = Callable[..., Awaitable[bytes]]


class FetchOutcome(StrEnum):
    """What came of one scrape. `refused` is any connection that was not made or broke."""

    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    BAD_STATUS = "bad_status"
    BAD_PAGE = "bad_page"
    TOO_LARGE = "too_large"


class ScrapeError(Exception):
    """A scrape that brought no numbers; `status` is that of an HTTP answer, 0 where none came."""

    def __init__(self, outcome: FetchOutcome, detail: str, status: int = 0) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome
        self.status = status


@asynccontextmanager
async def http_fetch(timeout_seconds: float, connections: int, max_page_bytes: int) -> AsyncIterator[Fetch]:
    """A fetch over one HTTP session, which is closed at the end."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
    ) as session:

        async def fetch(url: str, key: str = "") -> bytes:
            try:
                return await _get(session, url, max_page_bytes, {"Authorization": f"Bearer {key}"} if key else {})
            except TimeoutError:
                raise ScrapeError(FetchOutcome.TIMEOUT, f"no page within {timeout_seconds:g} s") from None
            # ValueError: an address that is no part of a URL.
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise ScrapeError(FetchOutcome.REFUSED, str(error) or type(error).__name__) from error

        yield fetch


async def _get(session: aiohttp.ClientSession, url: str, max_page_bytes: int, headers: dict[str, str]) -> bytes:
    page = bytearray()
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise ScrapeError(FetchOutcome.BAD_STATUS, f"status {response.status}", response.status)
        async for chunk in response.content.iter_any():
            page += chunk
            if len(page) > max_page_bytes:
                raise ScrapeError(FetchOutcome.TOO_LARGE, f"more than {max_page_bytes} bytes", response.status)
    return bytes(page)

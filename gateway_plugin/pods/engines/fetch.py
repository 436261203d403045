"""Gets one metrics page over HTTP, with a limit on everything: time, size, connections, redirects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

from gateway_plugin.pods.engines.page_connections import PageConnections, PageTooLarge

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
    """A fetch over kept connections, at most so many pages at once; they are closed at the end."""
    pages, at_once = PageConnections(max_page_bytes), asyncio.Semaphore(connections)

    async def fetch(url: str, key: str = "") -> bytes:
        try:
            async with asyncio.timeout(timeout_seconds), at_once:
                status, body = await pages.get(url, key)
        except TimeoutError:
            raise ScrapeError(FetchOutcome.TIMEOUT, f"no page within {timeout_seconds:g} s") from None
        except PageTooLarge:
            raise ScrapeError(FetchOutcome.TOO_LARGE, f"more than {max_page_bytes} bytes", 200) from None
        # ValueError: an address that is no part of a URL.
        except (OSError, ValueError) as error:
            raise ScrapeError(FetchOutcome.REFUSED, str(error) or type(error).__name__) from error
        if status != 200:
            raise ScrapeError(FetchOutcome.BAD_STATUS, f"status {status}", status)
        return body

    try:
        yield fetch
    finally:
        pages.close()

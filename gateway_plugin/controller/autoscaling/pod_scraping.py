"""Metrics pages of pods and of outside services, read at once and bounded; what cannot be read is not there.

A pod that hangs costs its own sample and nobody else's: all are asked at once, each with a deadline of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp

from gateway_plugin.controller.autoscaling.pod_pages import MOST_PAGE_BYTES, samples_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 3.0
"""Below the 5 s between two looks; an engine answers within tens of milliseconds, one that is overloaded within one."""
AT_ONCE = 64
"""Connections: a fleet's pages are read within a second, and file descriptors stay few."""

Page = dict[str, list[float]]


class PodScraper:
    """One connection pool. Close it."""

    def __init__(self, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._limits = aiohttp.ClientTimeout(total=deadline_seconds)

    async def pages(self, urls: Collection[str]) -> Mapping[str, Page]:
        """By URL; those that could not be read are left out."""
        wanted = tuple(dict.fromkeys(urls))
        found = await asyncio.gather(*(self._page(url) for url in wanted))
        return {url: page for url, page in zip(wanted, found, strict=True) if page is not None}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The pods of a cluster prove nothing by certificates, and their addresses are in none.
            connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=False)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._limits)
        return self._session

    async def _page(self, url: str) -> Page | None:
        try:
            return await asyncio.to_thread(samples_of, (await self._body(url)).decode())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            logger.debug("nothing was read of %s: %s", url, str(error) or type(error).__name__)
            return None

    async def _body(self, url: str) -> bytes:
        async with self._opened().get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            parts, size = [], 0
            async for part in response.content.iter_any():
                size += len(part)
                if size > MOST_PAGE_BYTES:
                    raise ValueError(f"more than {MOST_PAGE_BYTES} bytes")
                parts.append(part)
            return b"".join(parts)

"""One attempt to deliver one event over HTTP, with a limit on everything.

Redirects are failures: nobody has checked where they lead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from gateway_plugin.models.webhooks.signing import signed_headers
from gateway_plugin.models.webhooks.targets import ForbiddenTargetError, addresses_of

if TYPE_CHECKING:
    from gateway_plugin.models.webhooks.records import Webhook

Send = Callable[["Webhook", str, bytes], Awaitable[None]]
"""(webhook, event id, body); raises DeliveryError."""

_CONNECTIONS = 32
"""At once, to all targets together."""
_MAX_RETRY_AFTER_SECONDS = 300.0
"""A target may ask for so long a pause."""


class DeliveryError(Exception):
    """The receiver did not take it. `retry_after_seconds`: what it asked for, 0 for nothing."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


@asynccontextmanager
async def http_sender(
    timeout_seconds: float, *, private: bool, wall_clock: Callable[[], float] = time.time
) -> AsyncIterator[Send]:
    """Sends over one HTTP session, which is closed at the end."""
    # A connection that stays open would outlive the check of its address.
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS, use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "gateway-plugin-webhooks", "content-type": "application/json"},
    ) as session:

        async def send(webhook: Webhook, event_id: str, body: bytes) -> None:
            try:
                async with asyncio.timeout(timeout_seconds):
                    headers = signed_headers(webhook.secret, event_id, wall_clock(), body)
                    await _post(session, URL(webhook.url), headers, body, private=private)
            except TimeoutError:
                raise DeliveryError(f"no answer within {timeout_seconds:g} s") from None
            except ForbiddenTargetError as error:
                raise DeliveryError(str(error)) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # Errors of clients may quote the URL, and that may hold a token.
                raise DeliveryError(f"not reached: {type(error).__name__}") from None

        yield send


async def _post(
    session: aiohttp.ClientSession, url: URL, headers: dict[str, str], body: bytes, *, private: bool
) -> None:
    if not url.host or not url.port:
        raise ValueError("not a target")
    # Certificates are the name's, and so is the host that the receiver hears; only the way there is the address's.
    named = headers | {"host": url.authority if url.explicit_port else url.host_subcomponent or ""}
    *others, last = await addresses_of(url.host, url.port, private=private)
    for address in others:
        with contextlib.suppress(aiohttp.ClientConnectorError):
            return await _post_to(session, url.with_host(address), url.host, named, body)
    return await _post_to(session, url.with_host(last), url.host, named, body)


async def _post_to(session: aiohttp.ClientSession, url: URL, name: str, headers: dict[str, str], body: bytes) -> None:
    async with session.post(url, data=body, headers=headers, allow_redirects=False, server_hostname=name) as response:
        if 200 <= response.status < 300:
            return
        wait = _retry_after(response.headers.get("retry-after", ""))
        what = "redirects are not followed" if 300 <= response.status < 400 else "not taken"
        raise DeliveryError(f"status {response.status}, {what}", wait)


def _retry_after(text: str) -> float:
    return min(float(text), _MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdecimal() else 0.0

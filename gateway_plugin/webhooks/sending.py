"""One attempt to deliver one event over HTTP, with a limit on everything.

Redirects are failures: nobody has checked where they lead.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from gateway_plugin.webhooks.signing import signed_headers
from gateway_plugin.webhooks.targets import ForbiddenTargetError, GuardedResolver, check_address, is_address

if TYPE_CHECKING:
    from gateway_plugin.webhooks.records import Webhook

Send = Callable[["Webhook", str, bytes], Awaitable[None]]
"""(webhook, event id, body); raises DeliveryError."""

_CONNECTIONS = 32
_MAX_RETRY_AFTER_SECONDS = 300.0


class DeliveryError(Exception):
    """The receiver did not take it. `retry_after_seconds`: what it asked for, 0 for nothing."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


@asynccontextmanager
async def http_sender(timeout_seconds: float, *, private: bool) -> AsyncIterator[Send]:
    """Sends over one HTTP session, which is closed at the end."""
    # A connection that stays open would outlive the check of its address.
    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS, resolver=GuardedResolver(private=private), use_dns_cache=False, force_close=True
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "gateway-plugin-webhooks", "content-type": "application/json"},
    ) as session:

        async def send(webhook: Webhook, event_id: str, body: bytes) -> None:
            try:
                host = urlsplit(webhook.url).hostname or ""
                # An address is not looked up, so nobody else would check it.
                if is_address(host) and not private:
                    check_address(host)
                await _post(session, webhook, event_id, body)
            except TimeoutError:
                raise DeliveryError(f"no answer within {timeout_seconds:g} s") from None
            except ForbiddenTargetError as error:
                raise DeliveryError(str(error)) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # Errors of clients may quote the URL, and that may hold a token.
                cause = error.__cause__ if isinstance(error.__cause__, ForbiddenTargetError) else None
                raise DeliveryError(str(cause) if cause else f"not reached: {type(error).__name__}") from None

        yield send


async def _post(session: aiohttp.ClientSession, webhook: Webhook, event_id: str, body: bytes) -> None:
    headers = signed_headers(webhook.secret, event_id, time.time(), body)
    async with session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
        if 200 <= response.status < 300:
            return
        wait = _retry_after(response.headers.get("retry-after", ""))
        what = "redirects are not followed" if 300 <= response.status < 400 else "not taken"
        raise DeliveryError(f"status {response.status}, {what}", wait)


def _retry_after(text: str) -> float:
    return min(float(text), _MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdecimal() else 0.0

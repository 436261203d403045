"""What stands before every HTTP API of ours: who may enter is asked before a byte of the body is read, and bodies are
bounded in length and time. Every answer says its request's id, as those of the gateway do.

A body is read here, whole, and handed on as one message. Paths that are public take none: nobody reads it there.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway_plugin.exchange.intent.request import is_well_formed_id
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Check = Callable[[Mapping[str, str]], None]

MAX_BODY_BYTES = 1024 * 1024
"""A record with some thousand overrides has a tenth of it."""
BODY_SECONDS = 30.0
"""For 1 MiB: a client slower than 35 KB/s holds a place for nothing."""
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
# Whoever is refused still sends: the connection ends with the answer.
_CLOSE = {"connection": "close"}


class Gate:
    """ASGI middleware. `check` raises ApiError for headers of those who may not enter where it is not public."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        check: Check | None = None,
        is_public: Callable[[str], bool] = lambda path: False,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._check = check
        self._is_public = is_public
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_id(Headers(scope=scope).get("x-request-id", ""), send)
        if not self._is_public(scope["path"]):
            try:
                receive = await self._admitted(scope, receive)
            except ApiError as error:
                headers = {**error.headers, **_CLOSE}
                answer = Response(error.body, error.status, headers=headers, media_type="application/json")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        headers = Headers(scope=scope)
        if self._check is not None:
            self._check(headers)
        if scope["method"] not in _WITH_BODY:
            return receive
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._max_body_bytes:
            raise self._too_long()
        try:
            async with asyncio.timeout(self._body_seconds):
                first = await self._whole(receive)
        except TimeoutError:
            raise ApiError(kinds.UPLOAD_TIMEOUT, "the request body did not arrive in time") from None
        return _first_then(first, receive)

    async def _whole(self, receive: Receive) -> Message:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_body_bytes:
                raise self._too_long()
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    def _too_long(self) -> ApiError:
        return ApiError(kinds.BODY_TOO_LARGE, f"the request body is longer than {self._max_body_bytes} bytes")


def _with_id(request_id: str, send: Send) -> Send:
    if not is_well_formed_id(request_id):
        request_id = secrets.token_hex(16)
    headers = [(b"x-request-id", request_id.encode()), (b"request-id", request_id.encode())]

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await send(message)

    return send_with_id


def _first_then(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message

"""Lists of models that web pages may read: the gateway itself answers what browsers ask before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from gateway_plugin.http.models import LIST

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway_plugin.endpoints.web_pages import WebPages


class ReadableByPages:
    """ASGI middleware; the users API is not for pages."""

    def __init__(self, app: ASGIApp, pages: WebPages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds what lets the page read the answer."""
        added = self._added(scope) if scope["type"] == "http" else {}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header(added.pop("vary"))
                headers.update(added)
            await send(message)

        await self._app(scope, receive, send_with_headers if added else send)

    def _added(self, scope: Scope) -> dict[str, str]:
        path: str = scope["path"]
        is_list = path == LIST or path.startswith(f"{LIST}/")
        return self._pages.headers(Headers(scope=scope).get("origin", "")) if is_list else {}

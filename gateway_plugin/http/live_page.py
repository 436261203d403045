"""`/`: the live page. A frame and its scripts, which anybody may load; what it shows comes from `/debug/...`.

No build step: the files in `static` are served as they are. Nothing comes from another address, and the answers'
Content-Security-Policy lets browsers see to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import Scope

STATIC = Path(__file__).with_name("static")


def add_live_page(app: FastAPI, gateway: str, strategies: Sequence[str]) -> None:
    """Adds the page and its files. With `gateway`, where browsers reach Envoy, it has a box that sends chats there."""
    html = page(gateway, strategies)
    headers = _headers(gateway)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def live_page() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)

    app.mount("/live", _Files(directory=STATIC))


def page(gateway: str, strategies: Sequence[str]) -> str:
    """HTML."""
    templates = Environment(loader=FileSystemLoader(STATIC), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = templates.get_template("live.html.jinja")
    return template.render(config={"gateway": gateway}, strategies=strategies)


class _Files(StaticFiles):
    def file_response(self, *args: object, **more: object) -> Response:
        response = super().file_response(*args, **more)  # type: ignore[arg-type]  # as they come
        # Asked for anew each time, and mostly unchanged: an upgrade must not meet yesterday's scripts.
        response.headers["cache-control"] = "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path.endswith(".jinja"):
            path = ""
        return await super().get_response(path, scope)


def _headers(gateway: str) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": " ".join(filter(None, ("'self'", gateway))),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

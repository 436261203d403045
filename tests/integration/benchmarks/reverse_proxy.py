"""`reverse_proxy.py UPSTREAM PORT`: a small gateway to compare with, which passes everything on; /ready is its own."""

from __future__ import annotations

import sys

import aiohttp
from aiohttp import web

_HOP = {"connection", "content-length", "host", "transfer-encoding"}


async def ready(_: web.Request) -> web.Response:
    return web.Response()


async def proxy(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
    session = request.app[SESSION]
    body = await request.read()
    async with session.request(request.method, sys.argv[1] + request.path, data=body, headers=headers) as answer:
        response = web.StreamResponse(status=answer.status)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


SESSION = web.AppKey("session", aiohttp.ClientSession)


async def application() -> web.Application:
    app = web.Application(client_max_size=2**24)
    app[SESSION] = aiohttp.ClientSession()
    app.router.add_get("/ready", ready)
    app.router.add_route("*", "/{path:.*}", proxy)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[2]), print=None)

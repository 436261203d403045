"""An answer that comes in parts is read whole."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway_plugin.controller.gateway_demand import DemandReader, GatewayDemand


async def in_parts(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for part in (b'{"models":{"m":{"in_', b'flight":3}}}'):
        await response.write(part)
        await asyncio.sleep(0.05)
    return response


async def test_a_load_that_comes_in_parts_is_known():
    app = web.Application()
    app.router.add_get("/load", in_parts)
    demand = GatewayDemand(asyncio.get_running_loop().time)
    reader = DemandReader(demand)
    async with TestServer(app) as server:
        await reader.read([str(server.make_url("/load"))])
        await reader.close()
    assert demand.in_flight("m") == 3

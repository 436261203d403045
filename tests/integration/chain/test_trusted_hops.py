"""Sources behind a proxy: its word on addresses is taken, a client's is not; a /64 of IPv6 is one source."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]


async def test_one_trusted_proxy(open_gateway: OpenGateway, flavour: str):
    # As the chart sets it: Envoy Gateway's Envoy does not add the proxy's own address.
    hops = "1" if flavour == "standalone" else "0"
    environment = {"GATEWAY_ANONYMOUS": "limit", "GATEWAY_ANONYMOUS_RPM": "2", "GATEWAY_TRUSTED_HOPS": hops}
    options = StackOptions({"m": 1}, speed=20, plugin_environment=environment, envoy={"trusted_hops": 1})
    async with open_gateway(options) as gateway:

        async def statuses(*told: str) -> list[int]:
            return [(await gateway.post(x_forwarded_for=addresses)).status_code for addresses in told]

        assert await statuses("203.0.113.1", "6.6.6.6, 203.0.113.1", "7.7.7.7, 203.0.113.1") == [200, 200, 429]
        assert await statuses("203.0.113.2") == [200], "another client of the proxy"
        assert await statuses("2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1::") == [200, 200, 429]
        assert await statuses("2001:db8:0:1::1") == [200]
        message = (await gateway.post(x_forwarded_for="203.0.113.1")).json()["error"]["message"]
        assert message == "source: 203.0.113.1 has exceeded RPM: 2"


async def test_bounds_of_an_address_are_the_clients_and_not_their_proxys(open_gateway: OpenGateway, flavour: str):
    if flavour != "standalone":
        pytest.skip("the chart has no such bound")
    options = StackOptions(
        {"m": 1},
        speed=20,
        plugin_environment={"GATEWAY_TRUSTED_HOPS": "1"},
        envoy={"max_requests_per_second": 2, "trusted_hops": 1},
    )
    async with open_gateway(options) as gateway:

        async def statuses(number: int, told: str) -> list[int]:
            answers = await asyncio.gather(*(gateway.post(x_forwarded_for=told) for _ in range(number)))
            return [answer.status_code for answer in answers]

        flood = await statuses(40, "203.0.113.1")
        assert flood.count(200) >= 4
        assert flood.count(429) >= 10, "four at once, and two a second"
        assert await statuses(4, "203.0.113.2") == [200] * 4, "another client of the proxy"
        assert 429 in await statuses(40, "6.6.6.6, 203.0.113.1"), "what a client says of itself is not believed"

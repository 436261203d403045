"""An Envoy whose configuration was made for other settings: nothing fails, and it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]


@pytest.mark.parametrize(("envoys", "warnings"), [("access_log", 0), ("ext_proc", 1)])
async def test_another_accounting_is_told_at_the_first_request(
    open_gateway: OpenGateway, flavour: str, envoys: str, warnings: int
):
    if flavour != "standalone":
        pytest.skip("the chart writes both sides from one value")
    options = StackOptions(
        {"m": 1},
        redis=False,
        speed=10,
        accounting=envoys,  # type: ignore[arg-type]  # one of them
        plugin_environment={"GATEWAY_ACCOUNTING": "access_log"},
    )
    async with open_gateway(options) as gateway:
        assert (await gateway.post()).status_code == 200
        assert await gateway.metric("gateway_warnings", code="EnvoyDiffers") == warnings
        live = (await gateway.http.get(f"{gateway.stack.ops_url}/debug/live")).json()
    assert any("accounting ext_proc" in str(one) for one in live["warnings"]) == bool(warnings)

"""An API server for the controller, which refuses what a real one with Gateway API would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway_plugin.controller import following
from tests.fake_kubernetes import FakeServer, running
from tests.integration.controller.controller_harness import ROUTES
from tests.unit.gateway_plugin.controller.gateway_schemas import CRDS, admit


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds that are missing are looked for often."""
    monkeypatch.setattr(following, "ABSENT_SECONDS", 0.3)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """With the Gateway that routes hang on."""
    async with running() as fake:
        gateway = {"metadata": {"name": "gateway-plugin", "namespace": ROUTES}}
        fake.cluster.create("gateways", {**gateway, "spec": {"gatewayClassName": "gateway-plugin"}})
        spec = {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"}
        fake.cluster.create("gatewayclasses", {"metadata": {"name": "gateway-plugin"}, "spec": spec})
        if CRDS.is_dir():
            fake.cluster.admission.append(admit)
        yield fake

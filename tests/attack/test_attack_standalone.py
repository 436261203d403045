r"""Attacks on the configuration that \`gateway-plugin envoy-config\` writes."""

from __future__ import annotations

import pytest

from tests.attack.conftest import OpenArenas
from tests.attack.suite import CASES, nothing_comes_through

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.redis]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("identity", "kind"), CASES)
async def test_nothing_comes_through(arenas: OpenArenas, identity: str, kind: str):
    await nothing_comes_through(arenas, "standalone", identity, kind)

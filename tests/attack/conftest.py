"""Arenas that all attacks of a test process share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.attack.arena import Arena, open_arena

OpenArenas = Callable[[str, str], Awaitable[Arena]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def arenas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenArenas]:
    """Opens each arena once, when it is first asked for."""
    opened: dict[tuple[str, str], Arena] = {}
    async with AsyncExitStack() as stack:

        async def get(flavour: str, identity: str) -> Arena:
            key = flavour, identity
            if key not in opened:
                directory = tmp_path_factory.mktemp("arena")
                opened[key] = await stack.enter_async_context(open_arena(flavour, identity, directory))
            return opened[key]

        yield get

"""What is measured: our chains, processors of others behind our Envoy, and gateways that run already."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

from benchmarks.overhead.peers import PeerError
from benchmarks.overhead.variants import echo
from benchmarks.procfs import cpu_seconds, tree_cpu_seconds, tree_pss_bytes
from benchmarks.rig import Rig
from benchmarks.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.overhead.peers import PeerChain
    from benchmarks.upstream import Upstream

ALONE, FLOOR, OURS, LIMITED = "Envoy alone", "floor: answers constants", "ours", "ours, with limits"
OWN = (
    Variant(ALONE, "none", lua=False),
    Variant(FLOOR, "other", echo("native"), ready_path="/", lua=False, accounting="none"),
    Variant(OURS),
    Variant(LIMITED, limits="valkey"),
)
_NO_LUA = "function envoy_on_response(handle) end"
_TAKES_CHUNKS = "function envoy_on_response(handle) for chunk in handle:bodyChunks() do end end"
FLOORS = (
    Variant("floor: Lua that does nothing", "none", lua_text=_NO_LUA),
    Variant("floor: Lua that takes chunks, and keeps none", "none", lua_text=_TAKES_CHUNKS),
    Variant("Envoy with our Lua, nobody asked", "none"),
    Variant("ours, without Lua", lua=False),
    Variant("ours, with Lua that takes chunks", lua_text=_TAKES_CHUNKS),
)
"""Of what stands between Envoy alone and ours, a part each."""


class Cpu(NamedTuple):
    """CPU seconds so far: Envoy, what it asks (or the whole of another proxy), store."""

    envoy: float
    brain: float
    store: float


class RigGateway:
    """A chain of ours, or a processor of somebody else's behind our Envoy; an async context manager."""

    def __init__(self, variant: Variant, directory: Path, upstream: Upstream) -> None:
        self.name = variant.name
        self.variant = variant
        self._rig = Rig(variant, directory, upstream)

    async def __aenter__(self) -> Self:
        await self._rig.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rig.__aexit__()

    @property
    def port(self) -> int:
        """Where clients ask."""
        return self._rig.gateway_port

    @property
    def with_user(self) -> bool:
        """Whether requests name a user."""
        return self._rig.with_user

    @property
    def lag_seconds(self) -> float:
        """How much later than its last response it may still work for it."""
        return self._rig.lag_seconds

    def cpu(self) -> Cpu:
        """Of all its processes."""
        store = cpu_seconds(self._rig.valkey.pid) if self.variant.limits == "valkey" else 0.0
        return Cpu(*self._rig.cpu_seconds(), store)

    def pss_bytes(self) -> int:
        """Of what Envoy asks."""
        return tree_pss_bytes(self._rig.processor.pid) if self._rig.processor is not None else 0


class RunningGateway:
    """Somebody else's, which runs already at a URL; nothing is started. Without pids its CPU is not known."""

    with_user = False
    lag_seconds = 0.1

    def __init__(self, name: str, url: str, pids: Sequence[int]) -> None:
        port = urlsplit(url).port
        if port is None:
            raise PeerError(f"--peer {name}={url}: the URL must name a port")
        self.name = name
        self.port = port
        self._pids = pids

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It goes on."""

    def cpu(self) -> Cpu:
        """Of its processes and their children."""
        return Cpu(0.0, sum(map(tree_cpu_seconds, self._pids)), 0.0)

    def pss_bytes(self) -> int:
        """Of the same."""
        return sum(map(tree_pss_bytes, self._pids))


class StartedGateway:
    """Somebody else's proxy, started with a command; an async context manager."""

    with_user = False
    lag_seconds = 0.1

    def __init__(self, name: str, chain: PeerChain) -> None:
        self.name = name
        self._chain = chain
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._chain)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def port(self) -> int:
        """Where clients ask."""
        return self._chain.gateway_port

    def cpu(self) -> Cpu:
        """Of its processes and their children."""
        return Cpu(0.0, self._chain.cpu_seconds()[1], 0.0)

    def pss_bytes(self) -> int:
        """Of the same."""
        return tree_pss_bytes(self._chain.pid)


Gateway = RigGateway | RunningGateway | StartedGateway

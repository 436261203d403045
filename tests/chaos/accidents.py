"""What may happen to a running gateway, one thing at a time: what is done, and what clients may see of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.tools.envoy_config.process import start_envoy

if TYPE_CHECKING:
    from gateway_plugin.tools.chain.stack import Stack
    from tests.chaos.proxy import Proxy

AWAY_SECONDS = 4.0


@dataclass(frozen=True)
class World:
    """What accidents happen to."""

    stack: Stack
    store: Proxy
    """Between the plugins and Valkey."""


Act = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Accident:
    """`begin`, `AWAY_SECONDS` without, `end`."""

    name: str
    begin: Act
    end: Act
    fails: str = ""
    """Which failures of new requests are no fault, and why; empty: none."""
    graceful: bool = False
    """Whether what was under way when it began must be answered, too."""
    recovery_seconds: float = 5.0
    """The longest time after the end to the last failure."""


def _signal(pid: int, number: signal.Signals) -> None:
    os.killpg(os.getpgid(pid), number)


async def _kill_plugin(world: World) -> None:
    await world.stack.stop_plugin(0, signal.SIGKILL)


async def _end_plugin(world: World) -> None:
    await world.stack.stop_plugin(0)


async def _start_plugin(world: World) -> None:
    await world.stack.start_plugin(0)


async def _kill_plugins(world: World) -> None:
    await asyncio.gather(*(world.stack.stop_plugin(number, signal.SIGKILL) for number in (0, 1)))


async def _start_plugins(world: World) -> None:
    await asyncio.gather(*(world.stack.start_plugin(number) for number in (0, 1)))


async def _kill_store(world: World) -> None:
    await asyncio.to_thread(world.stack.valkey.kill)


async def _start_store(world: World) -> None:
    await world.stack.start_redis()


async def _kill_pod(world: World) -> None:
    await world.stack.pods["m-0"].stop(signal.SIGKILL)


async def _start_pod(world: World) -> None:
    await world.stack.start_pod("m", 0)


async def _kill_pods(world: World) -> None:
    await asyncio.gather(*(pod.stop(signal.SIGKILL) for pod in world.stack.pods.values()))


async def _start_pods(world: World) -> None:
    await asyncio.gather(*(world.stack.start_pod("m", number) for number in range(3)))


async def _kill_envoy(world: World) -> None:
    _signal(world.stack.envoy_pid, signal.SIGKILL)


async def _start_envoy(world: World) -> None:
    stack = world.stack
    assert stack._envoy is not None
    await stack._envoy.stop()
    stack._envoy = await start_envoy(stack.envoy_config(), stack.directory, adapt=stack.adapted)


def _pid_of(world: World, what: str) -> int:
    stack = world.stack
    return {"plugin": stack.plugin.pid, "store": stack.valkey.pid, "pod": stack.pods["m-0"].pid}[what]


def _frozen(what: str) -> tuple[Act, Act]:
    async def freeze(world: World) -> None:
        _signal(_pid_of(world, what), signal.SIGSTOP)

    async def thaw(world: World) -> None:
        _signal(_pid_of(world, what), signal.SIGCONT)

    return freeze, thaw


def _network(mode: str) -> tuple[Act, Act]:
    async def begin(world: World) -> None:
        world.store.become(mode)

    async def end(world: World) -> None:
        world.store.become("")

    return begin, end


ACCIDENTS = (
    Accident("one of two plugins killed", _kill_plugin, _start_plugin),
    Accident("one of two plugins ended", _end_plugin, _start_plugin, graceful=True),
    Accident("one of two plugins frozen", *_frozen("plugin"), fails="504: what Envoy gives it until it notices"),
    Accident("both plugins killed", _kill_plugins, _start_plugins, fails="500, 503: nothing passes without limits"),
    Accident("store killed", _kill_store, _start_store),
    Accident("store frozen", *_frozen("store")),
    Accident("store slow by 200 ms", *_network("slow")),
    Accident("store behind a partition", *_network("silent")),
    Accident("store's connections reset", *_network("reset")),
    Accident("one of three pods killed", _kill_pod, _start_pod),
    Accident("one of three pods frozen", *_frozen("pod"), fails="what it had begun waits for it; no request fails"),
    Accident("all pods killed", _kill_pods, _start_pods, fails="503: there is no pod"),
    Accident("Envoy killed", _kill_envoy, _start_envoy, fails="connection refused: there is one Envoy"),
)

"""Redis in trouble: whatever becomes of it, nobody gets more than the limit and what was in flight.

A user has spent a part of a minute's requests, or tokens, when the store fails; asks many times while it is away, and
again when it is back. All of that is one minute. The waits of a real outage are not needed: what is counted anew after
it would show at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tests.attack import http1
from tests.attack.arena import Account, Arena, eventually
from tests.attack.attacks import Attack, Findings
from tests.attack.http1 import request
from tests.attack.kinds.bodies import JSON, chat

KIND = "outages"

Trouble = Callable[[Arena], AbstractAsyncContextManager[None]]
_RPM = 20
_AT_ONCE = 10
_TPM = 1000


async def _pid(arena: Arena) -> int:
    async with arena.redis() as store:
        return int((await store.info("server"))["process_id"])


@asynccontextmanager
async def _killed(arena: Arena) -> AsyncIterator[None]:
    os.kill(await _pid(arena), signal.SIGKILL)
    yield
    await arena.chain.stop_redis()
    await arena.chain.start_redis()


@asynccontextmanager
async def _hanging(arena: Arena) -> AsyncIterator[None]:
    pid = await _pid(arena)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _flapping(arena: Arena) -> AsyncIterator[None]:
    pid = await _pid(arena)

    async def flap() -> None:
        while True:
            for number, seconds in ((signal.SIGSTOP, 0.25), (signal.SIGCONT, 0.15)):
                os.kill(pid, number)
                await asyncio.sleep(seconds)

    flapping = asyncio.create_task(flap())
    try:
        yield
    finally:
        flapping.cancel()
        await asyncio.gather(flapping, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _read_only(arena: Arena) -> AsyncIterator[None]:
    async with arena.redis() as store:
        await store.replicaof("127.0.0.1", 1)
        try:
            yield
        finally:
            await store.replicaof("NO", "ONE")


@asynccontextmanager
async def _full(arena: Arena) -> AsyncIterator[None]:
    async with arena.redis() as store:
        await store.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await store.config_set("maxmemory", "0")


@asynccontextmanager
async def _evicting(arena: Arena) -> AsyncIterator[None]:
    """What was counted goes, as a store does it that evicts when it is full; users stay."""
    async with arena.redis() as store:
        for key in await store.keys("gateway:{aibrix-users/*"):
            await store.delete(key)
    yield


async def _ask(arena: Arena, account: Account, body: bytes, count: int) -> None:
    message = http1.marked(request(headers=[JSON, account.bearer], body=body), account.name)
    for _ in range(0, count, _AT_ONCE):
        asked = [http1.talk(arena.port, [message], patience_seconds=10, linger_seconds=0) for _ in range(_AT_ONCE)]
        await asyncio.gather(*asked)


async def _is_asked_again(arena: Arena) -> bool:
    async def ready() -> bool:
        answer = await arena.http.get(f"{arena.chain.ops_url}/readyz")
        return answer.status_code == 200 and bool(answer.json()["checks"]["limiter"] == "ok")

    return await eventually(ready, patience_seconds=15)


def _attack(name: str, trouble: Trouble, what: str, fields: dict[str, Any], body: bytes, limit: int) -> Attack:
    async def run(arena: Arena) -> Findings:
        account = await arena.account(**fields)
        await _ask(arena, account, body, 10)
        await asyncio.sleep(0.3)
        async with trouble(arena):
            await _ask(arena, account, body, 30)
        if not await _is_asked_again(arena):
            return ["the store is back, and is not asked"]
        await _ask(arena, account, body, 30)
        seen = arena.engines.of(account.name)
        spent = len(seen) if what == "requests" else sum(one.tokens for one in seen)
        # Tokens are known afterwards: what was under way together may turn out more than was expected of it.
        at_most = limit + (0 if what == "requests" else _AT_ONCE * max((one.tokens for one in seen), default=0))
        found = [f"{spent} {what} of {limit} a minute"] if spent > at_most else []
        return found if seen else ["nobody was served before the outage"]

    return Attack(KIND, f"{name}: {what}", run)


_TROUBLES: tuple[tuple[str, Trouble], ...] = (
    ("a store that hangs", _hanging),
    ("a store that flaps", _flapping),
    ("a store that only reads", _read_only),
    ("a store without memory", _full),
    ("a store that evicts", _evicting),
    ("a store that is killed", _killed),
)

ATTACKS = (
    *(_attack(name, trouble, "requests", {"rpm": _RPM}, chat(), _RPM) for name, trouble in _TROUBLES),
    *(_attack(name, trouble, "tokens", {"tpm": _TPM}, chat(max_tokens=10), _TPM) for name, trouble in _TROUBLES),
)

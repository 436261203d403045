"""A stranger who reaches Redis: what one bad key, message or entry does to all the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import redis.asyncio
import redis.exceptions

from tests.attack import http1
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings
from tests.attack.http1 import request
from tests.attack.kinds.bodies import JSON, chat
from tests.attack.kinds.smuggling import bystanders

KIND = "store"

Spoil = Callable[[redis.asyncio.Redis, Account], Awaitable[object]]
_NOTICED_SECONDS = 1.2
"""Replicas look at what they share once a second at most."""


def _spoilt(name: str, spoil: Spoil) -> Attack:
    """Others are served and counted; the service lives; the store is not taken for being away."""

    async def run(arena: Arena) -> Findings:
        account, good = await arena.account(), await arena.account()
        await _ask(arena, account)
        # Attempts run together: a key may have become another's victim already.
        with contextlib.suppress(redis.exceptions.ResponseError):
            async with arena.redis() as store:
                await spoil(store, account)
        # Both in one batch: the spoilt one must fail alone.
        await asyncio.gather(*(_ask(arena, someone) for someone in [account, good] * 5))
        await asyncio.sleep(_NOTICED_SECONDS)
        found = await bystanders(arena)
        used = await arena.used(good.name)
        if used.requests != 5:
            found.append(f"{used.requests} of 5 requests of another user were counted")
        if not arena.chain.plugin.running:
            found.append("the plugin is dead")
        ready = await arena.http.get(f"{arena.chain.ops_url}/readyz")
        if ready.status_code != 200 or ready.json()["checks"]["limiter"] != "ok":
            found.append(f"not ready: {ready.text[:150]}")
        return found

    return Attack(KIND, name, run)


async def _ask(arena: Arena, account: Account) -> list[int]:
    message = http1.marked(request(headers=[JSON, account.bearer], body=chat()), account.name)
    return (await http1.talk(arena.port, [message], patience_seconds=5, linger_seconds=0)).statuses


async def _retype(store: redis.asyncio.Redis, key: str) -> None:
    await store.delete(key)
    await store.lpush(key, "of", "another", "type")


def _record(account: Account) -> str:
    return f"aibrix-users/{account.name}"


def _counters(account: Account, what: str) -> str:
    return f"gateway:{{{_record(account)}}}:{what}"


async def _garbage_to_channels(store: redis.asyncio.Redis, _: Account) -> None:
    for message in (b"", b"\xff" * 1000, b"{}", b"[" * 10_000, b"a" * 1_000_000, b'{"user":1}'):
        await store.publish("gateway:user-changes", message)


async def _garbage_news(store: redis.asyncio.Redis, _: Account) -> None:
    await store.xadd("gateway:prompts", {"hello": "world"})
    await store.xadd("gateway:prompts", {"replica": "stranger", "news": b"\xff" * 1000})
    await store.xadd("gateway:prompts", {"replica": "stranger"})
    await store.xadd("gateway:prompts", {"replica": "stranger", "news": b"a" * 5_000_000})


async def _garbage_catalogue(store: redis.asyncio.Redis, _: Account) -> None:
    for key in await store.keys("gateway:{catalogue}:*"):
        if await store.type(key) == b"hash":
            await store.hset(key, mapping={"stranger": b"\xff{", "m": "[]", b"\xff\xfe": "1"})


async def _wrong_types(store: redis.asyncio.Redis, _: Account) -> None:
    keys = ("gateway:replicas", "gateway:prompts", "gateway:model:{m}:inflight", "gateway:model:{m}:rate")
    for key in keys:
        await _retype(store, key)


async def _catalogue_types(store: redis.asyncio.Redis, _: Account) -> None:
    for part in ("models", "aliases", "webhooks", "versions", "leader"):
        await _retype(store, f"gateway:{{catalogue}}:{part}")


async def _garbage_reports(store: redis.asyncio.Redis, _: Account) -> None:
    await store.delete("gateway:model:{m}:inflight")
    await store.hset("gateway:model:{m}:inflight", mapping={"stranger": b"\xff" * 100, "other": b"a" * 2_000_000})


async def _scripts_gone(store: redis.asyncio.Redis, _: Account) -> None:
    await store.script_flush()


ATTACKS = (
    _spoilt("a user's record of another type", lambda store, account: _retype(store, _record(account))),
    _spoilt("a user's record that is no JSON", lambda store, account: store.set(_record(account), b"\xff{")),
    _spoilt("a user's record of huge limits", lambda s, a: s.set(_record(a), b'{"name":"x","rpm":1e400,"tpm":-1}')),
    _spoilt("a user's requests of another type", lambda s, a: _retype(s, _counters(a, "requests"))),
    _spoilt("a user's tokens of another type", lambda s, a: _retype(s, _counters(a, "tokens"))),
    _spoilt("a user's slots of another type", lambda s, a: _retype(s, _counters(a, "parallel"))),
    _spoilt("a user's keys of another type", lambda s, a: _retype(s, _counters(a, "keys"))),
    _spoilt("a user's windows that are garbage", lambda s, a: s.hset(_counters(a, "tokens"), "", "a:b 9:-9 \xff")),
    _spoilt("entries among the news of prompts", _garbage_news),
    _spoilt("messages about users", _garbage_to_channels),
    _spoilt("reports of a replica that is none", _garbage_reports),
    _spoilt("shared keys of another type", _wrong_types),
    _spoilt("a catalogue of garbage", _garbage_catalogue),
    _spoilt("a catalogue of another type", _catalogue_types),
    _spoilt("the scripts forgotten", _scripts_gone),
)

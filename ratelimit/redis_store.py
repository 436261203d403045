"""Limits and users on a Redis or Valkey server, shared by all replicas of the gateway and with AIBrix.

An admission is one round trip: `lua/admit.lua` reads the record, judges and debits by the server's clock, and returns
the counters, from which the waiting time is told here. Nothing is retried: a debit whose answer was lost may have
happened.

Every call ends within `timeout_seconds`, waiting for a connection included, and fails as `StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from ratelimit.admission import Reading, account, usage_of
from ratelimit.decision import NOTHING, UNKNOWN_USER, Cost, Decision, Outcome, Settlement, Usage
from ratelimit.keys import RECORD_PREFIX, counter_prefix, record_key
from ratelimit.limits import AIBRIX_DEFAULTS, LimitDefaults, Limits
from ratelimit.scripts import Script
from ratelimit.store import SETTLED_SECONDS, StoreUnavailable
from ratelimit.users import CorruptUserRecord, UserRecord, decode_record, encode_record
from ratelimit.window import WINDOW_SECONDS, Counter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_ADMIT, _SETTLE, _DELETE = Script("admit.lua"), Script("settle.lua"), Script("delete.lua")
_SCAN_COUNT = 1000


class RedisStore:
    """`LimitStore` and `UserStore`. `address` names the server in errors and must not hold a password."""

    def __init__(
        self, client: Redis, address: str, defaults: LimitDefaults = AIBRIX_DEFAULTS, *, timeout_seconds: float = 0.5
    ) -> None:
        self.address = address
        self._client = client
        self._defaults = defaults
        self._timeout_seconds = timeout_seconds

    @classmethod
    def from_url(
        cls,
        url: str,
        defaults: LimitDefaults = AIBRIX_DEFAULTS,
        *,
        timeout_seconds: float = 0.5,
        max_connections: int = 32,
    ) -> RedisStore:
        """`redis://[user:password@]host:port/db`, `rediss://` for TLS, `unix://`; connects at the first call."""
        try:
            address = _address(url)
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=max_connections,
                timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            # The URL is not quoted: what makes it unreadable is usually its password.
            raise ValueError("not a Redis URL; / # ? @ in a password must be percent-encoded") from None
        return cls(Redis.from_pool(pool), address, defaults, timeout_seconds=timeout_seconds)

    def __repr__(self) -> str:
        return f"RedisStore({self.address})"

    async def admit(self, user: str, cost: Cost) -> Decision:
        key = record_key(user)
        arguments = (
            cost.requests,
            cost.tokens,
            self._defaults.requests_per_minute,
            self._defaults.tokens_per_request,
            WINDOW_SECONDS,
        )
        async with self._edge():
            answer = await _ADMIT.run(self._client, (key, counter_prefix(key)), arguments)
        return _decision(answer, key, cost)

    async def settle(self, user: str, charge_id: str, tokens: int) -> bool:
        return await self.settle_many([Settlement(user, charge_id, tokens)]) == 1

    async def settle_many(self, settlements: Sequence[Settlement]) -> int:
        calls = [_settle_call(settlement) for settlement in settlements]
        async with self._edge():
            return sum(await _SETTLE.run_many(self._client, calls))

    async def usage(self, user: str) -> Usage | None:
        return usage_of(await self.admit(user, NOTHING))

    async def ping(self) -> None:
        async with self._edge():
            await self._client.ping()

    async def close(self) -> None:
        async with self._edge():
            await self._client.aclose()

    async def create(self, record: UserRecord) -> bool:
        key = record_key(record.name)
        async with self._edge():
            return bool(await self._client.set(key, encode_record(record), nx=True))

    async def read(self, name: str) -> UserRecord | None:
        key = record_key(name)
        async with self._edge():
            try:
                raw = await self._client.get(key)
            except ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    raise CorruptUserRecord(key) from None
                raise
        return None if raw is None else decode_record(raw, key)

    async def update(self, record: UserRecord) -> bool:
        key = record_key(record.name)
        async with self._edge():
            return bool(await self._client.set(key, encode_record(record), xx=True))

    async def delete(self, name: str) -> bool:
        key = record_key(name)
        async with self._edge():
            return bool(await _DELETE.run(self._client, (key, counter_prefix(key)), (WINDOW_SECONDS,)))

    async def names(self, limit: int) -> list[str]:
        """Walks the whole key space in steps, each with its own timeout, until `limit` names are found."""
        found: set[str] = set()
        cursor = 0
        while len(found) < limit:
            async with self._edge():
                cursor, keys = await self._client.scan(cursor, match=f"{RECORD_PREFIX}*", count=_SCAN_COUNT)
            found.update(_text(key).removeprefix(RECORD_PREFIX) for key in keys)
            if not cursor:
                break
        return sorted(found)[:limit]

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[None]:
        """Where the client library's errors become ours; their own text is kept out of chained tracebacks."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (RedisError, OSError) as error:
            raise StoreUnavailable(self.address, self._reason(error)) from None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_seconds:g} s"
        # Some servers quote the arguments of a command that they do not understand, AUTH among them.
        password = self._client.connection_pool.connection_kwargs.get("password")
        text = f"{type(error).__name__}: {error}"
        return text.replace(password, "***") if password else text


def _decision(answer: list[Any], key: str, cost: Cost) -> Decision:
    name = _text(answer[0])
    if name == "corrupt_record":
        raise CorruptUserRecord(key)
    outcome = Outcome(name)
    if outcome is Outcome.UNKNOWN_USER:
        return UNKNOWN_USER
    reading = Reading(Counter(*answer[3:5]), Counter(*answer[5:7]), answer[7] / 1_000_000)
    return account(outcome, reading, Limits(int(answer[1]), int(answer[2])), cost)


def _text(value: bytes | str) -> str:
    # A URL may ask the client to decode.
    return value if isinstance(value, str) else value.decode(errors="replace")


def _settle_call(settlement: Settlement) -> tuple[tuple[str, str], tuple[int, int, int]]:
    prefix = counter_prefix(record_key(settlement.user))
    keys = (f"{prefix}:settled:{settlement.charge_id}", prefix)
    return keys, (settlement.tokens, SETTLED_SECONDS, WINDOW_SECONDS)


def _address(url: str) -> str:
    """The URL without credentials, which may stand before the host and in the query."""
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("credentials are not where they belong")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

"""The edge to a Redis or Valkey server: time limits, errors, and news of changed users.

Every call but `admit_many` ends within `timeout_seconds` (rarely twice that: see `urls`), waiting for a connection
included, and fails as `StoreUnavailable`. At most `max_connections` calls are under way at once; the others wait.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.asyncio import RedisCluster
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from ratelimit.rare_log import RareLog
from ratelimit.store.limit_store import ItemRefused, StoreUnavailable, UserChange
from ratelimit.store.scripts import is_outage, pipelines_of, run_many
from ratelimit.store.urls import close_client, is_of_closed_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence

    from redis.asyncio.client import PubSub

    from ratelimit.store.scripts import ScriptCall
    from ratelimit.store.urls import Server

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CHANGES_CHANNEL = "gateway:user-changes"
_GONE = "\n"
"""Before the name of a deleted user; no name has one."""
_SILENCE_SECONDS = 10.0
"""Without a message, before the connection is tried."""


class RedisEdge:
    """What all parts of `RedisStore` share; `ChangeFeed`."""

    def __init__(self, server: Server, timeout_seconds: float, max_connections: int) -> None:
        self.address = server.address
        self._client = server.client
        self._ask_all = pipelines_of(server.client)
        self._password = server.password
        self._timeout_seconds = timeout_seconds
        self._calls = asyncio.Semaphore(max_connections)
        self.refused_items = 0
        """What the server took for itself alone: each harms the one it belongs to."""
        self._rare = RareLog(logger)

    async def ping(self) -> None:
        async with self._edge():
            await self._client.ping()

    async def close(self) -> None:
        async with self._edge():
            await close_client(self._client)

    async def announce(self, user: str, *, gone: bool = False) -> None:
        async with self._edge():
            await self._client.execute_command("PUBLISH", _CHANGES_CHANNEL, user)
            if gone:
                # Beside the name alone, which is all that replicas of earlier versions know.
                await self._client.execute_command("PUBLISH", _CHANGES_CHANNEL, _GONE + user)

    async def changes(self) -> AsyncIterator[UserChange]:
        subscription = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            async with self._edge():
                if isinstance(self._client, RedisCluster):
                    # It passes what is published on to all of its nodes, but must know one of them.
                    await self._client.initialize()
                await subscription.subscribe(_CHANGES_CHANNEL)
            while True:
                message = await self._next(subscription)
                if message["type"] == "message":
                    said = text(message["data"])
                    yield UserChange(said.removeprefix(_GONE), said.startswith(_GONE))
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]

    async def _next(self, subscription: PubSub) -> dict[str, Any]:
        """A connection that has nothing to tell is asked whether it lives, and must answer in as much time again."""
        with self._errors():
            for _ in range(2):
                message: dict[str, Any] | None = await subscription.get_message(timeout=_SILENCE_SECONDS)
                if message is not None:
                    return message
                await subscription.ping()
        raise StoreUnavailable(self.address, f"silent for {2 * _SILENCE_SECONDS:g} s")

    async def _run_many(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """`run_many` at the edge; what was refused is its own answer."""
        return await self._in_time(self._run_untimed(calls))

    async def _run_untimed(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """For callers that see to the time: a limit for each call costs as much as the rest of it."""
        try:
            async with self._calls:
                return await run_many(self._ask_all, calls)
        except (RedisError, OSError, RuntimeError) as error:
            raise self._told(error) from None

    async def _in_time(self, ask: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await ask
        except TimeoutError as error:
            raise self._unavailable(error) from None

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[None]:
        with self._errors():
            async with asyncio.timeout(self._timeout_seconds), self._calls:
                yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Where the client library's errors become ours; their own text is kept out of chained tracebacks."""
        try:
            yield
        except ResponseError as error:
            raise (self._unavailable(error) if is_outage(error) else self._refused(error)) from None
        except (RedisError, OSError, RuntimeError) as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, RuntimeError) and not is_of_closed_connection(error):
            return error
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(self.address, self._reason(error))

    def _refused(self, error: Exception) -> ItemRefused:
        """Counted, and told once a minute."""
        self.refused_items += 1
        refused = ItemRefused(self.address, f"refused: {self._reason(error)}")
        self._rare.error("refused", "%s", refused)
        return refused

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError | RedisTimeout):
            return f"no answer within {self._timeout_seconds:g} s"
        # Some servers quote the arguments of a command that they do not understand, AUTH among them.
        reason = f"{type(error).__name__}: {error}"
        return reason.replace(self._password, "***") if self._password else reason


def text(value: bytes | str) -> str:
    # A URL may ask the client to decode.
    return value if isinstance(value, str) else value.decode(errors="replace")

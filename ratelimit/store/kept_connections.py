"""Pipelines of commands over connections that are kept, instead of asked for anew each time.

For one or two commands, redis-py's own pipeline costs three times what they do: it takes a connection from a pool,
looks whether it still lives, gives every write and read a deadline, and gives the connection back. Here a connection is
used until it fails, and the caller sees to the deadline. All that makes connections differ (TLS, passwords, sentinels)
is still the pool's business.

When one fails, the server has probably gone, and all that are idle are given up: whoever asks again gets a new one.
One that the server closed while it was idle is replaced before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiredis import pack_command
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 - redis' own

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

    Command = tuple[str | bytes | int, ...]


class KeptConnections:
    """As many as were ever used at the same time; the client closes them with its others. Call within a time limit."""

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._timeout_seconds: float | None = client.connection_pool.connection_kwargs.get("socket_timeout")
        self._idle: list[AbstractConnection] = []

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """One answer to each; refusals (`ResponseError`) are answers, too."""
        connection = await self._take()
        answers: list[Any] = []
        try:
            # Its stub knows only tuples of one.
            packed = [pack_command(command) for command in commands]  # type: ignore[arg-type]
            await connection.send_packed_command(b"".join(packed))
            read = connection.read_response
            for _ in commands:
                try:
                    answers.append(await read())
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            # What it may still say would be taken for the answer to another question.
            idle, self._idle = self._idle, []
            await self._return([connection, *idle])
            raise
        self._idle.append(connection)
        return answers

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            if await _is_open(connection):
                return connection
            await self._return([connection])
        return await self._new()

    async def _new(self) -> AbstractConnection:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        connection.socket_timeout = None
        return connection

    async def _return(self, connections: Sequence[AbstractConnection]) -> None:
        """Closed, to the pool."""
        for connection in connections:
            connection.socket_timeout = self._timeout_seconds
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


async def _is_open(connection: AbstractConnection) -> bool:
    try:
        # Nobody waits for an answer: what there is to read is the end, or a farewell.
        return not await connection.can_read()
    except ConnectionError:
        return False

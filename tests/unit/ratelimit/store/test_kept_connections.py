"""Connections that are kept: which one is used next, and which are given up when one fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 - redis' own

from ratelimit.store.kept_connections import KeptConnections


class Connection:
    """Answers every command with its own name, unless it is told to fail."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.socket_timeout: float | None = 0.5
        self.disconnected = False
        self.fails: BaseException | None = None
        self.closed_by_server = False
        self.has_said = False
        self.go = asyncio.Event()
        self.go.set()

    async def send_packed_command(self, packed: bytes) -> None:
        await asyncio.sleep(0)  # others ask meanwhile
        await self.go.wait()

    async def read_response(self) -> Any:
        if self.fails is not None:
            raise self.fails
        return self.name

    async def can_read(self) -> bool:
        if self.closed_by_server:
            raise ConnectionError("gone")
        return self.has_said

    async def disconnect(self, *, nowait: bool) -> None:
        self.disconnected = nowait


class Pool:
    connection_kwargs = {"socket_timeout": 0.5}  # noqa: RUF012 - as the library has it

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.released: list[Connection] = []

    async def get_connection(self) -> Connection:
        self.made.append(Connection(len(self.made)))
        return self.made[-1]

    async def release(self, connection: Connection) -> None:
        self.released.append(connection)


class Client:
    def __init__(self) -> None:
        self.connection_pool = Pool()


def kept() -> tuple[KeptConnections, Pool]:
    client = Client()
    return KeptConnections(client), client.connection_pool  # type: ignore[arg-type]  # a fake of what is used


async def test_one_connection_serves_one_after_the_other():
    connections, pool = kept()
    for _ in range(3):
        assert await connections.ask([("GET", "a"), ("GET", "b")]) == [0, 0]
    assert (len(pool.made), pool.released) == (1, [])
    assert pool.made[0].socket_timeout is None, "the caller sees to the deadline"


async def test_a_failure_gives_up_all_that_are_idle():
    connections, pool = kept()
    await asyncio.gather(*(connections.ask([("GET", "a")]) for _ in range(3)))
    three = list(pool.made)
    assert len(three) == 3, "as many as were used at the same time"
    for connection in three:
        connection.fails = ConnectionError("reset")
    with pytest.raises(ConnectionError):
        await connections.ask([("GET", "a")])
    assert sorted(connection.name for connection in pool.released) == [0, 1, 2]
    assert all(connection.disconnected and connection.socket_timeout == 0.5 for connection in three)
    assert await connections.ask([("GET", "a")]) == [3], "whoever asks again gets a new one"


async def test_a_cancelled_question_takes_its_connection_with_it():
    connections, pool = kept()
    await connections.ask([("GET", "a")])
    pool.made[0].go.clear()
    asked = asyncio.create_task(connections.ask([("GET", "a")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert pool.released == [pool.made[0]], "its late answer must not be another's"
    assert await connections.ask([("GET", "a")]) == [1]


@pytest.mark.parametrize("fault", ["closed_by_server", "has_said"])
async def test_an_idle_connection_that_the_server_closed_is_replaced(fault: str):
    connections, pool = kept()
    await asyncio.gather(*(connections.ask([("GET", "a")]) for _ in range(2)))
    newest = pool.made[1]
    setattr(newest, fault, True)
    assert await connections.ask([("GET", "a")]) == [0], "the next idle one is used"
    assert pool.released == [newest]
    assert await connections.ask([("GET", "a")]) == [0]
    assert len(pool.made) == 2


async def test_refusals_are_answers_and_the_connection_stays():
    connections, pool = kept()
    await connections.ask([("GET", "a")])
    pool.made[0].fails = ResponseError("WRONGTYPE")
    (answer,) = await connections.ask([("GET", "a")])
    assert isinstance(answer, ResponseError)
    pool.made[0].fails = None
    assert await connections.ask([("GET", "a")]) == [0]
    assert pool.released == []

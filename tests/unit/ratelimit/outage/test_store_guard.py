"""Deadlines, the watch for the store's return, and what is logged, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time

import pytest

from ratelimit import CorruptUserRecord, StoreUnavailable
from ratelimit.outage.breaker import BreakerState
from ratelimit.outage.store_guard import StoreGuard

pytestmark = pytest.mark.looptime


async def fail(guard: StoreGuard, world) -> None:
    with pytest.raises(StoreUnavailable):
        await guard.call(world.remote.ping)


async def test_a_late_store_is_given_up_at_the_deadline(world, looptime):
    world.remote.mode = "silent"
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
        await world.guard.call(world.remote.ping)
    assert looptime == pytest.approx(0.05, abs=0.002)
    assert world.guard.timeouts == 1


async def test_nobody_waits_for_a_store_that_is_known_to_be_away(world):
    await world.break_store("silent")
    asked, began = len(world.remote.calls), asyncio.get_running_loop().time()
    await fail(world.guard, world)
    assert len(world.remote.calls) == asked
    assert asyncio.get_running_loop().time() == began


async def test_it_finds_back_by_itself_with_one_line_each_way(world, looptime, caplog):
    caplog.set_level(logging.INFO)
    back = []
    world.guard.recovered.append(lambda: back.append(asyncio.get_running_loop().time()))
    await world.break_store()
    await asyncio.sleep(30)
    assert world.guard.state is not BreakerState.CLOSED
    world.remote.mode = "up"
    returned = asyncio.get_running_loop().time()
    await asyncio.sleep(1.1)
    assert world.guard.state is BreakerState.CLOSED
    assert len(back) == 1
    assert back[0] - returned <= 1.01
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2, lines
    assert "is away" in lines[0]
    assert "connection refused" in lines[0]
    assert lines[1].startswith("the limit store is back after 3")


async def test_a_hanging_store_gets_one_probe_at_a_time(world):
    await world.break_store("silent")
    asked, most = len(world.remote.calls), 0
    for _ in range(1000):
        await asyncio.sleep(0.01)
        most = max(most, world.remote.pings_under_way)
    assert most == 1
    # 10 s at delays of 0.5 to 1 s, after the first few.
    assert 9 <= len(world.remote.calls) - asked <= 25


async def test_a_probe_that_goes_wrong_does_not_end_the_watch(world, caplog):
    await world.break_store()
    world.remote.mode = "up"
    broken = True

    async def ping() -> None:
        if broken:
            raise ZeroDivisionError

    world.guard._ping = ping
    await asyncio.sleep(3)
    assert "went wrong" in caplog.text
    assert world.guard.state is not BreakerState.CLOSED
    broken = False
    await asyncio.sleep(1.1)
    assert world.guard.state is BreakerState.CLOSED


async def test_cancelled_callers_and_bad_records_say_nothing_about_the_store(world):
    world.remote.mode = "silent"
    for _ in range(10):
        task = asyncio.ensure_future(world.guard.call(world.remote.ping))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def corrupt() -> None:
        raise CorruptUserRecord("k")

    for _ in range(10):
        with pytest.raises(CorruptUserRecord):
            await world.guard.call(corrupt)
    assert world.guard.state is BreakerState.CLOSED


async def test_closing_ends_the_watch(world):
    await world.break_store()
    await world.guard.close()
    asked = len(world.remote.calls)
    await asyncio.sleep(5)
    assert len(world.remote.calls) == asked


async def test_one_failure_is_tried_again_within_the_same_deadline(world, looptime):
    answers = [StoreUnavailable("s", "connection closed"), None]

    async def ask() -> str:
        await asyncio.sleep(0.03)
        if answers and (error := answers.pop(0)):
            raise error
        return "here"

    with pytest.raises(StoreUnavailable, match="no answer within"):
        await world.guard.call(ask)
    assert looptime == pytest.approx(0.05, abs=0.002)
    answers[:] = [StoreUnavailable("s", "connection closed"), None]
    assert await world.guard.call(ask, timeout_seconds=0.1) == "here"
    assert world.guard.state is BreakerState.CLOSED


@pytest.mark.looptime(False)
async def test_a_loop_that_was_held_up_reads_what_arrived_before_it_gives_up():
    """The answer is in the socket in time, but this process is busy for longer than the deadline."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    async def relay() -> None:
        answer.set_result(await reader.readline())

    async def ask() -> bytes:
        relaying = asyncio.ensure_future(relay())
        loop.call_later(0.01, far.send, b"hello\n")
        loop.call_later(0.01, time.sleep, 0.1)
        await relaying
        return await answer

    guard = StoreGuard(asyncio.Event().wait, time.monotonic, random.Random(1))  # type: ignore[arg-type]
    assert await guard.call(ask) == b"hello\n"
    assert guard.timeouts == 0
    writer.close()
    far.close()

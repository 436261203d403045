"""When waits end that nobody ended, in virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest

from ratelimit.store.deadlines import Deadlines

pytestmark = pytest.mark.looptime


class Desk:
    """Notes who expired, and when."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.loop = asyncio.get_running_loop()
        self.deadlines: Deadlines[asyncio.Future[str]] = Deadlines(seconds, self.expire)
        self.expired: list[tuple[str, float]] = []
        self.names: dict[asyncio.Future[str], str] = {}

    def watch(self, name: str) -> asyncio.Future[str]:
        future: asyncio.Future[str] = self.loop.create_future()
        self.names[future] = name
        self.deadlines.watch(future)
        return future

    def expire(self, future: asyncio.Future[str]) -> None:
        self.expired.append((self.names[future], round(self.loop.time(), 2)))
        future.set_result("late")


async def test_each_ends_at_its_own_time_and_those_that_are_done_never():
    desk = Desk()
    first = desk.watch("first")
    await asyncio.sleep(0.02)
    answered = desk.watch("answered")
    await asyncio.sleep(0.01)
    desk.watch("last")
    answered.set_result("in time")
    assert await first == "late"
    await asyncio.sleep(1)
    assert desk.expired == [("first", 0.05), ("last", pytest.approx(0.08, abs=0.002))]
    assert len(desk.deadlines) == 0


async def test_what_is_done_is_not_kept():
    desk = Desk(3600)
    for number in range(1000):
        desk.watch(str(number)).set_result("done")
    assert len(desk.deadlines) == 1


async def test_a_later_wait_starts_the_timer_again():
    desk = Desk()
    desk.watch("early").set_result("done")
    await asyncio.sleep(10)
    assert await desk.watch("late") == "late"
    assert desk.expired == [("late", 10.05)]


async def test_one_that_expires_may_watch_the_next():
    desk = Desk()
    again: list[asyncio.Future[str]] = []
    expire = desk.expire

    def expire_and_watch(future: asyncio.Future[str]) -> None:
        expire(future)
        if not again:
            again.append(desk.watch("again"))

    desk.deadlines._expire = expire_and_watch
    desk.watch("first")
    await asyncio.sleep(1)
    assert [name for name, _ in desk.expired] == ["first", "again"]


async def test_closed_ones_never_expire():
    desk = Desk()
    desk.watch("forgotten")
    desk.deadlines.close()
    await asyncio.sleep(1)
    assert desk.expired == []


@pytest.mark.looptime(False)
async def test_a_loop_that_was_held_up_reads_what_arrived_first():
    """The answer comes two turns after the deadline, because this process was busy."""
    desk = Desk(0.01)
    future = desk.watch("busy")
    desk.loop.call_soon(time.sleep, 0.05)
    desk.loop.call_soon(desk.loop.call_soon, future.set_result, "just in time")
    assert await future == "just in time"
    await asyncio.sleep(0.02)
    assert desk.expired == []


async def test_an_error_about_one_does_not_leave_the_others_waiting():
    desk, errors = Desk(), list[str]()
    desk.loop.set_exception_handler(lambda _, context: errors.append(str(context["exception"])))
    # Whom the desk does not know, it cannot expire.
    desk.deadlines.watch(desk.loop.create_future())
    at_the_same_time = desk.watch("at the same time")
    await asyncio.sleep(0.02)
    later = desk.watch("later")
    assert [await at_the_same_time, await later] == ["late", "late"]
    assert len(errors) == 1
    assert len(desk.deadlines) == 0

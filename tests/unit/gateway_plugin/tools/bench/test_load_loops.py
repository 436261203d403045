"""When jobs start, in virtual time; and that a bug in one ends all."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway_plugin.tools.bench.load_loops import PREPARE_SECONDS, LoadLoop

pytestmark = pytest.mark.looptime


class Jobs:
    def __init__(self, lasts_seconds: float) -> None:
        self.loop = LoadLoop(asyncio.get_running_loop().time)
        self.lasts_seconds = lasts_seconds
        self.started: list[tuple[int, float]] = []
        self.ended: list[int] = []

    async def send(self, number: int) -> None:
        self.started.append((number, round(self.loop.now_seconds(), 6)))
        await asyncio.sleep(self.lasts_seconds)
        self.ended.append(number)


async def test_an_open_loop_waits_for_no_answer():
    jobs = Jobs(10.0)
    await jobs.loop.open_loop((number / 2, partial(jobs.send, number)) for number in range(3))
    assert jobs.started == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert jobs.ended == [0, 1, 2]
    assert jobs.loop.now_seconds() == pytest.approx(11.0)


async def test_a_closed_loop_sends_when_it_has_its_answer_until_time_is_up():
    jobs = Jobs(1.0)
    await jobs.loop.closed_loop((partial(jobs.send, number) for number in range(100)), 2, 1.5)
    assert jobs.started == [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)]


async def test_a_closed_loop_ends_with_its_jobs():
    jobs = Jobs(1.0)
    await jobs.loop.closed_loop((partial(jobs.send, number) for number in range(3)), 2)
    assert [number for number, _ in jobs.started] == [0, 1, 2]


async def test_a_bug_ends_all_and_is_raised():
    jobs = Jobs(50.0)

    async def bug() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await jobs.loop.open_loop([(0.0, partial(jobs.send, 0)), (1.0, bug), (2.0, partial(jobs.send, 2))])
    assert jobs.started == [(0, 0.0)]
    assert jobs.ended == []
    assert asyncio.get_running_loop().time() < 2 + PREPARE_SECONDS

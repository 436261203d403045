"""Common moments, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from gateway_plugin.settings.pacing import next_moment, seconds_to_moment


@pytest.mark.parametrize(
    ("now", "every", "left"),
    [(0.0, 1.0, 1.0), (0.4, 1.0, 0.6), (7.25, 0.25, 0.25), (0.999, 1.0, 1.001), (3.0, 2.0, 1.0)],
)
def test_the_next_multiple_of_the_period(now: float, every: float, left: float):
    assert seconds_to_moment(now, every) == pytest.approx(left)


@pytest.mark.looptime
async def test_who_comes_at_different_times_goes_on_at_the_same_moment():
    loop = asyncio.get_running_loop()
    woken: list[float] = []

    async def wait(after_seconds: float, every_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        await next_moment(every_seconds)
        woken.append(round(loop.time(), 3))

    await asyncio.gather(wait(0.1, 1.0), wait(0.3, 0.5), wait(0.8, 1.0), wait(0.85, 0.25))
    assert woken == [0.5, 1.0, 1.0, 1.0]

"""One object that fails keeps nobody else waiting, and is tried ever more rarely."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from gateway_plugin.controller.failing_objects import LAST_PAUSE_SECONDS, FailingObjects
from gateway_plugin.controller.route_client import KubeError
from gateway_plugin.controller.standing import Standing


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def raising(error: Exception) -> None:
    raise error


async def test_pauses_double_up_to_a_bound():
    clock, tries = Clock(), []
    failing = FailingObjects("thing", clock)
    for _ in range(4000):
        if failing.admits("a"):
            tries.append(clock.seconds)
            await failing.attempt("a", partial(raising, ZeroDivisionError()))
        clock.seconds += 1
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[:4] == [5, 10, 20, 40]
    assert max(gaps) == LAST_PAUSE_SECONDS
    assert failing.total == len(tries)


async def test_the_first_failure_is_told_with_its_place_and_the_others_are_not(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    failing = FailingObjects("thing", clock)
    for _ in range(3):
        await failing.attempt("a", partial(raising, ZeroDivisionError("by naught")))
        clock.seconds += LAST_PAUSE_SECONDS
    (record,) = caplog.records
    assert record.exc_info
    assert "thing a failed, the others go on: ZeroDivisionError: by naught" in record.getMessage()


async def test_one_that_works_again_begins_with_the_first_pause():
    clock = Clock()
    failing = FailingObjects("thing", clock)
    for _ in range(5):
        await failing.attempt("a", partial(raising, ZeroDivisionError()))
        clock.seconds += LAST_PAUSE_SECONDS
    failing.succeeded("a")
    await failing.attempt("a", partial(raising, ZeroDivisionError()))
    clock.seconds += 5
    assert failing.admits("a")


async def test_those_that_are_gone_are_forgotten():
    failing = FailingObjects("thing", Clock())
    for number in range(100):
        await failing.attempt(str(number), partial(raising, ZeroDivisionError()))
        failing.keep([str(number)])
    assert len(failing) == 1


async def test_a_refusal_is_the_objects_and_silence_is_everybodys():
    failing = FailingObjects("thing", Clock())
    await failing.attempt("a", partial(raising, KubeError(422, "no such field")))
    assert not failing.admits("a")
    with pytest.raises(KubeError):
        await failing.attempt("b", partial(raising, KubeError(0, "no answer")))
    assert failing.admits("b")


async def test_an_end_is_no_failure():
    failing = FailingObjects("thing", Clock())
    with pytest.raises(asyncio.CancelledError):
        await failing.attempt("a", partial(raising, asyncio.CancelledError()))  # type: ignore[arg-type]
    assert failing.total == 0


async def test_a_part_that_falls_is_begun_anew_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gateway_plugin.controller.standing.FIRST_PAUSE_SECONDS", 0.0)
    standing, begun = Standing(), []

    async def run() -> None:
        begun.append(1)
        if len(begun) < 4:
            raise ZeroDivisionError

    await standing.keep("part", run)
    assert len(begun) == 4
    assert standing.failures == {"part": 3}

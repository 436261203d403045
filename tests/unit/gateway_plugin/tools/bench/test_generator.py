"""When requests are sent, exactly, in virtual time: answers are as slow as a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.generator import HOPELESS, Generator
from gateway_plugin.tools.bench.load_loops import PREPARE_SECONDS
from gateway_plugin.tools.bench.prompts import Texts
from gateway_plugin.tools.bench.sample import UNFINISHED, Sample
from gateway_plugin.tools.bench.tally import HOPELESS_AFTER, Tally
from gateway_plugin.tools.bench.target import CHAT, BenchTarget

pytestmark = pytest.mark.looptime


class SlowSender:
    """Answers after a time; remembers when it was asked, and how many it had at once."""

    target = BenchTarget("http://gateway", CHAT, "m")

    def __init__(self, answer_seconds: float, trouble: str = "") -> None:
        self.began = asyncio.get_running_loop().time() + PREPARE_SECONDS
        self.sent_seconds: list[float] = []
        self.headers: list[Mapping[str, str]] = []
        self.most_at_once = 0
        self._answer_seconds = answer_seconds
        self._trouble = trouble
        self._now = 0

    async def send(self, sample: Sample, body: bytes, headers: Mapping[str, str]) -> list[float]:
        self.sent_seconds.append(round(asyncio.get_running_loop().time() - self.began, 3))
        self.headers.append(headers)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(self._answer_seconds)
        finally:
            self._now -= 1
        sample.trouble, sample.first_seconds, sample.total_seconds = self._trouble, 0.1, self._answer_seconds
        return [0.5]


def generator(sender: SlowSender) -> Generator:
    clock = asyncio.get_running_loop().time
    return Generator(sender, Texts("", 16), Tally("random"), clock)


def asks(*times: float) -> list[Ask]:
    return [Ask(at, 10, 10, user="kim") for at in times]


async def test_slow_answers_delay_nobody() -> None:
    sender = SlowSender(answer_seconds=1000.0)
    one = generator(sender)
    await one.open_loop(asks(0.0, 0.5, 0.5, 3.25))
    assert sender.sent_seconds == [0.0, 0.5, 0.5, 3.25]
    assert sender.most_at_once == 4
    assert [sample.late_seconds for sample in one.tally.samples] == pytest.approx([0.0] * 4, abs=1e-6)
    assert one.tally.seconds == pytest.approx(1003.25)
    assert (one.tally.ended, one.tally.in_flight, one.tally.stopped) == (4, 0, "")


async def test_what_is_sent_late_is_known() -> None:
    one = generator(sender := SlowSender(answer_seconds=1.0))
    await one.open_loop(asks(-2.0, 1.0))
    assert sender.sent_seconds == [-PREPARE_SECONDS, 1.0]
    assert one.tally.samples[0].late_seconds == pytest.approx(2.0 - PREPARE_SECONDS)


async def test_headers_name_strategy_and_user() -> None:
    await generator(sender := SlowSender(1.0)).open_loop(asks(0.0))
    assert sender.headers == [{"content-type": "application/json", "routing-strategy": "random", "user": "kim"}]


async def test_in_a_closed_loop_answers_decide() -> None:
    one = generator(sender := SlowSender(answer_seconds=2.0))
    await one.closed_loop(iter(asks(*[0.0] * 100)), concurrency=3, seconds=5.0)
    assert sender.sent_seconds == [0.0] * 3 + [2.0] * 3 + [4.0] * 3
    assert sender.most_at_once == 3


async def test_a_closed_loop_ends_with_its_requests() -> None:
    one = generator(SlowSender(answer_seconds=2.0))
    await one.closed_loop(iter(asks(*[0.0] * 4)), concurrency=3, seconds=None)
    assert (one.tally.sent, one.tally.ended) == (4, 4)


async def test_stopped_by_hand_what_is_under_way_is_unfinished() -> None:
    one = generator(SlowSender(answer_seconds=4.0))
    asyncio.get_running_loop().call_later(PREPARE_SECONDS + 5.5, one.stop, "by hand")
    await one.open_loop(asks(0.0, 1.0, 2.0, 3.0, 9.0))
    troubles = [sample.trouble for sample in one.tally.samples]
    assert troubles == ["", "", UNFINISHED, UNFINISHED]
    assert (one.tally.stopped, one.tally.in_flight, one.tally.ended) == ("by hand", 0, 2)


async def test_nothing_but_failures_from_the_start() -> None:
    one = generator(sender := SlowSender(answer_seconds=0.5, trouble="503"))
    await one.open_loop(asks(*map(float, range(100))))
    assert len(sender.sent_seconds) == HOPELESS_AFTER
    assert one.tally.stopped == HOPELESS
    assert one.tally.troubles == {"503": HOPELESS_AFTER}


async def test_failures_after_an_answer_are_measured() -> None:
    sender = SlowSender(answer_seconds=0.5)
    one = generator(sender)
    asyncio.get_running_loop().call_later(2.0, setattr, sender, "_trouble", "503")
    await one.open_loop(asks(*map(float, range(100))))
    assert (one.tally.sent, one.tally.stopped) == (100, "")
    assert one.tally.troubles["503"] > HOPELESS_AFTER


async def test_a_bug_ends_it_all() -> None:
    class Broken(SlowSender):
        async def send(self, sample: Sample, body: bytes, headers: Mapping[str, str]) -> list[float]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await generator(Broken(1.0)).open_loop(asks(0.0, 1000.0))


async def test_cancelled_from_outside() -> None:
    one = generator(SlowSender(answer_seconds=1000.0))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.open_loop(asks(0.0, 1.0)), 0.5)
    await asyncio.sleep(0)
    assert (one.tally.sent, one.tally.in_flight) == (1, 0)

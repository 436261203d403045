"""Requests that wake a model from zero pods: held, bounded, answered in turn, and forgotten with their clients."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway_plugin.exchange import holding
from gateway_plugin.exchange.processor import ProcessCall
from routing.spec import ClusterState, PodSpec
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, body, headers
from tests.unit.gateway_plugin.exchange.test_processor import FakeCall, Process, status_of

pytestmark = pytest.mark.looptime
BOUNDS: dict[str, Any] = {"max_held_requests": 50, "max_held_bytes": 1 << 20, "max_held_seconds": 60.0}
ASKED = b'{"model":"empty","messages":[{"role":"user","content":"hi"}]}'
COLD = frozenset({"empty"})


class Cold(Process):
    """Its model "empty" has no pods; the clock is the loop's."""

    def __init__(self, **bounds: Any) -> None:
        super().__init__(**(BOUNDS | bounds))
        clock = asyncio.get_running_loop().time
        object.__setattr__(self.processor, "services", replace(self.services, may_hold=True, clock=clock))

    def ask_cold(self, user: str = "") -> tuple[FakeCall, ProcessCall]:
        call, handler = self.begin()
        handler.received(headers(user=user))
        handler.received(body(ASKED))
        return call, handler

    def pods_come(self, *, ready: bool = True) -> None:
        pod = PodSpec("new", "10.0.1.1:8000", ("empty",), ready=ready)
        self.pods.apply(ClusterState((pod,), COLD, {}))

    @property
    def held(self) -> dict[str, int]:
        return self.processor.waiting_lengths()


def routed_to(call: FakeCall) -> str:
    """The pod of an answer; empty where there is none yet."""
    for message in call.sent:
        for header in message.request_body.response.header_mutation.set_headers:
            if header.header.key == "target-pod":
                return str(header.header.raw_value, "ascii")
    return ""


async def test_fifty_at_once_wait_for_thirty_seconds_and_all_are_answered():
    process = Cold()
    calls = [process.ask_cold()[0] for _ in range(50)]
    assert process.held == {"empty": 50}
    assert calls[0].sent[-1].override_message_timeout.seconds == 61
    await asyncio.sleep(20)
    process.pods_come(ready=False)
    await asyncio.sleep(10)
    assert process.held == {"empty": 50}
    process.pods_come()
    await asyncio.sleep(0.2)
    assert {routed_to(call) for call in calls} == {"10.0.1.1:8000"}
    assert (process.held, process.processor.holding.held_bytes) == ({}, 0)


async def test_the_client_hears_how_long_it_was_held():
    process = Cold()
    call, _ = process.ask_cold()
    await asyncio.sleep(30)
    process.pods_come()
    await asyncio.sleep(0.3)
    assert "30." in str(call.sent[-1])
    assert "x-held-seconds" in str(call.sent[-1])


async def test_beyond_the_bounds_they_are_answered_at_once():
    process = Cold(max_held_requests=2)
    for _ in range(2):
        process.ask_cold()
    call, _ = process.ask_cold()
    assert status_of(call) == 503
    assert "retry-after" in str(call.sent[-1])
    small = Cold(max_held_bytes=1)
    assert status_of(small.ask_cold()[0]) == 503
    assert small.held == {}


async def test_after_the_longest_wait_the_answer_is_503_and_nothing_is_kept():
    process = Cold()
    call, handler = process.ask_cold()
    await asyncio.sleep(61)
    assert status_of(call) == 503
    assert (process.held, process.processor.holding.held_bytes) == ({}, 0)
    handler.ended()
    assert process.processor.open_exchanges == 0


async def test_a_client_that_leaves_is_forgotten():
    process = Cold()
    _, handler = process.ask_cold()
    handler.ended()
    assert (process.held, process.processor.holding.held_bytes) == ({}, 0)
    process.pods_come()
    await asyncio.sleep(1)
    assert process.processor.open_exchanges == 0


async def test_one_user_cannot_fill_the_room_for_others():
    process = Cold(max_held_requests=3)
    calls = [process.ask_cold("kim")[0] for _ in range(3)]
    lee, _ = process.ask_cold("lee")
    assert status_of(lee) == 0
    assert [status_of(call) for call in calls] == [0, 0, 503]


async def test_those_held_do_not_fill_the_gateway_for_models_that_have_pods():
    process = Cold(max_exchanges=2)
    handlers = [process.ask_cold()[1] for _ in range(3)]
    assert process.processor.working == 0
    assert status_of(process.ask_cold()[0]) == 0
    for handler in handlers:
        handler.ended()
    assert process.processor.working == 0


async def test_nobody_is_charged_before_a_pod_came():
    process = Cold()
    call, _ = process.ask_cold("kim")
    assert process.limiter.answers == []
    process.pods_come()
    await asyncio.sleep(0.3)
    process.limiter.answers[-1].set_result(ADMITTED)
    await asyncio.sleep(0.3)
    assert routed_to(call) == "10.0.1.1:8000"


async def test_pods_that_are_sick_or_restarting_hold_nobody():
    process = Cold()
    process.pods_come()
    process.pods_come(ready=False)
    assert status_of(process.ask_cold()[0]) == 503


async def test_without_the_setting_nobody_waits():
    process = Process()
    call, handler = process.begin()
    handler.received(headers())
    handler.received(body(ASKED))
    assert status_of(call) == 503


async def test_one_user_may_hold_half_of_the_bytes_and_gets_them_back():
    process = Cold(max_held_bytes=4 * len(ASKED))
    greedy = [process.ask_cold("greedy") for _ in range(3)]
    assert process.held == {"empty": 2}
    assert status_of(greedy[2][0]) == 503
    process.ask_cold("modest")
    assert process.held == {"empty": 3}
    greedy[0][1].ended()
    process.ask_cold("greedy")
    assert process.held == {"empty": 3}


async def test_there_is_a_bound_for_all_models_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(holding, "MAX_HELD", 2)
    process = Cold()
    calls = [process.ask_cold()[0] for _ in range(3)]
    assert process.held == {"empty": 2}
    assert status_of(calls[2]) == 503

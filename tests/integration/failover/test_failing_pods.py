"""Pods that live and fail: errors, loading, sleep; and answers that are no failures."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.failover.conftest import until

if TYPE_CHECKING:
    from tests.integration.failover.conftest import Ward

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]


async def transitions(ward: Ward, state: str, reason: str) -> float:
    return await ward.gateway.metric("gateway_pod_circuit_transitions_total", state=state, reason=reason)


async def test_a_pod_that_answers_500_ten_times_is_left_out_probed_and_trusted_again(ward: Ward):
    opened = await transitions(ward, "open", "server_error")
    probed = await transitions(ward, "half_open", "server_error")
    await ward.fault(1, status=500, times=10)
    statuses: Counter[int] = Counter()

    async def over() -> bool:
        waits = (await ward.pod(1))["next_check_seconds"] or 0.0
        answer = await ward.ask(1)
        statuses[answer.status_code] += 1
        if answer.status_code == 500:
            assert answer.headers["x-inference-pod"] == "m-1"
            assert waits < 0.3, "known to be sick, and not checked"
        return statuses[500] == 10

    await until(over, "ten errors", seconds=40)
    assert await transitions(ward, "open", "server_error") - opened >= 2
    assert await transitions(ward, "half_open", "server_error") - probed >= 1
    assert statuses[200] > 0, "meanwhile the others serve"
    assert statuses.keys() == {200, 500}
    await ward.recover(1)
    assert (await ward.ask(1)).headers["x-inference-pod"] == "m-1"


async def test_a_half_open_pod_gets_one_request_of_many(ward: Ward):
    await ward.fault(0, status=500, times=5)
    for _ in range(5):
        await ward.ask(0)
    await ward.becomes(0, "half_open")
    await ward.fault(0, hang=True)
    probes = {"model": "m", "branch": "probe"}
    before = await ward.gateway.metric("gateway_routing_decisions_total", **probes)
    waiting = [asyncio.create_task(ward.ask(1)) for _ in range(20)]
    done, hanging = await asyncio.wait(waiting, timeout=3)
    assert {task.result().headers["x-inference-pod"] for task in done} <= {"m-1", "m-2"}
    assert len(hanging) == 1, "the probe"
    assert await ward.gateway.metric("gateway_routing_decisions_total", **probes) == before + 1
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)
    await ward.none_in_flight()


async def test_503_is_served_by_another_pod(ward: Ward):
    retries, logged = await ward.retries(), await ward.logged()
    await ward.fault(2, status=503)
    answers = [await ward.ask(2) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-inference-pod"] for answer in answers} <= {"m-0", "m-1"}
    await ward.becomes(2, "open")
    assert (await ward.pod(2))["sick_because"] == "passed_over"

    async def told() -> bool:
        return await ward.logged() >= logged + 4

    await until(told, "the log")
    assert await ward.retries() - retries >= 2


async def test_a_loading_engine_is_left_out_until_it_has_loaded(ward: Ward):
    await ward.fault(2, loading=True)
    answers = [await ward.ask(2) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-inference-pod"] for answer in answers} <= {"m-0", "m-1"}
    await ward.becomes(2, "open")
    await asyncio.sleep(2)
    assert await ward.health(2) == "open", "a light check finds it still loading; no request is spent on that"
    await ward.fault(2)
    await ward.recover(2)


async def test_503_of_all_engines_is_answered_as_they_answered(ward: Ward):
    for number in range(3):
        await ward.fault(number, status=503)
    answer = await ward.gateway.post()
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "a fault was asked for"


@pytest.mark.parametrize("status", [400, 404, 422, 429])
async def test_a_4xx_is_neither_retried_nor_held_against_the_pod(ward: Ward, status: int):
    await ward.fault(1, status=status)
    retries, logged = await ward.retries(), await ward.logged()
    failures = (await ward.pod(1))["failures"]
    for _ in range(12):
        answer = await ward.ask(1)
        assert (answer.status_code, answer.headers["x-inference-pod"]) == (status, "m-1")

    async def told() -> bool:
        return await ward.logged() >= logged + 12

    await until(told, "the log")
    assert await ward.retries() == retries
    assert await ward.health(1) == "closed"
    assert (await ward.pod(1))["failures"] == failures


async def test_a_slow_pod_keeps_what_it_has_and_gets_no_more(ward: Ward):
    """One that accepts requests and answers late or never: least-request counts what hangs there."""
    await ward.fault(0, hang=True)
    waiting = [asyncio.create_task(ward.gateway.post(routing_strategy="least-request")) for _ in range(60)]
    done, hanging = await asyncio.wait(waiting, timeout=3)
    assert len(hanging) <= 20, "a third of those that came at once"
    served = [await ward.gateway.post(routing_strategy="least-request") for _ in range(10)]
    assert {answer.status_code for answer in served} == {200}
    assert "m-0" not in {answer.headers["x-inference-pod"] for answer in served}
    for task in hanging:
        task.cancel()
    await asyncio.wait(hanging)
    await ward.none_in_flight()
    assert all(task.result().status_code == 200 for task in done)


async def test_a_sleeping_engine_is_left_alone_while_others_are_awake(ward: Ward):
    async def sleep(number: int) -> None:
        await ward.gateway.http.post(f"http://{ward.address(number)}/sleep?level=1")
        await ward.becomes(number, "asleep")

    await sleep(0)
    await sleep(1)
    answers: list[httpx.Response] = [await ward.ask(number % 3) for number in range(9)]
    assert {answer.headers["x-inference-pod"] for answer in answers} == {"m-2"}
    assert await ward.gateway.metric("gateway_pod_asleep", pod="m-0") == 1
    await ward.gateway.http.post(f"http://{ward.address(0)}/wake_up")
    await ward.becomes(0, "closed")
    assert (await ward.ask(0)).headers["x-inference-pod"] == "m-0"

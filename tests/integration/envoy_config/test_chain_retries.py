"""What Envoy tries again on the next candidate, and what it never does."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from gateway_plugin.accounting.verdicts import failure_of, passed_over
from protos.access_log import FinishedExchange, entries_of
from routing.pods.circuit import Failure
from tests.integration.envoy_config.conftest import Pod

if TYPE_CHECKING:
    from tests.integration.envoy_config.conftest import Chain

pytestmark = pytest.mark.envoy


class Failing(Pod):
    """Answers a status, or breaks the connection off: before (-1) or after (-2) its first bytes."""

    status = 500

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append({})
        await request.read()
        if self.status >= 0:
            return web.json_response({"error": {"message": "mine"}}, status=self.status)
        response = web.StreamResponse()
        if self.status == -2:
            await response.prepare(request)
            await response.write(b"some bytes")
            await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response


async def failing(chain: Chain, status: int) -> Failing:
    pod = Failing()
    pod.status = status
    await pod.start()
    chain._stack.push_async_callback(pod.stop)
    return pod


def dead_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def target(chain: Chain, *addresses: str) -> None:
    chain.plugin.target = ",".join(addresses)
    chain.plugin.pods = {address: f"pod-{number}" for number, address in enumerate(addresses)}


async def entry_of(chain: Chain) -> FinishedExchange:
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.append(await chain.log_entry())
    (entry,) = entries_of(message.SerializeToString())
    assert isinstance(entry, FinishedExchange)
    return entry


async def test_two_dead_candidates_and_a_long_body(chain: Chain) -> None:
    first, second, third = dead_address(), dead_address(), await chain.pod()
    target(chain, first, second, third.address)
    await chain.start(first, second, third.address)
    status, headers, _ = await chain.chat({"text": "x" * 5_000_000})
    assert (status, headers["target-pod"]) == (200, "pod-2")
    assert third.body_bytes > 5_000_000
    entry = await entry_of(chain)
    assert (entry.attempts, entry.pod_address, failure_of(entry)) == (3, third.address, None)
    assert entry.targets == (first, second, third.address)
    assert passed_over(entry) == (first, second)


async def test_all_candidates_dead(chain: Chain) -> None:
    dead = [dead_address() for _ in range(3)]
    target(chain, *dead)
    await chain.start(*dead)
    status, headers, body = await chain.chat()
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(body)["error"]["code"] == "service_unavailable"
    entry = await entry_of(chain)
    assert (passed_over(entry), entry.pod_address, failure_of(entry)) == (tuple(dead[:2]), dead[2], Failure.CONNECTION)


async def test_a_candidate_named_again_keeps_envoy_from_choosing_another_pod(chain: Chain) -> None:
    dead, other = dead_address(), await chain.pod()
    target(chain, dead, dead, dead)
    await chain.start(dead, other.address)
    assert (await chain.chat())[0] == 503
    assert other.seen == []
    assert passed_over(await entry_of(chain)) == ()


async def test_a_connection_that_is_not_made_in_time(chain: Chain) -> None:
    second = await chain.pod()
    with ExitStack() as stack:
        # A full queue of connections: the kernel drops every further attempt.
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        full = f"127.0.0.1:{listening.getsockname()[1]}"
        target(chain, full, second.address)
        await chain.start(full, second.address, connect_timeout_seconds=0.2)
        status, headers, _ = await chain.chat()
        assert (status, headers["target-pod"]) == (200, "pod-1")
        assert passed_over(await entry_of(chain)) == (full,)


async def test_503_of_a_pod_is_served_by_the_next(chain: Chain) -> None:
    first, second = await failing(chain, 503), await chain.pod()
    target(chain, first.address, second.address)
    await chain.start(first.address, second.address)
    status, headers, _ = await chain.chat()
    assert (status, headers["target-pod"], len(first.seen)) == (200, "pod-1", 1)
    assert passed_over(await entry_of(chain)) == (first.address,)


async def test_503_of_all_pods_arrives_as_the_last_one_said_it(chain: Chain) -> None:
    pods = [await failing(chain, 503) for _ in range(3)]
    target(chain, *(pod.address for pod in pods))
    await chain.start(*(pod.address for pod in pods))
    status, _, body = await chain.chat()
    assert (status, json.loads(body)) == (503, {"error": {"message": "mine"}})
    assert [len(pod.seen) for pod in pods] == [1, 1, 1]
    assert failure_of(await entry_of(chain)) is Failure.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "failure"),
    [(400, None), (408, None), (409, None), (429, None), (500, Failure.SERVER_ERROR), (502, Failure.SERVER_ERROR)],
)
async def test_other_answers_are_final(chain: Chain, status: int, failure: Failure | None) -> None:
    first, second = await failing(chain, status), await chain.pod()
    target(chain, first.address, second.address)
    await chain.start(first.address, second.address)
    assert (await chain.chat())[0] == status
    assert (len(first.seen), second.seen) == (1, [])
    entry = await entry_of(chain)
    assert (entry.attempts, failure_of(entry)) == (1, failure)


async def test_a_request_that_a_pod_has_read_is_not_given_to_another(chain: Chain) -> None:
    first, second = await failing(chain, -1), await chain.pod()
    target(chain, first.address, second.address)
    await chain.start(first.address, second.address)
    assert (await chain.chat())[0] == 503
    assert (len(first.seen), second.seen) == (1, [])
    assert failure_of(await entry_of(chain)) is Failure.RESET


async def test_once_bytes_have_flowed_nothing_is_tried_again(chain: Chain) -> None:
    first, second = await failing(chain, -2), await chain.pod()
    target(chain, first.address, second.address)
    await chain.start(first.address, second.address)
    with pytest.raises(aiohttp.ClientPayloadError):
        await chain.chat()
    assert second.seen == []
    entry = await entry_of(chain)
    assert (entry.status, entry.response_bytes, failure_of(entry)) == (200, 10, Failure.RESET)


async def test_where_envoy_balances_it_leaves_failing_pods_out_itself(chain: Chain) -> None:
    bad, good = await failing(chain, 500), await chain.pod()
    await chain.start(bad.address, good.address)

    async def left_out() -> bool:
        return [(await chain.chat())[0] for _ in range(10)] == [200] * 10

    await chain.until(left_out)
    assert len(bad.seen) < 20


async def test_envoys_own_ejection_does_not_overrule_the_plugin(chain: Chain) -> None:
    bad, good = await failing(chain, 500), await chain.pod()
    target(chain, bad.address)
    await chain.start(bad.address, good.address)
    assert [(await chain.chat())[0] for _ in range(15)] == [500] * 15
    assert good.seen == []


async def slow_and_quick(chain: Chain, think_seconds: float) -> tuple[Pod, Pod]:
    """Two candidates, of which the first thinks for long; after half a second the next is asked, too."""
    if chain.flavour != "standalone":
        pytest.skip("the chart leaves it out by default, and Envoy Gateway cannot hedge")
    slow, quick = await chain.pod(), await chain.pod()
    slow.think_seconds = think_seconds
    target(chain, slow.address, quick.address)
    await chain.start(slow.address, quick.address, first_byte_seconds=0.5)
    return slow, quick


async def test_a_pod_that_says_nothing_is_helped_out_by_the_next(chain: Chain) -> None:
    slow, _ = await slow_and_quick(chain, 5.0)
    status, headers, _ = await chain.chat()
    assert (status, headers["target-pod"]) == (200, "pod-1")
    entry = await entry_of(chain)
    assert (entry.attempts, passed_over(entry)) == (2, (slow.address,)), "health learns of it"


async def test_a_slow_answer_is_not_cut_when_it_comes_first_after_all(chain: Chain) -> None:
    slow, quick = await slow_and_quick(chain, 0.9)
    quick.think_seconds = 5.0
    status, headers, _ = await chain.chat()
    assert (status, headers["target-pod"]) == (200, "pod-0")
    entry = await entry_of(chain)
    assert (entry.attempts, entry.pod_address, passed_over(entry)) == (2, slow.address, ()), "nobody failed"


async def test_a_stream_that_has_begun_is_left_alone(chain: Chain) -> None:
    slow, quick = await slow_and_quick(chain, 0.0)
    async with chain.client.post("/v1/chat/completions", json={"model": "x", "stream": True}) as answer:
        await asyncio.sleep(1.0)
        slow.go.set()
        assert b"[DONE]" in await answer.content.read()
    assert (len(slow.seen), len(quick.seen)) == (1, 0)


async def test_without_a_deadline_nobody_is_asked_twice(chain: Chain) -> None:
    slow, quick = await chain.pod(), await chain.pod()
    slow.think_seconds = 1.0
    target(chain, slow.address, quick.address)
    await chain.start(slow.address, quick.address)
    assert (await chain.chat())[1]["target-pod"] == "pod-0"
    assert quick.seen == []

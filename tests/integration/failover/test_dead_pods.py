"""Pods that die: before a connection, in the middle of a stream, all of them."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.failover.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.failover.conftest import Ward

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

STREAM: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 400,
    "ignore_eos": True,
    "stream": True,
}


async def test_killed_before_the_connection(ward: Ward):
    retries, logged = await ward.retries(), await ward.logged()
    await ward.kill(0)
    answers = [await ward.ask(0) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.headers["x-inference-pod"] for answer in answers} <= {"m-1", "m-2"}
    assert all(answer.headers["target-pod"] == answer.headers["x-inference-pod"] for answer in answers)
    await ward.becomes(0, "open")
    await until(lambda: reached(ward, logged + 3), "the log")
    learned = await ward.retries()
    assert learned > retries, "the first of them met the dead pod"
    logged = await ward.logged()
    for _ in range(10):
        answer = await ward.ask(0)
        assert answer.status_code == 200
        assert answer.headers["x-session-id"] != ward.towards(0)["x-session-id"]
    await until(lambda: reached(ward, logged + 10), "the log")
    assert await ward.retries() == learned, "a pod known to be dead is not even tried"
    assert (await ward.pod(0))["sick_because"] in ("passed_over", "scrape_refused")
    explained = await ward.gateway.http.get(f"{ward.gateway.stack.ops_url}/debug/route", params={"model": "m"})
    assert [(c["pod"], c["place"]) for c in explained.json()["candidates"] if c["health"] == "open"] == [("m-0", None)]


async def test_a_pod_that_is_back_gets_one_request_and_then_its_share(ward: Ward):
    await ward.kill(0)
    await ward.ask(0)
    await ward.becomes(0, "open")
    await ward.revive(0)
    await ward.becomes(0, "half_open")
    probe = await ward.ask(1)
    assert probe.headers["x-inference-pod"] == "m-0", "whatever its strategy prefers"
    await ward.becomes(0, "closed")
    assert (await ward.ask(0)).headers["x-inference-pod"] == "m-0"
    branch = {"model": "m", "strategy": "session-affinity", "branch": "probe"}
    assert await ward.gateway.metric("gateway_routing_decisions_total", **branch) >= 1


async def test_killed_in_the_middle_of_a_stream(ward: Ward):
    gateway = ward.gateway
    await gateway.create_user("reader", rpm=100)
    whole = STREAM | {"max_tokens": 100, "stream_options": {"include_usage": True}}
    answer = await ward.ask(1, whole, user="reader")
    assert answer.text.rstrip().endswith("data: [DONE]")
    await until(lambda: charged(ward, "reader", 100), "the whole stream to be charged")
    before = await used(ward, "reader")
    headers = ward.towards(1) | {"user": "reader"}
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"
    async with gateway.http.stream("POST", url, json=STREAM, headers=headers) as answer:
        assert (answer.status_code, answer.headers["target-pod"]) == (200, "m-1")
        lines = answer.aiter_lines()
        await data_lines(lines, 150)
        await ward.kill(1)
        seen: list[str] = []
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await data_lines(lines, 1000, seen)
    chunks = 150 + len(seen)
    assert 150 <= chunks < 400
    await ward.none_in_flight()
    reset = {"pod": "m-1", "kind": "reset"}
    await until(lambda: counted(ward, "gateway_pod_failures_total", **reset), "the break to be counted")
    assert await gateway.metric("gateway_request_model_fail_total", model="m", status_code="200") >= 1
    # The prompt's few tokens, and those generated so far, by the bytes that one had in the whole stream.
    spent = await used(ward, "reader") - before
    assert 0.8 * chunks <= spent <= 1.2 * chunks + 10, f"{spent} tokens for {chunks} chunks"


async def test_a_client_that_leaves_pays_for_what_it_saw_and_no_pod_is_blamed(ward: Ward):
    gateway = ward.gateway
    await gateway.create_user("leaver", rpm=100)
    headers = ward.towards(2) | {"user": "leaver"}
    url = f"{gateway.stack.gateway_url}/v1/chat/completions"
    failures = (await ward.pod(2))["failures"]
    async with gateway.http.stream("POST", url, json=STREAM, headers=headers) as answer:
        await data_lines(answer.aiter_lines(), 100)
    await ward.none_in_flight()
    await until(lambda: charged(ward, "leaver", 60, at_most=250), "the generated tokens to be charged")
    assert (await ward.pod(2))["failures"] == failures


async def test_a_pod_whose_connections_are_not_accepted_costs_its_clients_a_second(ward: Ward):
    await ward.kill(2)
    port = ward.gateway.stack.ports.pods["m"][2]
    with ExitStack() as stack:
        # A full queue of connections: the kernel drops every further attempt.
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        answer = await ward.ask(2)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-inference-pod"] in ("m-0", "m-1")
        await ward.ask(2)
        await ward.becomes(2, "open")
        again = await ward.ask(2)
        assert again.status_code == 200
        assert again.elapsed.total_seconds() < 0.9, "nobody waits for it any more"


async def test_all_pods_dead(ward: Ward):
    for number in range(3):
        await ward.kill(number)
    for _ in range(6):
        answer = await ward.gateway.post()
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["retry-after"] == "1"
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("overloaded_error", "service_unavailable")
        assert error["message"].startswith("No pod could serve the request")
    await ward.none_in_flight()
    await until(lambda: sick(ward, 3), "all to be known as sick")
    explained = await ward.gateway.http.get(f"{ward.gateway.stack.ops_url}/debug/route", params={"model": "m"})
    places = [candidate["place"] for candidate in explained.json()["candidates"]]
    assert places == [1, 2, None], "half of three pods, rounded down, may be left out"


async def data_lines(lines: AsyncIterator[str], count: int, seen: list[str] | None = None) -> None:
    """Reads so many events, and notes them where they are wanted."""
    for _ in range(count):
        while not (line := await anext(lines)).startswith("data: "):
            pass
        if seen is not None:
            seen.append(line)


async def reached(ward: Ward, entries: float) -> bool:
    return await ward.logged() >= entries


async def counted(ward: Ward, metric: str, **labels: str) -> bool:
    return await ward.gateway.metric(metric, **labels) >= 1


async def sick(ward: Ward, count: int) -> bool:
    return [pod["health"] for pod in await ward.gateway.pods()].count("open") == count


async def used(ward: Ward, user: str) -> int:
    answer = await ward.gateway.http.get(f"{ward.gateway.stack.api_url}/v1/users/{user}/usage")
    tokens: int = answer.json()["tokens"]["used"]
    return tokens


async def charged(ward: Ward, user: str, at_least: int, at_most: int = 10**9) -> bool:
    return at_least <= await used(ward, user) <= at_most

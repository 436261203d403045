"""Pods that fail on demand, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from simulator import EngineConfig, SimulatedPod, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "ignore_eos": True}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def pod() -> AsyncIterator[aiohttp.ClientSession]:
    running = await start(SimulatedPod(name="p", model="m", speed=100), EngineConfig(), "127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{running.port}") as session:
        yield session
    await running.stop()


async def post(pod: aiohttp.ClientSession, path: str, body: Any = None) -> int:
    async with pod.post(path, json=body) as answer:
        await answer.read()
        return answer.status


async def test_a_status_is_answered_until_the_pod_is_healed(pod: aiohttp.ClientSession):
    assert await post(pod, "/debug/faults", {"status": 500}) == 200
    assert [await post(pod, CHAT, HELLO) for _ in range(2)] == [500, 500]
    assert await post(pod, "/v1/embeddings", {"model": "m", "input": "a"}) == 500
    async with pod.get("/health") as health:
        assert health.status == 200
    assert await post(pod, "/debug/faults", {}) == 200
    assert await post(pod, CHAT, HELLO) == 200


async def test_a_status_is_met_so_many_times(pod: aiohttp.ClientSession):
    await post(pod, "/debug/faults", {"status": 500, "times": 2})
    assert [await post(pod, CHAT, HELLO) for _ in range(3)] == [500, 500, 200]


async def test_a_hanging_pod_never_answers(pod: aiohttp.ClientSession):
    await post(pod, "/debug/faults", {"hang": True})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(post(pod, CHAT, HELLO), 0.3)


async def test_a_stream_breaks_after_so_many_tokens(pod: aiohttp.ClientSession):
    await post(pod, "/debug/faults", {"cut_after_tokens": 3})
    async with pod.post(CHAT, json=HELLO | {"stream": True}) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()
    await post(pod, "/debug/faults", {})
    assert await post(pod, CHAT, HELLO | {"stream": True}) == 200


async def test_a_loading_pod_refuses_everything_but_its_healing(pod: aiohttp.ClientSession):
    await post(pod, "/debug/faults", {"loading": True})
    async with pod.get("/health") as health:
        assert health.status == 503
    assert await post(pod, CHAT, HELLO) == 503
    await post(pod, "/debug/faults", {})
    assert await post(pod, CHAT, HELLO) == 200


@pytest.mark.parametrize("body", [{"no such fault": 1}, {"status": "500"}, []])
async def test_unknown_faults_are_refused(pod: aiohttp.ClientSession, body: Any):
    assert await post(pod, "/debug/faults", body) == 400


async def test_an_engine_sleeps_and_says_so(pod: aiohttp.ClientSession):
    async def awake() -> tuple[bool, str]:
        async with pod.get("/is_sleeping") as answer, pod.get("/metrics") as page:
            lines = [line for line in (await page.text()).splitlines() if "sleep_state=" in line]
            (state,) = [line for line in lines if line.endswith(" 1.0")]
            return (await answer.json())["is_sleeping"], state.split('sleep_state="')[1].split('"')[0]

    assert await awake() == (False, "awake")
    assert await post(pod, "/sleep?level=2") == 200
    assert await awake() == (True, "discard_all")
    assert await post(pod, CHAT, HELLO) == 503
    assert await post(pod, "/sleep") == 200
    assert await awake() == (True, "weights_offloaded")
    assert await post(pod, "/sleep?level=3") == 400
    assert await post(pod, "/wake_up") == 200
    assert await awake() == (False, "awake")
    assert await post(pod, CHAT, HELLO) == 200

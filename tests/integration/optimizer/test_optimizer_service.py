"""From requests that finish to a metric that an autoscaler reads: Redis, traces, profiles, a plan, AIBrix's paths."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import redis.asyncio as redis

from gateway_plugin.accounting.request_traces import RequestTraces
from gateway_plugin.tools.chain.ports import free_port
from gateway_plugin.tools.chain.valkey import Valkey
from gateway_plugin.tools.optimizer.optimizer_api import optimizer_api
from gateway_plugin.tools.optimizer.optimizer_loop import OptimizerLoop
from gateway_plugin.tools.optimizer.trace_store import TraceStore
from orchestration.optimizer.gpu_demand import PlanRules

pytest.importorskip("scipy")
NOW = 1_700_000_000.0
INTERVALS = 24


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory):
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


async def traffic(port: int, per_second: float, model: str = "m", replicas: int = 2) -> None:
    """Four minutes of requests of 256 prompt tokens and 128 of answer, told by several replicas."""
    told = [RequestTraces(f"redis://127.0.0.1:{port}", 10, lambda: NOW) for _ in range(replicas)]
    for back in range(INTERVALS):
        for one in told:
            for _ in range(round(per_second * 10 / replicas)):
                one.cells.count(model, 256, 128)
            await one.write(NOW - 20 - back * 10)
    for one in told:
        await one._redis.aclose()


async def profile(client: redis.Redis, deployment: str, gpu: str, cost: float, rate: float) -> None:
    found = {"gpu": gpu, "cost": cost, "tputs": [[rate]], "indexes": [[128], [256]]}
    await client.set(f"aibrix:profile_m_{deployment}", json.dumps(found))


async def test_the_cheaper_type_gets_the_traffic_and_the_metric_says_so(valkey: Valkey):
    store = TraceStore("127.0.0.1", valkey.port)
    loop = OptimizerLoop(store, PlanRules(utilization=1.0))
    transport = httpx.ASGITransport(optimizer_api(loop, runs=False))
    client = redis.Redis(port=valkey.port)
    async with httpx.AsyncClient(transport=transport, base_url="http://optimizer") as http:
        await traffic(valkey.port, 6)
        stored = json.loads(await client.get(f"aibrix:m_request_trace_{int(NOW) - 20}") or "")
        assert (stored["8:7"], stored["meta_total_reqs"], stored["meta_v"]) == (60, 60, 3)
        await profile(client, "m-a10", "A10", 1.0, 2.0)
        await profile(client, "m-h100", "H100", 7.0, 10.0)
        for name in ("m-a10", "m-h100"):
            answer = await http.post(f"/monitor/default/{name}", json={"model": "m"})
            assert answer.status_code == 200
        await loop.run(NOW)
        assert await shown(http, "m-a10") == 300
        assert await shown(http, "m-h100") == 0
        await http.put("/scale/default/m-h100", json={"replicas": 2})
        assert await shown(http, "m-h100") == 200
        await http.put("/scale/default/m-h100", json={"replicas": -1})
        assert await shown(http, "m-h100") == 0
        explained = (await http.get("/explain/m")).json()
        assert explained["cost_per_hour"] == 3.0
        # Nobody asks any more: the least that each must have.
        await loop.run(NOW + 3600)
        assert await shown(http, "m-a10") == 0
        assert (await http.delete("/monitor/default/m-a10")).status_code == 200
        assert (await http.get("/metrics/default/m-a10")).status_code == 404
    await client.aclose()
    await store.close()


async def shown(http: httpx.AsyncClient, deployment: str) -> float:
    page = (await http.get(f"/metrics/default/{deployment}")).text
    line = next(one for one in page.splitlines() if one.startswith("vllm:deployment_replicas{"))
    assert 'model_name="m"' in line
    return float(line.rpartition(" ")[2])


async def test_what_is_not_known_keeps_the_last_plan(valkey: Valkey):
    store = TraceStore("127.0.0.1", valkey.port)
    loop = OptimizerLoop(store, PlanRules())
    loop.follow("default", "n-x", "n", least=2)
    await traffic(valkey.port, 4, "n")
    await loop.run(NOW)
    one = loop.deployments["default", "n-x"]
    assert (one.wanted, "no profile" in one.error) == (2, True)
    await store.close()
    gone = OptimizerLoop(TraceStore("127.0.0.1", free_port()), PlanRules())
    gone.follow("default", "n-x", "n", least=3)
    await gone.run(NOW)
    assert gone.deployments["default", "n-x"].wanted == 3
    assert gone.deployments["default", "n-x"].error


async def test_what_is_no_trace_is_replaced(valkey: Valkey):
    client = redis.Redis(port=valkey.port)
    key = f"aibrix:o_request_trace_{int(NOW)}"
    await client.set(key, "nonsense")
    traces = RequestTraces(f"redis://127.0.0.1:{valkey.port}", 10, lambda: NOW)
    traces.cells.count("o", 256, 128)
    await traces.write(NOW)
    assert json.loads(await client.get(key) or "")["8:7"] == 1
    assert 0 < await client.ttl(key) <= 600
    await traces._redis.aclose()
    await client.aclose()


def test_the_script_is_part_of_the_package():
    import gateway_plugin.accounting

    assert (Path(gateway_plugin.accounting.__file__).parent / "lua" / "add_trace.lua").exists()

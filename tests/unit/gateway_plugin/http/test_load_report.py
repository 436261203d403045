"""What a replica tells of its load, as JSON, and that the controller reads just that."""

from __future__ import annotations

import httpx
import msgspec
from fastapi import FastAPI

from gateway_plugin.controller.gateway_demand import GatewayDemand, ReplicaLoad
from gateway_plugin.http.load_report import load_router
from gateway_plugin.metrics.families import FIRST_TOKEN_SECONDS, Metrics
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec


def pod(name: str, address: str) -> PodSpec:
    return PodSpec(name, address, ("llama",), uid=name)


async def told(metrics: Metrics, table: PodTable) -> ReplicaLoad:
    app = FastAPI()
    app.include_router(load_router(metrics, lambda: {"llama": 2}, table))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
        return msgspec.json.decode((await client.get("/load")).content, type=ReplicaLoad)


async def test_models_and_pods_are_told_and_the_controller_adds_them_up():
    metrics, table = Metrics(), PodTable(lambda: 0.0)
    two = (pod("rank-0", "10.0.0.1:8000"), pod("rank-1", "10.0.0.1:8001"), pod("other", "[fd00::1]:8000"))
    table.apply(ClusterState(two, frozenset({"llama"})))
    rows = {spec.name: row for row, spec in table.items()}
    for name in ("rank-0", "rank-0", "rank-1"):
        table.book(rows[name])
    table.columns.kv_usage_ratio[rows["rank-0"]] = 0.5
    table.columns.kv_usage_ratio[rows["rank-1"]] = 0.7
    demand = GatewayDemand(lambda: 0.0)
    demand.expect(["a"])
    demand.took("a", await told(metrics, table))
    metrics.sent_on("llama", "random", None)
    for seconds in (0.5, 20.0):
        metrics.ttft.labels("llama").observe(seconds)
        metrics.duration.labels("llama").observe(seconds + 1)
    load = await told(metrics, table)
    demand.took("a", load)
    assert set(load.pods) == {"10.0.0.1"}  # what has no request and tells nothing is left out
    one = demand.pod("10.0.0.1")
    assert one.in_flight == 3
    assert one.kv_usage is not None
    assert abs(one.kv_usage - 0.6) < 1e-9
    served = demand.served("llama")
    assert (served.requests, served.first_tokens, served.ended, served.ended_seconds) == (1, 2, 2, 22.5)
    assert served.later_than(3.0) == 1
    assert demand.waiting("llama") == 2
    assert load.first_token_bounds == list(FIRST_TOKEN_SECONDS)

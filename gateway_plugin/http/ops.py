"""For operators: `/metrics`, `/healthz`, `/readyz`, `/debug/pods`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gateway_plugin.metrics.metrics_page import OPENMETRICS_TYPE, TEXT_TYPE, page, wants_openmetrics
from routing.pods.circuit import CircuitState

if TYPE_CHECKING:
    from gateway_plugin.metrics.families import Metrics
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_table import PodTable
    from routing.spec import PodSpec


class PodReport(BaseModel):
    """One pod as the router sees it. Null is "not known"; token counts are since the engine's start."""

    name: str
    address: str
    models: list[str]
    ready: bool
    health: str
    """"closed" is well; "open": not offered to requests; "half_open": one request probes it; or "asleep"."""
    sick_because: str | None
    """What opened its circuit."""
    next_check_seconds: float | None
    """Until an open circuit's pod is looked at."""
    failures: dict[str, int]
    """What spoke against it, since it was discovered."""
    inflight_requests: int
    inflight_requests_elsewhere: int
    """Through other replicas, as they said last."""
    requests_total: int
    running_requests: float | None
    waiting_requests: float | None
    kv_usage_ratio: float | None
    prefix_hit_tokens: float | None
    prefix_query_tokens: float | None
    ttft_seconds: float | None
    tpot_seconds: float | None


class Readiness(BaseModel):
    """Whether requests should be sent here, and what each part says."""

    ready: bool
    checks: dict[str, str]


LimiterHealth = Callable[[], Awaitable[tuple[bool, str]]]


def ops_router(
    pods: PodTable,
    limiter_health: LimiterHealth,
    metrics: Metrics,
    draining: Callable[[], bool],
    discovery_problem: Callable[[], str],
    refused: Callable[[], str] = lambda: "",
) -> APIRouter:
    """Everything on the operations port. `refused`: why a changed configuration is not taken over."""
    router = APIRouter(tags=["operations"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def scrape(request: Request) -> Response:
        as_openmetrics = wants_openmetrics(request.headers.get("accept", ""))
        text = await page(metrics.registry, as_openmetrics=as_openmetrics)
        return Response(text, headers={"content-type": OPENMETRICS_TYPE if as_openmetrics else TEXT_TYPE})

    @router.get("/healthz")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready; the checks say why."}})
    async def ready(response: Response) -> Readiness:
        can_decide, limiter = await limiter_health()
        problem = discovery_problem()
        checks = {"draining": "yes" if draining() else "ok", "models": problem or "ok", "limiter": limiter}
        if told := refused():
            # The last good one stays, and with it readiness.
            checks["configuration"] = f"not taken over: {told}"
        is_ready = can_decide and not draining() and not problem
        response.status_code = 200 if is_ready else 503
        return Readiness(ready=is_ready, checks=checks)

    @router.get("/debug/pods")
    async def pod_states() -> list[PodReport]:
        return [_state(pods, row, spec) for row, spec in pods.items()]

    return router


def _health(pods: PodTable, row: int) -> dict[str, Any]:
    circuit = pods.health.circuit(row)
    wait = circuit.retry_at_seconds - pods.books.clock() if circuit and circuit.state is CircuitState.OPEN else None
    return {
        "health": pods.health.describe(row),
        "sick_because": circuit.reason if circuit else None,
        "next_check_seconds": None if wait is None else max(0.0, round(wait, 3)),
        "failures": dict(circuit.failures) if circuit else {},
    }


def _state(pods: PodTable, row: int, spec: PodSpec) -> PodReport:
    columns = pods.columns

    def known(column: FloatColumn) -> float | None:
        return None if math.isnan(column[row]) else float(column[row])

    return PodReport(
        name=spec.name,
        address=spec.address,
        models=sorted(spec.models),
        ready=spec.ready,
        **_health(pods, row),
        inflight_requests=int(columns.inflight_requests[row]),
        inflight_requests_elsewhere=int(columns.inflight_requests_elsewhere[row]),
        requests_total=int(columns.requests_total[row]),
        running_requests=known(columns.running_requests),
        waiting_requests=known(columns.waiting_requests),
        kv_usage_ratio=known(columns.kv_usage_ratio),
        prefix_hit_tokens=known(columns.prefix_hit_tokens),
        prefix_query_tokens=known(columns.prefix_query_tokens),
        ttft_seconds=known(columns.ttft_seconds),
        tpot_seconds=known(columns.tpot_seconds),
    )
